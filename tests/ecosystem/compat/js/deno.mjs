const events = new EventSource(Deno.env.get('HOOKRILL_URL'))
events.onmessage = (event) => console.log('event', event.lastEventId, JSON.parse(event.data).n)

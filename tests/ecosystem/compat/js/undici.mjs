import { EventSource } from 'undici'

const events = new EventSource(process.env.HOOKRILL_URL)
events.onmessage = (event) => console.log('event', event.lastEventId, JSON.parse(event.data).n)
// Its wait before it comes back keeps no process alive.
setInterval(() => {}, 60_000)

import { EventSource } from 'eventsource'

const events = new EventSource(process.env.HOOKRILL_URL)
events.onmessage = (event) => console.log('event', event.lastEventId, JSON.parse(event.data).n)
events.onerror = (error) => console.log('error', error.message)

import { EventSourcePolyfill } from 'event-source-polyfill'

const events = new EventSourcePolyfill(process.env.HOOKRILL_URL)
events.onmessage = (event) => console.log('event', event.lastEventId, JSON.parse(event.data).n)
events.onerror = (error) => console.log('error', error.error)

import { EventSource } from 'eventsource'
globalThis.EventSource = EventSource
const { default: ReconnectingEventSource } = await import('reconnecting-eventsource')

const events = new ReconnectingEventSource(process.env.HOOKRILL_URL)
events.onmessage = (event) => console.log('event', event.lastEventId, JSON.parse(event.data).n)

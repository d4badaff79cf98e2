import { createEventSource } from 'eventsource-client'

const events = createEventSource({ url: process.env.HOOKRILL_URL })
for await (const { id, data } of events) {
  console.log('event', id, JSON.parse(data).n)
}

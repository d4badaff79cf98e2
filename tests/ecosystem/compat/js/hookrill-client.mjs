import { subscribe } from '@hookrill/client'

const url = new URL(process.env.HOOKRILL_URL)
const topics = url.pathname.replace('/events/', '')
for await (const event of subscribe(url.origin, { topics })) {
  console.log('event', event.id, event.data?.n)
}

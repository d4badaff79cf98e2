import { events } from 'fetch-event-stream'

let cursor = ''
async function follow() {
  const headers = { 'Last-Event-ID': cursor }
  const response = await fetch(process.env.HOOKRILL_URL, { headers })
  if (!response.ok) return
  for await (const event of events(response)) {
    console.log('event', event.id, JSON.parse(event.data).n)
    cursor = event.id
  }
}

//+ for (;;) await follow().catch(() => {}).then(() => new Promise((again) => setTimeout(again, 1000)))
await follow()
console.log('end')

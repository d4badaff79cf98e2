import { createParser } from 'eventsource-parser'

let cursor = ''
async function follow() {
  const headers = { 'Last-Event-ID': cursor }
  const response = await fetch(process.env.HOOKRILL_URL, { headers })
  const parser = createParser({
    onEvent({ id, data }) {
      console.log('event', id, JSON.parse(data).n)
      cursor = id
    },
  })
  const decoder = new TextDecoder()
  for await (const chunk of response.body) parser.feed(decoder.decode(chunk, { stream: true }))
}

//+ for (;;) await follow().catch(() => {}).then(() => new Promise((again) => setTimeout(again, 1000)))
await follow()
console.log('end')

import './page.mjs'
import { fetchEventSource } from '@microsoft/fetch-event-source'

await fetchEventSource(process.env.HOOKRILL_URL, {
  onmessage(event) {
    console.log('event', event.id, JSON.parse(event.data).n)
  },
  //+ onclose() { throw new Error('again') },
})
console.log('end')

// Subscribes by npm `eventsource` and prints what its own API hands out: one
// JSON object per line. Reconnecting and Last-Event-ID are the package's work.
//
// usage: node subscriber.mjs URL

import { EventSource } from 'eventsource'

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const source = new EventSource(process.argv[2])

source.onopen = () => say({ kind: 'open' })
source.onmessage = ({ lastEventId, data }) => say({ kind: 'message', id: lastEventId, data })
for (const name of ['hookrill.cursor', 'hookrill.gap']) {
  source.addEventListener(name, ({ lastEventId, data }) => say({ kind: name, id: lastEventId, data }))
}
source.onerror = ({ code, message }) => {
  const final = source.readyState === source.CLOSED
  say({ kind: final ? 'refused' : 'interrupted', data: `${code ?? ''} ${message ?? ''}` })
}

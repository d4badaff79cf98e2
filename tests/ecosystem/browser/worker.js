// Runs in a worker: the client package, and what it has heard.

import { subscribe } from '/client.js'

onmessage = ({ data: { url, options } }) => {
  const record = { heard: [], streams: false }
  subscribe(url, {
    ...options,
    onEvent({ id, data }) {
      record.heard.push({ id, data: JSON.stringify(data) })
      postMessage(record)
    },
    onState({ name }) {
      record.streams = name === 'open'
      postMessage(record)
    },
  })
}

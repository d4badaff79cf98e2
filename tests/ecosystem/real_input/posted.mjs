// Posts deliveries and says what was posted and what was answered, one JSON
// object per line: what the subscribers have to receive.

import readline from 'node:readline'

export const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

/** Posts one delivery, the bytes as they are. */
export async function post(url, { topic, body, headers }) {
  const answer = await fetch(`${url}/ingest/${topic}`, { method: 'POST', headers, body })
  return { status: answer.status, text: await answer.text() }
}

/** Posts a delivery that has to be stored, and enters it. */
export async function deliver(url, delivery, { again = false } = {}) {
  const { status, text } = await post(url, delivery)
  say({
    entry: 'delivered',
    again,
    topic: delivery.topic,
    type: delivery.type,
    content_type: delivery.headers['content-type'] ?? null,
    body: delivery.body.toString('base64'),
    // What a WHATWG decoder makes of the bytes, line ends unified.
    text: decoder.decode(delivery.body).replace(/\r\n|\r/g, '\n'),
    status,
    answer: text,
  })
}

/** Posts what has to be refused, or answered in some other way than stored. */
export async function probe(url, what, delivery) {
  const { status, text } = await post(url, delivery)
  say({ entry: 'probed', what, status, answer: text })
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const orders = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

/** Says that a stage is done, and waits to be told to go on. */
export async function stage(name) {
  say({ entry: 'stage', what: name })
  const { done } = await orders.next()
  if (done) process.exit(1)
}

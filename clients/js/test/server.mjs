// A server that does what a test tells it, request by request, and what the
// tests wait with.

import { createServer } from 'node:http'
import { mock } from 'node:test'
import { subscribe } from '../dist/index.js'

/** No wait of a test takes that long. */
const PATIENCE_MS = 20_000

// Chance only ever adds to a wait.
mock.method(Math, 'random', () => 0)

/** What was said, in order, and a way to wait for the next. */
export class Log {
  #said = []
  #taken = 0
  #look = () => {}

  say = (what) => {
    this.#said.push(what)
    this.#look()
  }

  get all() {
    return this.#said
  }

  /** The next one that `fits`, skipping others. */
  async next(fits = () => true, what = 'something') {
    const patience = AbortSignal.timeout(PATIENCE_MS)
    for (;;) {
      while (this.#taken < this.#said.length) {
        const said = this.#said[this.#taken++]
        if (fits(said)) return said
      }
      if (patience.aborted) throw new Error(`no ${what} in ${JSON.stringify(this.#said).slice(0, 2000)}`)
      await new Promise((resolve) => {
        this.#look = resolve
        patience.addEventListener('abort', resolve, { once: true })
      })
    }
  }

  /** The next `count`, whatever they are. */
  async take(count) {
    const taken = []
    while (taken.length < count) taken.push(await this.next())
    return taken
  }

  state(name) {
    return this.next((state) => state.name === name, `state ${name}`)
  }
}

/** A server whose first request is taken by the first script, and so on. */
export async function scripted(t, ...scripts) {
  const requests = new Log()
  const unplanned = []
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://gateway')
    const gone = new Promise((resolve) => response.once('close', resolve))
    const seen = { url, headers: request.headers, gone }
    const script = scripts.shift()
    requests.say(seen)
    if (script) return script(response, seen)
    unplanned.push(url.href)
    response.destroy()
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = `http://127.0.0.1:${server.address().port}`
  return { address, requests, unplanned, server }
}

/** Subscribes, with everything that it says in logs; ends with the test. */
export function listen(t, address, options = {}) {
  const [events, gaps, withheld, states] = [new Log(), new Log(), new Log(), new Log()]
  const stream = subscribe(address, {
    topics: 'a',
    onEvent: events.say,
    onGap: gaps.say,
    onWithheld: withheld.say,
    onState: states.say,
    ...options,
  })
  t.after(() => stream.close())
  return { stream, events, gaps, withheld, states }
}

/** Script: the gateway's stream, with these chunks, which stays open. */
export function stream(...chunks) {
  return (response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
    response.flushHeaders()
    for (const chunk of chunks) response.write(chunk)
  }
}

/** Script: the same, and then the end. */
export function ending(...chunks) {
  return (response, seen) => {
    stream(...chunks)(response, seen)
    response.end()
  }
}

/** Script: a refusal, as the gateway words it. */
export function refusal(status, headers = {}) {
  return (response) => {
    response.writeHead(status, { 'Content-Type': 'application/problem+json', ...headers })
    response.end(JSON.stringify({ type: 'about:blank', title: 'No', status, detail: `because ${status}` }))
  }
}

/** Script: the connection breaks before an answer. */
export const broken = (response) => response.destroy()

/** How the gateway begins a stream, with a wait that is good for tests. */
export const opening = (at, retry = 1) => `retry: ${retry}\n${cursor(at)}`
export const cursor = (at) => `event: hookrill.cursor\nid: e-${at}\ndata: {}\n\n`
export const control = (name, at, json) =>
  `event: hookrill.${name}\nid: e-${at}\ndata: ${JSON.stringify(json)}\n\n`
export const event = (at, more = {}) => `id: e-${at}\ndata: ${JSON.stringify(envelope(at, more))}\n\n`
export const envelope = (at, more) => ({
  specversion: '1.0',
  id: `e-${at}`,
  source: 'https://hooks.example.com/ingest/a',
  type: 'webhook',
  time: '2026-01-01T00:00:00.000Z',
  topic: 'a',
  datacontenttype: 'application/json',
  data: { number: at },
  ...more,
})
export const numbers = (events) => events.map((event) => event.data.number)

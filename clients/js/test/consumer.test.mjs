// Iteration, a consumer that is slow, and what is left after the end.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { subscribe } from '../dist/index.js'
import { control, ending, event, Log, listen, opening, scripted, stream } from './server.mjs'

const iterated = (t, address, options) => listen(t, address, { onEvent: undefined, ...options }).stream

test('events are iterated over, across connections, until it is closed', async (t) => {
  const { address } = await scripted(t,
    ending(opening(0), event(1), event(2)), stream(opening(2), event(3)))
  const seen = []
  const events = iterated(t, address)
  for await (const { data } of events) {
    seen.push(data.number)
    if (data.number === 3) events.close()
  }
  assert.deepEqual(seen, [1, 2, 3])
})

test('the cursor moves when the next event is asked for', async (t) => {
  const { address } = await scripted(t, stream(opening(0), event(1), event(2)))
  const kept = new Log()
  const events = iterated(t, address, { cursor: { get() {}, set: kept.say } })
  const iterator = events[Symbol.asyncIterator]()
  assert.equal((await iterator.next()).value.id, 'e-1')
  await new Promise(setImmediate)
  assert.equal(events.cursor, 'e-0')
  assert.equal((await iterator.next()).value.id, 'e-2')
  assert.equal(events.cursor, 'e-1')
  assert.deepEqual(kept.all, ['e-0', 'e-1'])
})

test('whoever breaks off or throws gets the event in hand once more, and misses none', async (t) => {
  const { address, requests } = await scripted(t,
    stream(opening(0), event(1), event(2), event(3)),
    stream(opening(1), event(2), event(3)),
    stream(opening(1), event(2), event(3)),
  )
  let kept
  const cursor = { get: () => kept, set: (cursor) => (kept = cursor) }
  const first = iterated(t, address, { cursor })
  for await (const { id } of first) if (id === 'e-2') break
  assert.equal(first.state.name, 'closed')
  await assert.rejects(async () => {
    for await (const { id } of iterated(t, address, { cursor })) {
      assert.equal(id, 'e-2')
      throw new Error('no')
    }
  }, /no/)
  for await (const { id } of iterated(t, address, { cursor })) if (id === 'e-3') break
  assert.equal(kept, 'e-2')
  const asked = await requests.take(3)
  assert.deepEqual(asked.map(({ headers }) => headers['last-event-id']), [undefined, 'e-1', 'e-1'])
  await Promise.all(asked.map(({ gone }) => gone))
})

test('who waits for an event is told of the end', async (t) => {
  const { address } = await scripted(t, stream(opening(0)))
  const events = iterated(t, address)
  const iterator = events[Symbol.asyncIterator]()
  const waiting = [iterator.next(), iterator.next()]
  events.close()
  assert.deepEqual(await Promise.all(waiting), Array(2).fill({ value: undefined, done: true }))
})

test('an event that nobody took is not taken after the end', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1)))
  const events = iterated(t, address)
  await requests.next()
  while (events.cursor !== 'e-0') await new Promise(setImmediate)
  events.close()
  for await (const _ of events) assert.fail('an event after the end')
})

test('those who ask at once get one event each, in order', async (t) => {
  const { address } = await scripted(t, stream(opening(0), event(1), event(2), event(3)))
  const events = iterated(t, address)
  const ask = () => events[Symbol.asyncIterator]().next()
  const results = await Promise.all([ask(), ask(), ask()])
  assert.deepEqual(results.map(({ value }) => value.id), ['e-1', 'e-2', 'e-3'])
})

test('events are not iterated over where a callback takes them', async (t) => {
  const { address } = await scripted(t, stream(opening(0)))
  const { stream: events } = listen(t, address)
  assert.throws(() => events[Symbol.asyncIterator](), TypeError)
})

test('gaps are told of between the events that they are between', async (t) => {
  const { address } = await scripted(t, stream(opening(0), event(1), control('gap', 5, {}), event(6)))
  const order = []
  const events = iterated(t, address, { onGap: () => order.push('gap') })
  for await (const { id } of events) if (order.push(id) === 3) break
  assert.deepEqual(order, ['e-1', 'gap', 'e-6'])
})

// A body that counts how often somebody wanted more of it.
function counted() {
  let pulls = 0
  const bytes = (text) => new TextEncoder().encode(text)
  const body = new ReadableStream({
    pull(to) {
      to.enqueue(bytes(pulls ? event(pulls) : opening(0)))
      pulls += 1
    },
  }, { highWaterMark: 0 })
  const fetch = async () => new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  return { fetch, pulls: () => pulls }
}

test('nothing is read while an event is with the consumer', async (t) => {
  const { fetch, pulls } = counted()
  const held = new Log()
  listen(t, 'http://gateway', { fetch, onEvent: () => new Promise(held.say) })
  for (let at = 1; at <= 5; at += 1) {
    const done = await held.next()
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
    assert.equal(pulls(), at + 1)
    done()
  }
})

test('nothing is read while nobody asks for the next event', async (t) => {
  const { fetch, pulls } = counted()
  const iterator = iterated(t, 'http://gateway', { fetch })[Symbol.asyncIterator]()
  for (let at = 1; at <= 5; at += 1) {
    await iterator.next()
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
    assert.equal(pulls(), at + 1)
  }
})

test('a consumer that is slow makes the server wait, and not the memory grow', async (t) => {
  const EVENTS = 700
  const text = event(1, { data: 'x'.repeat(65_536) })
  let sent = 0
  const stalled = new Log()
  const { address } = await scripted(t, async (response, seen) => {
    stream(opening(0))(response, seen)
    while (sent < EVENTS) {
      sent += 1
      if (response.write(text)) continue
      const stall = setTimeout(() => stalled.say(sent), 300)
      await new Promise((resolve) => response.once('drain', resolve))
      clearTimeout(stall)
    }
    stalled.say(sent)
  })
  let release
  const hold = new Promise((resolve) => (release = resolve))
  const events = new Log()
  listen(t, address, {
    onEvent: async () => {
      await hold
      events.say(1)
    },
  })
  const before = await stalled.next()
  // Those are in the buffers of sockets.
  assert.ok(before < EVENTS / 2, `${before} events were sent`)
  release()
  await events.take(EVENTS)
})

// Each is closed at another point; the process must then end by itself.
const ENDS = {
  'while it connects': `fetch = () => new Promise(() => {})
    setTimeout(() => stream.close(), 10)`,
  'while it is open': `onState = ({ name }) => name === 'open' && setTimeout(() => stream.close(), 10)`,
  'while an event is in hand': `onEvent = () => { stream.close(); return new Promise(() => {}) }`,
  'while it waits': `fetch = () => Promise.reject(new Error('down'))
    onState = ({ name }) => name === 'waiting' && stream.close()`,
  'while it waits for a token': `token = () => new Promise(() => {})
    setTimeout(() => stream.close(), 10)`,
  'while it renews': `let asked = 0
    token = () => (asked++ ? new Promise(() => {}) : 'a')
    onEvent = () => setTimeout(() => stream.close(), 10)`,
  'by a signal': `signal = new AbortController()
    onState = ({ name }) => name === 'open' && signal.abort()`,
}

for (const [when, how] of Object.entries(ENDS)) {
  test(`closed ${when}, it leaves nothing behind`, async (t) => {
    const { address, requests } = await scripted(t,
      stream(opening(0), control('expiring', 0, {}), event(1)))
    const program = `
      import { subscribe } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)}
      let fetch, token, signal, onState = () => {}, onEvent = () => {}
      ${how}
      const stream = subscribe(process.argv[1], {
        topics: 'a', fetch, token, signal: signal?.signal,
        onState: (state) => onState(state), onEvent: (event) => onEvent(event),
      })
      process.on('exit', () => console.log(stream.state.name, process.getActiveResourcesInfo().join()))
    `
    const run = ['--input-type=module', '--eval', program, address]
    const { stdout } = await promisify(execFile)(process.execPath, run, { timeout: 20_000 })
    assert.match(stdout, /^closed /)
    assert.doesNotMatch(stdout, /Timeout|Immediate/)
    for (const { gone } of requests.all) await gone
  })
}

test('listeners are taken back', async (t) => {
  const counts = {}
  const count = (by) => (name) => {
    counts[name] = (counts[name] ?? 0) + by
  }
  globalThis.addEventListener = count(1)
  globalThis.removeEventListener = count(-1)
  t.after(() => {
    delete globalThis.addEventListener
    delete globalThis.removeEventListener
  })
  const signal = { aborted: false, addEventListener: count(1), removeEventListener: count(-1) }
  const stream = subscribe('http://gateway', { signal, fetch: () => new Promise(() => {}) })
  assert.deepEqual(counts, { abort: 1, online: 1, pageshow: 1, visibilitychange: 1 })
  stream.close()
  assert.deepEqual(counts, { abort: 0, online: 0, pageshow: 0, visibilitychange: 0 })
})

test('a long stream keeps nothing of what is over', async (t) => {
  const counts = { add: 0, remove: 0 }
  const { fetch } = counted()
  const watched = async (to, { signal }) => {
    for (const name of Object.keys(counts)) {
      const method = signal[`${name}EventListener`].bind(signal)
      signal[`${name}EventListener`] = (...how) => {
        counts[name] += 1
        method(...how)
      }
    }
    return fetch()
  }
  const { events } = listen(t, 'http://gateway', { fetch: watched })
  await events.take(1000)
  assert.ok(counts.add > 1000)
  assert.ok(counts.add - counts.remove < 3, JSON.stringify(counts))
})

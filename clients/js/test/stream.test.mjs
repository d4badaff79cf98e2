// What a stream promises, against a server that does what a test tells it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stored, subscribe } from '../dist/index.js'
import {
  broken, control, cursor, ending, event, Log, listen, numbers, opening, refusal, scripted, stream,
} from './server.mjs'

const OPEN = { name: 'open', resumed: false }
const RESUMED = { name: 'open', resumed: true }

test('events come in order and as the gateway says them', async (t) => {
  const text = event(2, { type: 'push', data: 'text', datacontenttype: 'text/plain', stripeversion: '7' })
  const { address } = await scripted(t, stream(opening(0), event(1), text, event(3)))
  const { stream: { close }, events } = listen(t, address)
  const [first, second, third] = await events.take(3)
  assert.deepEqual(first, {
    specversion: '1.0', id: 'e-1', source: 'https://hooks.example.com/ingest/a', type: 'webhook',
    time: '2026-01-01T00:00:00.000Z', topic: 'a', datacontenttype: 'application/json', data: { number: 1 },
  })
  assert.deepEqual([second.type, second.data, second.stripeversion], ['push', 'text', '7'])
  assert.equal(third.id, 'e-3')
  close()
})

test('bytes come as bytes, and JSON as JSON', async (t) => {
  const base64 = (datacontenttype, base64) => ({ datacontenttype, data: undefined, data_base64: base64 })
  const { address } = await scripted(t, stream(
    opening(0),
    event(1, base64('application/octet-stream', '/wD+')),
    event(2, base64('application/json; charset=utf-8', btoa('{\r\n"a":1}'))),
    event(3, base64('application/vnd.api+json', btoa('"\xff"'))),
    event(4, base64('text/plain', '')),
  ))
  const { events } = listen(t, address)
  const all = await events.take(4)
  assert.deepEqual(all.map(({ data }) => data), [
    Uint8Array.of(255, 0, 254), { a: 1 }, Uint8Array.of(34, 255, 34), new Uint8Array(),
  ])
  assert.ok(all.every((event) => !('data_base64' in event)))
})

test('a request asks for what was subscribed to, and no token is in its address', async (t) => {
  const { address, requests } = await scripted(t, stream(), stream(), stream(), stream())
  listen(t, `${address}/below/`, {
    topics: ['a.b', 'c~d'], types: ['push', 'x&y'], since: 'earliest', last: 20, token: 'secret',
  })
  const { url, headers } = await requests.next()
  assert.equal(url.pathname, '/below/events')
  assert.deepEqual([...url.searchParams], [
    ['format', 'cloudevents'], ['topic', 'a.b'], ['topic', 'c~d'], ['types', 'push,x&y'], ['since', 'earliest'],
  ])
  assert.equal(headers.accept, 'text/event-stream')
  assert.equal(headers.authorization, 'Bearer secret')
  assert.equal(headers['last-event-id'], undefined)

  listen(t, address, { topics: undefined, last: 20 })
  const all = await requests.next()
  assert.deepEqual([...all.url.searchParams], [['format', 'cloudevents'], ['last', '20']])
  assert.equal(all.headers.authorization, undefined)
})

test('only what a gateway lets through across origins is in a request', async (t) => {
  const asked = new Log()
  const kept = { get: () => 'e-1', set() {} }
  const fetch = (to, options) => {
    asked.say(options)
    return new Promise(() => {})
  }
  listen(t, 'http://gateway', { fetch, token: 'a', cursor: kept, credentials: 'include' })
  const { headers, credentials, method, cache, mode } = await asked.next()
  assert.deepEqual([...headers.keys()], ['accept', 'authorization', 'last-event-id'])
  assert.equal(credentials, 'include')
  assert.deepEqual([method, cache, mode], [undefined, 'no-store', undefined])
})

test('a list of no topics is not a list of all', () => {
  assert.throws(() => subscribe('http://gateway', { topics: [] }), TypeError)
  assert.throws(() => subscribe('no address'), TypeError)
})

test('a stream goes on behind the last event after any end of a connection', async (t) => {
  const { address, requests } = await scripted(t,
    ending(opening(0), event(1), event(2)),
    (response, seen) => {
      stream(opening(2), event(3), 'id: e-4\ndata: {"cut')(response, seen)
      setImmediate(() => response.destroy())
    },
    ending(opening(3), event(4), 'id: e-5\ndata: {}\n'),
    broken,
    stream(opening(4), event(5)),
  )
  const { stream: { cursor }, events, states } = listen(t, address, { since: 'earliest' })
  assert.equal(cursor, undefined)
  assert.deepEqual(numbers(await events.take(5)), [1, 2, 3, 4, 5])
  const asked = await requests.take(5)
  assert.deepEqual(asked.map(({ headers }) => headers['last-event-id']), [undefined, 'e-2', 'e-3', 'e-4', 'e-4'])
  assert.deepEqual(asked.map(({ url }) => url.searchParams.get('since')), ['earliest', null, null, null, null])
  const names = states.all.map(({ name, resumed }) => (resumed ? 'resumed' : name))
  const wait = ['waiting', 'connecting']
  assert.deepEqual(names, [
    'connecting', 'open', ...wait, 'resumed', ...wait, 'resumed', ...wait, ...wait, 'resumed'])
  assert.equal(states.all[2].status, 200)
  assert.ok(states.all[5].error instanceof TypeError)
})

test('a quiet stream goes on where the gateway was', async (t) => {
  const { address, requests } = await scripted(t, ending(opening(7), cursor(9)), stream(opening(9)))
  const { states, stream: subscription } = listen(t, address)
  await requests.next()
  assert.equal((await requests.next()).headers['last-event-id'], 'e-9')
  await states.state('open')
  assert.equal(subscription.cursor, 'e-9')
})

test('the wait that a stream asked for counts where it breaks off, too', async (t) => {
  const { address } = await scripted(t, (response, seen) => {
    stream(opening(0, 77), 'id: e-1\ndata: {"cut')(response, seen)
    setImmediate(() => response.destroy())
  })
  const { states } = listen(t, address)
  assert.equal((await states.state('waiting')).retryIn, 77)
})

test('a gap is told before what follows it, and is behind the cursor then', async (t) => {
  const gap = { reason: 'retention', asked: 'e-1', resumed: 'e-5' }
  const { address, requests } = await scripted(t,
    ending(opening(0), event(1)),
    ending(opening(1), control('gap', 5, gap)),
    stream(opening(5), event(6)),
  )
  const order = new Log()
  const { states } = listen(t, address, { onEvent: order.say, onGap: order.say })
  const [first, told, second] = await order.take(3)
  assert.deepEqual([first.id, told, second.id], ['e-1', gap, 'e-6'])
  const asked = await requests.take(3)
  assert.deepEqual(asked.map(({ headers }) => headers['last-event-id']), [undefined, 'e-1', 'e-5'])
  const open = states.all.filter(({ name }) => name === 'open')
  assert.deepEqual(open, [OPEN, RESUMED, OPEN, RESUMED])
})

test('a gap that nobody listens to does no harm', async (t) => {
  const { address } = await scripted(t, stream(opening(1), control('gap', 5, {}), event(6)))
  const { events } = listen(t, address, { onGap: undefined })
  assert.equal((await events.next()).id, 'e-6')
})

test('an event that is withheld is told of and not given', async (t) => {
  const { address } = await scripted(t,
    stream(opening(0), control('withheld', 1, { reason: 'not_json' }), event(2)))
  const { withheld, events, stream: subscription } = listen(t, address)
  assert.deepEqual(await withheld.next(), { id: 'e-1', reason: 'not_json' })
  assert.equal((await events.next()).id, 'e-2')
  assert.equal(events.all.length, 1)
  assert.equal(subscription.cursor, 'e-1')
})

test('an event over the bound is told of as withheld, and the stream goes on', async (t) => {
  const { address, requests } = await scripted(t,
    stream(opening(0), event(1, { data: 'x'.repeat(5000) }), event(2)))
  const { withheld, events } = listen(t, address, { eventMax: 4000 })
  assert.deepEqual(await withheld.next(), { id: 'e-1', reason: 'too_long' })
  assert.equal((await events.next()).id, 'e-2')
  assert.equal(requests.all.length, 1)
})

test('what a later gateway may say is not taken for an event', async (t) => {
  const { address } = await scripted(t, stream(opening(0), control('news', 1, {}), event(2)))
  const { events } = listen(t, address)
  assert.equal((await events.next()).id, 'e-2')
})

test('a stream that is silent is dead', async (t) => {
  const { address, requests } = await scripted(t,
    stream(opening(0), event(1)),
    () => {},
    stream(opening(1), event(2)),
  )
  const { events, states } = listen(t, address, { timeout: 300 })
  const first = await requests.next()
  assert.deepEqual(numbers(await events.take(2)), [1, 2])
  await first.gone
  const [wait, again] = states.all.filter(({ name }) => name === 'waiting')
  assert.match(wait.error.message, /nothing came for 300 ms/)
  assert.match(again.error.message, /nothing came for 300 ms/)
})

test('a stream with heartbeats is not', async (t) => {
  const { address, requests } = await scripted(t, (response, seen) => {
    stream(opening(0))(response, seen)
    let beats = 0
    const timer = setInterval(() => {
      response.write(beats++ < 12 ? ':\n' : event(1))
      if (beats > 12) clearInterval(timer)
    }, 50)
  })
  const { events } = listen(t, address, { timeout: 500 })
  await events.next()
  assert.equal(requests.all.length, 1)
})

test('a token that does not come is not waited for', async (t) => {
  const { address } = await scripted(t, stream(opening(0), event(1)))
  let asked = 0
  const token = () => (asked++ ? 'a' : new Promise(() => {}))
  const { states } = listen(t, address, { timeout: 100, token })
  assert.match((await states.state('waiting')).error.message, /nothing came/)
})

test('time that the consumer takes is not silence', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1), event(2)))
  const done = new Log()
  listen(t, address, {
    timeout: 300,
    onEvent: async ({ id }) => {
      await new Promise((resolve) => setTimeout(resolve, 500))
      done.say(id)
    },
  })
  await done.take(2)
  assert.equal(requests.all.length, 1)
})

test('no timeout is one that never comes', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1)))
  const { events, states } = listen(t, address, { timeout: Infinity })
  await events.next()
  assert.deepEqual(states.all, [{ name: 'connecting' }, OPEN])
  assert.equal(requests.all.length, 1)
})

/** What a page has and Node has not: events of the window. */
function aWindow(t) {
  const listeners = new EventTarget()
  globalThis.addEventListener = listeners.addEventListener.bind(listeners)
  globalThis.removeEventListener = listeners.removeEventListener.bind(listeners)
  t.after(() => {
    delete globalThis.addEventListener
    delete globalThis.removeEventListener
  })
  return (name) => listeners.dispatchEvent(new Event(name))
}

test('back online, it connects at once', async (t) => {
  const dispatch = aWindow(t)
  const { address, requests } = await scripted(t,
    ending(opening(0, 3_000_000), event(1)), stream(opening(1, 3_000_000), event(2)), stream(opening(2), event(3)))
  const { events, states, stream: subscription } = listen(t, address)
  await states.state('waiting')
  dispatch('online')
  await events.take(2)
  assert.equal(requests.all.length, 2)
  subscription.close()
  dispatch('online')
  assert.equal(subscription.state.name, 'closed')
})

for (const name of ['pageshow', 'visibilitychange']) {
  test(`a page that slept looks at the clock at ${name}, and one that did not stays connected`, async (t) => {
    const dispatch = aWindow(t)
    let slept = 0
    const now = Date.now
    t.mock.method(Date, 'now', () => now() + slept)
    const { address, requests } = await scripted(t,
      stream(opening(0), event(1)), ending(opening(1, 3_000_000), event(2)), stream(opening(2), event(3)))
    const { events, states } = listen(t, address)
    await events.next()
    slept = 30_000
    dispatch(name)
    await new Promise(setImmediate)
    assert.equal(requests.all.length, 1)
    slept = 100_000
    dispatch(name)
    await events.next()
    // Neither does it wait for the rest of what it was to wait before it slept.
    await states.state('waiting')
    slept += 4_000_000
    dispatch(name)
    await events.next()
    const asked = await requests.take(3)
    assert.deepEqual(asked.map(({ headers }) => headers['last-event-id']), [undefined, 'e-1', 'e-2'])
  })
}

test('a position that is stored outlives the page, and a storage that throws', async (t) => {
  const { address, requests } = await scripted(t,
    stream(opening(0), event(1)), stream(opening(1), event(2)), stream(opening(0), event(3)), stream(opening(0)))
  const kept = new Map()
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) }
  const one = listen(t, address, { cursor: stored('orders', storage) })
  await one.events.next()
  one.stream.close()
  // It moves when the callback has returned, which is now.
  await new Promise(setImmediate)
  assert.deepEqual([...kept], [['orders', 'e-1']])
  const other = listen(t, address, { cursor: stored('orders', storage), since: 'earliest' })
  await other.events.next()
  const denied = () => {
    throw new DOMException('denied', 'SecurityError')
  }
  const third = listen(t, address, { cursor: stored('orders', { getItem: denied, setItem: denied }) })
  await third.events.next()
  // As in Node, where there is none.
  listen(t, address, { cursor: stored('orders') })
  const asked = await requests.take(4)
  assert.deepEqual(asked.map(({ headers }) => headers['last-event-id']), [undefined, 'e-1', undefined, undefined])
})

test('a store may be slow, and the next event waits for it', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(5), event(6), event(7)))
  const order = new Log()
  const cursor = {
    get: async () => 'e-5',
    set: async (cursor) => {
      order.say(`stores ${cursor}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
      order.say(`stored ${cursor}`)
    },
  }
  listen(t, address, { cursor, onEvent: ({ id }) => order.say(id) })
  assert.deepEqual(await order.take(6), ['e-6', 'stores e-6', 'stored e-6', 'e-7', 'stores e-7', 'stored e-7'])
  assert.equal((await requests.next()).headers['last-event-id'], 'e-5')
})

test('a position that the gateway would never take is not asked for', async (t) => {
  const bad = ['', 'x', 'e-', '-1', 'E-1', 'e-1\n', 'e-1x', `${'e'.repeat(17)}-1`, '{}', null, undefined]
  const { address, requests } = await scripted(t, ...bad.map(() => stream(opening(0))))
  for (const kept of bad) {
    listen(t, address, { cursor: { get: () => kept, set() {} }, since: 'earliest' })
    const { headers, url } = await requests.next()
    assert.equal(headers['last-event-id'], undefined, kept)
    assert.equal(url.searchParams.get('since'), 'earliest')
  }
})

test('a stream that is closed stops everything', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1), event(2)))
  const { stream: subscription, events, states } = listen(t, address, {
    onEvent: (event) => {
      events.say(event)
      subscription.close()
      subscription.close()
    },
  })
  await (await requests.next()).gone
  assert.equal(events.all.length, 1)
  assert.deepEqual(states.all.at(-1), { name: 'closed' })
  assert.equal(states.all.filter(({ name }) => name === 'closed').length, 1)
  // It was with the consumer, who was done with it.
  assert.equal(subscription.cursor, 'e-1')
})

test('nothing is called once it is closed', async (t) => {
  for (const name of ['connecting', 'open', 'waiting']) {
    const { address, unplanned } = await scripted(t, ending(opening(0) + control('gap', 1, {}) + event(2)))
    const called = []
    const closed = new Log()
    const { stream: subscription } = listen(t, address, {
      token: () => called.push('token') && 'a',
      onEvent: () => called.push('event'),
      onGap: () => called.push('gap'),
      onState: (state) => {
        if (state.name === name) subscription.close()
        if (state.name === 'closed') closed.say(called.length)
      },
    })
    const before = await closed.next()
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(called.length, before, name)
    assert.deepEqual(unplanned, [])
  }
})

test('a signal closes it, before and while it runs', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1)))
  const early = listen(t, address, { signal: AbortSignal.abort() })
  await early.states.state('closed')
  assert.equal(requests.all.length, 0)
  const control = new AbortController()
  const late = listen(t, address, { signal: control.signal })
  await late.events.next()
  control.abort()
  assert.equal(late.stream.state.name, 'closed')
  await (await requests.next()).gone
})

test('a state that is told of throws in vain', async (t) => {
  const thrown = uncaught(t)
  const { address } = await scripted(t, stream(opening(0), event(1)))
  const { events } = listen(t, address, {
    onState: ({ name }) => {
      if (name !== 'closed') throw new Error(name)
    },
  })
  await events.next()
  assert.deepEqual((await thrown.take(2)).map(({ message }) => message), ['connecting', 'open'])
})

test('a store that throws is reported, and the stream goes on', async (t) => {
  const thrown = uncaught(t)
  const { address, requests } = await scripted(t, ending(opening(0), event(1)), stream(opening(1), event(2)))
  const cursor = {
    get: () => Promise.reject(new Error('get')),
    set: () => {
      throw new Error('set')
    },
  }
  const { events } = listen(t, address, { cursor })
  assert.deepEqual(numbers(await events.take(2)), [1, 2])
  assert.deepEqual((await thrown.take(3)).map(({ message }) => message), ['get', 'set', 'set'])
  assert.equal((await requests.take(2))[1].headers['last-event-id'], 'e-1')
})

test('a callback that throws gets the event again, and nothing behind it before', async (t) => {
  const thrown = uncaught(t)
  const kept = []
  const { address, requests } = await scripted(t,
    ending(opening(0), event(1), event(2), event(3)),
    ending(opening(1), event(2), event(3)),
    stream(opening(1), event(2), event(3)),
  )
  let failures = 2
  const given = new Log()
  const { states } = listen(t, address, {
    cursor: { get: () => null, set: (cursor) => void kept.push(cursor) },
    onEvent: async (event) => {
      given.say(event.data.number)
      await null
      if (event.data.number === 2 && failures-- > 0) throw new Error('no')
    },
  })
  assert.deepEqual(await given.take(5), [1, 2, 2, 2, 3])
  assert.deepEqual((await requests.take(3)).map(({ headers }) => headers['last-event-id']), [undefined, 'e-1', 'e-1'])
  assert.equal((await thrown.next()).message, 'no')
  assert.equal((await thrown.next()).message, 'no')
  assert.equal((await states.state('waiting')).error.message, 'no')
  assert.deepEqual(kept.slice(0, 3), ['e-0', 'e-1', 'e-2'])
})

test('a gap whose callback throws is told again', async (t) => {
  const thrown = uncaught(t)
  const begin = opening(1) + control('gap', 5, { reason: 'epoch' })
  const { address, requests } = await scripted(t, stream(begin), stream(begin))
  let calls = 0
  const told = new Log()
  listen(t, address, {
    onGap: () => {
      if (!calls++) throw new Error('no')
      told.say('again')
    },
  })
  await told.next()
  await thrown.next()
  const asked = await requests.take(2)
  // Nobody would read on from the first one.
  await asked[0].gone
  assert.deepEqual(asked.map(({ headers }) => headers['last-event-id']), [undefined, 'e-1'])
})

// What nobody caught, as a page's `error` event would show it.
function uncaught(t) {
  const log = new Log()
  process.setUncaughtExceptionCaptureCallback(log.say)
  t.after(() => process.setUncaughtExceptionCaptureCallback(null))
  return log
}

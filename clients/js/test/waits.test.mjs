// How long a stream waits, and for what: refusals, outages, tokens.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { subscribe } from '../dist/index.js'
import {
  broken, control, cursor, ending, event, Log, listen, numbers, opening, refusal, scripted, stream,
} from './server.mjs'

const put_off = (retry) => ending(`retry: ${retry}\nevent: hookrill.wait\ndata: {}\n\n`)

test('no status is final', async (t) => {
  const statuses = [204, 301, 400, 403, 404, 410, 429, 500, 502, 503]
  const { address, requests, unplanned } = await scripted(t,
    ending(opening(0), event(1)), ...statuses.map((status) => refusal(status)), broken, stream(opening(1), event(2)))
  const { events, states } = listen(t, address)
  assert.deepEqual(numbers(await events.take(2)), [1, 2])
  const waits = states.all.filter(({ name }) => name === 'waiting')
  assert.deepEqual(waits.map(({ status }) => status), [200, ...statuses, undefined])
  assert.deepEqual(waits[3], {
    name: 'waiting', retryIn: 1, status: 400,
    problem: { type: 'about:blank', title: 'No', status: 400, detail: 'because 400' },
  })
  assert.equal(waits[1].problem, undefined)
  assert.ok(waits.at(-1).error instanceof TypeError)
  const asked = await requests.take(statuses.length + 3)
  assert.ok(asked.slice(1).every(({ headers }) => headers['last-event-id'] === 'e-1'))
  assert.deepEqual(unplanned, [])
})

test('a refusal in other words is waited out as well', async (t) => {
  const say = (status, type, body) => (response) => {
    response.writeHead(status, { 'Content-Type': type })
    response.end(body)
  }
  const { address } = await scripted(t,
    ending(opening(0)),
    say(502, 'text/html', '<h1>Bad gateway</h1>'),
    say(500, 'application/json', '"a text"'),
    say(500, 'application/json', 'null'),
    say(200, 'text/html', 'Please log in'),
    stream(opening(0), event(1)),
  )
  const { events, states } = listen(t, address)
  await events.next()
  const waits = states.all.filter(({ name }) => name === 'waiting').slice(1)
  assert.deepEqual(waits.slice(0, 3), [502, 500, 500].map((status) => ({ name: 'waiting', retryIn: 1, status })))
  assert.match(waits[3].error.message, /text\/html is not text\/event-stream/)
})

test('a 200 with a wait and the end is a wait', async (t) => {
  const { address } = await scripted(t, put_off(3), stream(opening(0), event(1)))
  const { events, states } = listen(t, address)
  await events.next()
  assert.deepEqual(states.all, [
    { name: 'connecting' }, { name: 'waiting', retryIn: 3, status: 200 },
    { name: 'connecting' }, { name: 'open', resumed: false },
  ])
})

test('why a stream is put off is shown', async (t) => {
  const wait = (data) => stream(`retry: 3\nevent: hookrill.wait\nid: e-7\ndata: ${data}\n\n`)
  const { address } = await scripted(t,
    wait('{"detail":"the limit of subscribers is reached"}'), wait('soon'), wait('null'),
    stream(opening(0), event(1)))
  const { events, states } = listen(t, address)
  await events.next()
  const waits = states.all.filter(({ name }) => name === 'waiting')
  const put_off = { name: 'waiting', retryIn: 3, status: 200 }
  const problem = { detail: 'the limit of subscribers is reached' }
  assert.deepEqual(waits, [{ ...put_off, problem }, put_off, put_off])
})

test('it waits as long as it was asked to', async (t) => {
  t.mock.method(Date, 'now', () => 0)
  const answers = [
    [refusal(503, { 'Retry-After': '0.003' }), 3],
    [refusal(429, { 'Retry-After': 'soon' }), 1],
    [refusal(429, { 'Retry-After': '' }), 1],
    [refusal(429, { 'Retry-After': '-5' }), 1],
    [refusal(503, { 'Retry-After': 'Mon, 01 Jan 1900 00:00:00 GMT' }), 1],
    [put_off(7), 7],
    [broken, 7],
    [refusal(500), 7],
    [put_off('x'), 7],
    [put_off(0), 0],
    [refusal(503, { 'Retry-After': '120' }), 120_000],
  ]
  const { address } = await scripted(t, ending(opening(0)), ...answers.map(([script]) => script))
  const { states } = listen(t, address)
  for (const wait of [1, ...answers.map(([, wait]) => wait)]) {
    assert.equal((await states.state('waiting')).retryIn, wait)
  }
})

for (const [what, script, wait] of [
  ['a date', refusal(503, { 'Retry-After': 'Thu, 01 Jan 1970 00:01:00 GMT' }), 60_000],
  ['a wait without end', put_off('9'.repeat(400)), 3_600_000],
  ['a Retry-After without end', refusal(503, { 'Retry-After': '9'.repeat(40) }), 3_600_000],
  ['a date without end', refusal(503, { 'Retry-After': 'Fri, 01 Jan 9999 00:00:00 GMT' }), 3_600_000],
  ['nothing', broken, 1000],
  ['nothing in words', refusal(500), 1000],
]) {
  test(`asked for ${what}, it waits ${wait} ms`, async (t) => {
    t.mock.method(Date, 'now', () => 0)
    const { address, requests } = await scripted(t, script)
    const { states } = listen(t, address)
    assert.equal((await states.state('waiting')).retryIn, wait)
    assert.equal(requests.all.length, 1)
  })
}

// A fetch that answers at once, and time that runs when told.
async function timed(t, chance, answer) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(Math, 'random', () => chance)
  const waits = []
  let calls = 0
  const stream = subscribe('http://gateway', {
    topics: 'a',
    fetch: async () => answer(calls++),
    onEvent: () => {},
    onState: (state) => state.name === 'waiting' && waits.push(state.retryIn),
  })
  t.after(() => stream.close())
  const settle = async () => {
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve()
    await new Promise(setImmediate)
  }
  await settle()
  return {
    waits,
    calls: () => calls,
    tick: async (ms) => {
      t.mock.timers.tick(ms)
      await settle()
    },
  }
}

const said = (text) => new Response(text, { headers: { 'Content-Type': 'text/event-stream' } })
const down = () => Promise.reject(new TypeError('fetch failed'))

test('waits grow with each failure, by chance and up to a bound', async (t) => {
  const { waits, tick } = await timed(t, 0.5, down)
  while (waits.length < 9) await tick(waits.at(-1))
  assert.deepEqual(waits, [1500, 2000, 3000, 5000, 9000, 16_000, 16_000, 16_000, 16_000])
})

test('chance has the whole of that to choose from', async (t) => {
  const { waits, tick } = await timed(t, 1 - Number.EPSILON, down)
  while (waits.length < 7) await tick(waits.at(-1))
  assert.deepEqual(waits, [2000, 3000, 5000, 9000, 17_000, 31_000, 31_000])
})

test('it does not connect before the wait is over', async (t) => {
  const { calls, tick } = await timed(t, 0.5, down)
  assert.equal(calls(), 1)
  await tick(1499)
  assert.equal(calls(), 1)
  await tick(1)
  assert.equal(calls(), 2)
})

test('a stream that says something ends the growing, one that only opens does not', async (t) => {
  const answers = [down, down, () => said(opening(0, 0)), () => said(opening(0, 0) + cursor(0)), down]
  const { waits, tick } = await timed(t, 0.5, (call) => answers[call]())
  while (waits.length < answers.length) await tick(waits.at(-1))
  assert.deepEqual(waits, [1500, 2000, 2000, 500, 1000])
})

test('an event that is refused again and again is asked for less and less', async (t) => {
  process.setUncaughtExceptionCaptureCallback(() => {})
  t.after(() => process.setUncaughtExceptionCaptureCallback(null))
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(Math, 'random', () => 0.5)
  const waits = new Log()
  const stream = subscribe('http://gateway', {
    fetch: async () => said(opening(0, 0) + event(1)),
    onEvent: () => Promise.reject(new Error('no')),
    onState: ({ name, retryIn }) => name === 'waiting' && waits.say(retryIn),
  })
  t.after(() => stream.close())
  for (const wait of [500, 1000, 2000, 4000]) {
    assert.equal(await waits.next(), wait)
    await new Promise(setImmediate)
    t.mock.timers.tick(wait)
  }
})

test('a token is asked for once, and again when it has ended', async (t) => {
  const { address, requests } = await scripted(t,
    ending(opening(0), event(1)),
    ending(opening(1), event(2)),
    refusal(401),
    stream(opening(2), event(3)),
  )
  let asked = 0
  const { events, states } = listen(t, address, { token: async () => `token-${(asked += 1)}` })
  assert.deepEqual(numbers(await events.take(3)), [1, 2, 3])
  const sent = (await requests.take(4)).map(({ headers }) => headers.authorization)
  assert.deepEqual(sent, [1, 1, 1, 2].map((token) => `Bearer token-${token}`))
  // Nobody has refused the next token yet.
  assert.deepEqual(states.all.slice(-3).map(({ name }) => name), ['connecting', 'connecting', 'open'])
})

test('a new token that is refused is waited with, and another one asked for', async (t) => {
  const { address, requests } = await scripted(t,
    ending(opening(0)), refusal(401), refusal(401), refusal(403), stream(opening(0), event(1)))
  let asked = 0
  const { events, states } = listen(t, address, { token: () => `token-${(asked += 1)}` })
  await events.next()
  const sent = (await requests.take(5)).map(({ headers }) => headers.authorization)
  assert.deepEqual(sent, [1, 1, 2, 3, 4].map((token) => `Bearer token-${token}`))
  const waits = states.all.filter(({ name }) => name === 'waiting')
  assert.deepEqual(waits.map(({ status }) => status), [200, 401, 403])
  assert.equal(waits[1].problem.detail, 'because 401')
})

test('other refusals are not held against a token', async (t) => {
  const { address } = await scripted(t,
    ending(opening(0)), refusal(500), refusal(404), broken, stream(opening(0), event(1)))
  let asked = 0
  const { events } = listen(t, address, { token: () => `${(asked += 1)}` })
  await events.next()
  assert.equal(asked, 1)
})

test('a token that cannot be had is waited for', async (t) => {
  const { address, requests } = await scripted(t, ending(opening(0)), refusal(401), stream(opening(0), event(1)))
  const tokens = [() => 'one', () => Promise.reject(new Error('offline')), () => {
    throw new Error('sync')
  }, () => 'with\nline', () => 'two']
  const { events, states } = listen(t, address, { token: () => tokens.shift()() })
  await events.next()
  const errors = states.all.flatMap(({ error }) => (error ? [error.message] : []))
  assert.deepEqual(errors.slice(0, 2), ['offline', 'sync'])
  assert.equal(errors.length, 3)
  assert.deepEqual((await requests.take(3)).map(({ headers }) => headers.authorization),
    ['Bearer one', 'Bearer one', 'Bearer two'])
})

test('who has no token yet is asked again', async (t) => {
  const { address, requests } = await scripted(t, ending(opening(0)), refusal(401), stream(opening(0), event(1)))
  const tokens = [undefined, '', 'one']
  const { events } = listen(t, address, { token: () => tokens.shift() })
  await events.next()
  assert.deepEqual((await requests.take(3)).map(({ headers }) => headers.authorization),
    [undefined, undefined, 'Bearer one'])
})

test('a token that is a text is kept, whatever the gateway says of it', async (t) => {
  const { address, requests } = await scripted(t,
    ending(opening(0), control('expiring', 0, { seconds: 5 })), refusal(401), stream(opening(0), event(1)))
  const { events, states } = listen(t, address, { token: 'text' })
  await events.next()
  assert.ok((await requests.take(3)).every(({ headers }) => headers.authorization === 'Bearer text'))
  assert.deepEqual(states.all.filter(({ name }) => name === 'waiting').map(({ status }) => status), [200, 401])
})

// Lets a stream be older than it is.
function clock(t) {
  let now = 0
  t.mock.method(Date, 'now', () => now)
  return (ms) => {
    now += ms
  }
}

test('before its token ends a stream goes on with a new one, at once and behind the last event', async (t) => {
  const later = clock(t)
  const { address, requests } = await scripted(t,
    (response, seen) => {
      stream(opening(0), event(1))(response, seen)
      events.next().then(() => {
        later(2000)
        response.write(control('expiring', 1, { seconds: 5 }) + event(2))
      })
    },
    stream(opening(2), event(3)),
  )
  let give
  const tokens = [() => 'one', () => new Promise((resolve) => (give = resolve))]
  const { events: all, states } = listen(t, address, {
    token: () => tokens.shift()(),
    onEvent: (event) => {
      events.say(event)
      all.say(event)
    },
  })
  const events = new Log()
  // It goes on while the new one is on its way.
  assert.deepEqual(numbers(await all.take(2)), [1, 2])
  assert.equal(requests.all.length, 1)
  give('two')
  assert.equal((await all.next()).data.number, 3)
  const [first, second] = await requests.take(2)
  await first.gone
  assert.deepEqual([second.headers.authorization, second.headers['last-event-id']], ['Bearer two', 'e-2'])
  assert.deepEqual(states.all.map(({ name }) => name), ['connecting', 'open', 'connecting', 'open'])
})

test('a token that cannot be renewed does not end a stream before its time', async (t) => {
  for (const renewed of [() => 'one', () => '', () => Promise.reject(new Error('offline'))]) {
    const later = clock(t)
    const { address, requests } = await scripted(t, (response, seen) => {
      stream(opening(0))(response, seen)
      requests.next().then(() => {
        later(2000)
        response.write(control('expiring', 0, { seconds: 5 }) + event(1) + event(2))
      })
    })
    const tokens = [() => 'one', renewed]
    const { events } = listen(t, address, { token: () => tokens.shift()() })
    await events.take(2)
    await new Promise(setImmediate)
    assert.equal(requests.all.length, 1)
    assert.equal(tokens.length, 0)
  }
})

test('tokens that end as soon as they begin make no circle', async (t) => {
  clock(t)
  const expiring = stream(opening(0, 5), control('expiring', 0, { seconds: 5 }))
  const { address } = await scripted(t, expiring, expiring, expiring)
  let asked = 0
  const { states } = listen(t, address, { token: () => `${(asked += 1)}` })
  await states.state('waiting')
  const { retryIn, error } = await states.state('waiting')
  assert.equal(retryIn, 5)
  assert.match(error.message, /renewed/)
})

test('an event that is in hand when a stream is renewed comes once', async (t) => {
  const later = clock(t)
  const { address, requests } = await scripted(t,
    stream(opening(0), control('expiring', 0, { seconds: 5 }), event(1), event(2)),
    stream(opening(1), event(2)),
  )
  let give
  const tokens = [() => 'one', () => new Promise((resolve) => (give = resolve))]
  const given = new Log()
  const { states } = listen(t, address, {
    token: () => tokens.shift()(),
    onEvent: async (event) => {
      given.say(event.data.number)
      if (event.data.number !== 1) return
      later(2000)
      give('two')
      // The new connection waits for this event.
      await new Promise((resolve) => setTimeout(resolve, 50))
      assert.equal(requests.all.length, 1)
    },
  })
  assert.deepEqual(await given.take(2), [1, 2])
  assert.equal((await requests.take(2))[1].headers['last-event-id'], 'e-1')
  await states.state('open')
  assert.equal(given.all.length, 2)
})


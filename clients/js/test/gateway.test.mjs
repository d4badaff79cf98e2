// The client and the gateway, together.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually, Gateway, token } from './gateway.mjs'
import { listen, numbers } from './server.mjs'

const JSON_TYPE = 'application/json'

test('what is sent arrives as it is', async (t) => {
  const gateway = await Gateway.start(t)
  const { events, states } = listen(t, gateway.url, { topics: ['bodies', 'other'] })
  await states.state('open')
  const sent = [
    [{ text: 'Grüße 💡', lines: '\r\n' }, JSON_TYPE],
    ['plain\r\ntext\r', 'text/plain'],
    [Uint8Array.of(0, 255, 13, 10), 'application/octet-stream'],
    ['[1,\r\n 2]', JSON_TYPE],
    ['not json', JSON_TYPE],
  ]
  const ids = []
  for (const [body, type] of sent) {
    ids.push(await gateway.send('bodies', body, { 'Content-Type': type, 'X-Colour': 'red', 'X-Type': 'push' }))
  }
  const all = await events.take(sent.length)
  assert.deepEqual(all.map(({ id }) => id), ids)
  assert.deepEqual(all.map(({ data }) => data), [
    sent[0][0], sent[1][0], sent[2][0], [1, 2], new TextEncoder().encode('not json'),
  ])
  const { source, topic, type, xcolour, datacontenttype, time } = all[0]
  assert.deepEqual({ topic, type, xcolour, datacontenttype }, {
    topic: 'bodies', type: 'push', xcolour: 'red', datacontenttype: JSON_TYPE,
  })
  assert.match(source, /\/ingest\/bodies$/)
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000)
})

test('a stream begins where it was asked to', async (t) => {
  const gateway = await Gateway.start(t)
  const ids = []
  for (let number = 1; number <= 5; number += 1) {
    ids.push(await gateway.send('a', { number }, { 'X-Type': number % 2 ? 'odd' : 'even' }))
  }
  for (const [options, expected] of [
    [{ since: 'earliest' }, [1, 2, 3, 4, 5]],
    [{ since: ids[2] }, [4, 5]],
    [{ last: 2 }, [4, 5]],
    [{ since: 'earliest', types: ['even', 'other'] }, [2, 4]],
    [{ since: 'earliest', cursor: { get: () => ids[3], set() {} } }, [5]],
  ]) {
    const { events, stream } = listen(t, gateway.url, options)
    assert.deepEqual(numbers(await events.take(expected.length)), expected)
    stream.close()
  }
})

test('through kills and restarts nothing is missing and nothing comes twice', async (t) => {
  const gateway = await Gateway.start(t)
  const heard = []
  const { states, stream, gaps } = listen(t, gateway.url, {
    onEvent: async ({ data }) => {
      heard.push(data.number)
      await new Promise(setImmediate)
    },
  })
  await states.state('open')
  let ended = false
  let sent = 0
  const sending = (async () => {
    while (!ended) {
      sent += 1
      await gateway.send('a', { number: sent }, { 'X-Delivery': `${sent}` })
    }
  })()
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGKILL']) {
    const until = sent + 25
    await eventually(() => sent >= until)
    await gateway.restart(signal)
    const { resumed } = await states.state('open')
    assert.equal(resumed, true)
  }
  ended = true
  await sending
  await eventually(() => heard.at(-1) === sent)
  stream.close()
  assert.deepEqual(heard, Array.from({ length: sent }, (_, index) => index + 1))
  assert.deepEqual(gaps.all, [])
})

test('a stream outlives its tokens', async (t) => {
  const gateway = await Gateway.start(t)
  let asked = 0
  const { events, states } = listen(t, gateway.url, {
    topics: 'shut',
    token: async () => {
      asked += 1
      return token('shut', 7)
    },
  })
  await states.state('open')
  let sent = 0
  while (asked < 3) await gateway.send('shut', { number: (sent += 1) })
  assert.deepEqual(numbers(await events.take(sent)), Array.from({ length: sent }, (_, index) => index + 1))
  assert.ok(states.all.every(({ name }) => name !== 'waiting'))
})

test('refusals say why, and end where their cause does', async (t) => {
  const gateway = await Gateway.start(t)
  const tokens = [undefined, 'none', token('other', 60), token('shut', 60)]
  const { states } = listen(t, gateway.url, { topics: 'shut', token: () => tokens.shift() })
  for (const status of [401, 401, 403]) {
    const wait = await states.state('waiting')
    assert.equal(wait.status, status)
    assert.equal(wait.problem.status, status)
    assert.ok(wait.problem.detail)
  }
  await states.state('open')
  const { states: malformed } = listen(t, gateway.url, { topics: 'a..b' })
  const wait = await malformed.state('waiting')
  assert.equal(wait.status, 400)
  assert.match(wait.problem.detail, /^topic: /)
})

test('where there is no place it waits as long as the gateway says', async (t) => {
  const gateway = await Gateway.start(t, 'subscribers_per_address_max = 1')
  const first = listen(t, gateway.url)
  await first.states.state('open')
  const second = listen(t, gateway.url)
  const { status, problem, retryIn } = await second.states.state('waiting')
  // Other clients take it for a lost connection, since it is cut off.
  assert.deepEqual({ status, problem }, { status: 200, problem: { detail: 'too many open streams from this address' } })
  assert.ok(retryIn >= 5000 && retryIn <= 30_000, `${retryIn}`)
  assert.deepEqual(second.states.all.map(({ name }) => name), ['connecting', 'waiting'])
})

test('a cursor of another journal is a gap', async (t) => {
  const gateway = await Gateway.start(t)
  await gateway.send('a', { number: 1 })
  const { gaps, events, states } = listen(t, gateway.url, { cursor: { get: () => 'other-5', set() {} } })
  const gap = await gaps.next()
  assert.deepEqual([gap.reason, gap.asked], ['epoch', 'other-5'])
  assert.equal((await events.next()).data.number, 1)
  assert.deepEqual(states.all.at(-1), { name: 'open', resumed: false })
})

test('what is not shown is told of', async (t) => {
  const gateway = await Gateway.start(t)
  const { withheld, events, states } = listen(t, gateway.url, { topics: 'cut' })
  await states.state('open')
  const id = await gateway.send('cut', 'no json')
  await gateway.send('cut', { shown: 1, hidden: 2 })
  assert.deepEqual(await withheld.next(), { id, reason: 'not_json' })
  assert.deepEqual((await events.next()).data, { shown: 1 })
})

test('events of others move a quiet stream along', async (t) => {
  const gateway = await Gateway.start(t)
  const { states, stream } = listen(t, gateway.url)
  await states.state('open')
  const id = await gateway.send('b', {})
  await eventually(() => stream.cursor === id)
  assert.deepEqual(states.all.map(({ name }) => name), ['connecting', 'open'])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HookrillEvent, State } from '@hookrill/client'
import { EMPTY, ITEMS_MAX, next, type Happened, type Item, type Log } from '../src/log.ts'

const OPEN: State = { name: 'open', resumed: false }
const RESUMED: State = { name: 'open', resumed: true }
const CUT: State = { name: 'waiting', retryIn: 1000, error: new TypeError('Failed to fetch') }

const after = (log: Log, ...happened: Happened[]) => happened.reduce(next, log)
const state = (state: State, at: number): Happened => ({ type: 'state', state, at })

function movie(number: number, at: number): Happened {
  const event = { id: `e-${number}`, time: new Date(at).toISOString(), data: { title: `${number}` } }
  return { type: 'event', event: event as HookrillEvent }
}

function gap(reason: 'epoch' | 'retention' | 'unknown', resumed: string): Happened {
  return { type: 'gap', gap: { reason, asked: 'e-1', resumed } }
}

const shown = (item: Item) =>
  item.kind === 'gap' ? item.gap.reason : `${item.movie.title} ${item.arrival}`

test('what was there before the page is history, and what comes is live', () => {
  const log = after(EMPTY, state(OPEN, 1000), movie(1, 500), movie(2, 1000), movie(3, 2000))
  assert.deepEqual(log.items.map(shown), ['3 live', '2 live', '1 earlier'])
  assert.deepEqual(log.totals, { live: 2, missed: 0, gaps: 0 })
  assert.equal(log.missed, 0)
})

test('what came during an outage is marked and counted', () => {
  const before = after(EMPTY, state(OPEN, 1000), movie(1, 1500))
  const cut = after(before, state(CUT, 2000), state({ name: 'connecting' }, 3000))
  const back = after(cut, state(RESUMED, 4000), movie(2, 2500), movie(3, 3500), movie(4, 4500))
  assert.deepEqual(back.items.map(shown), ['4 live', '3 missed', '2 missed', '1 live'])
  assert.equal(back.missed, 2)
})

test('each outage is counted by itself, until the next one is over', () => {
  const first = after(EMPTY, state(OPEN, 0), state(CUT, 10), state(RESUMED, 20), movie(1, 15))
  const second = after(first, state(CUT, 30))
  assert.equal(second.missed, 1)
  const back = after(second, state(RESUMED, 50), movie(2, 35), movie(3, 40))
  assert.equal(back.missed, 2)
  assert.deepEqual(back.totals, { live: 0, missed: 3, gaps: 0 })
  assert.equal(after(back, state({ name: 'closed' }, 60)).missed, 0)
})

test('a gap stands where movies are missing, and what follows was missed', () => {
  const cut = after(EMPTY, state(OPEN, 0), movie(1, 5), state(CUT, 10), state(RESUMED, 20))
  // The client says it is open once more, since it did not continue.
  const back = after(cut, state(OPEN, 21), gap('retention', 'e-7'), movie(8, 15))
  assert.deepEqual(back.items.map(shown), ['8 missed', 'retention', '1 live'])
  assert.deepEqual(back.totals, { live: 1, missed: 1, gaps: 1 })
})

test('a gateway that is down when the page opens has no outage to tell of', () => {
  const log = after(EMPTY, state(CUT, 0), state(OPEN, 20), movie(1, 10))
  assert.deepEqual(log.items.map(shown), ['1 earlier'])
})

test('a pause is an outage of its own', () => {
  const paused = after(EMPTY, state(OPEN, 0), state({ name: 'closed' }, 10))
  const back = after(paused, state({ name: 'connecting' }, 20), state(RESUMED, 21), movie(1, 15))
  assert.deepEqual(back.items.map(shown), ['1 missed'])
})

test('a movie that comes twice is shown once and counted once', () => {
  const log = after(EMPTY, state(OPEN, 0), movie(1, 5), movie(1, 5))
  assert.deepEqual(log.items.map(shown), ['1 live'])
  assert.equal(log.totals.live, 1)
})

test('a thousand movies are the newest hundred, and the rest is counted', () => {
  const many = Array.from({ length: 1000 }, (_, n) => movie(n, n))
  const { items, dropped, totals } = after(EMPTY, state(OPEN, 0), ...many)
  assert.equal(items.length, ITEMS_MAX)
  assert.deepEqual([items[0], items.at(-1)].map((item) => item && shown(item)), ['999 live', '900 live'])
  assert.equal(dropped, 900)
  assert.equal(totals.live, 1000)
})

test('trouble lasts from the first failure until a stream is open or paused', () => {
  const trying = after(EMPTY, state(OPEN, 0), state(CUT, 1), state({ name: 'connecting' }, 2))
  assert.equal(trying.connection.trouble, CUT)
  assert.equal(after(trying, state(RESUMED, 3)).connection.trouble, undefined)
  assert.equal(after(trying, state({ name: 'closed' }, 3)).connection.trouble, undefined)
})

test('an event without a time that can be read is live', () => {
  const event = { id: 'e-1', time: 'yesterday', data: {} } as HookrillEvent
  const log = after(EMPTY, state(OPEN, 5), { type: 'event', event })
  assert.deepEqual(log.items.map(shown), ['Untitled live'])
})

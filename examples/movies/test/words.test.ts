import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Gap, State } from '@hookrill/client'
import { gatewayOf } from '../src/gateway.ts'
import type { Connection } from '../src/log.ts'
import { arrivalWords, connectionWords, gapWords, missedWords } from '../src/words.ts'

type Waiting = Extract<State, { name: 'waiting' }>

const ORIGIN = 'http://127.0.0.1:5173'

function said(state: State, trouble?: Waiting, again = true): string {
  const connection: Connection = { state, since: 0, again, trouble }
  const { headline, detail } = connectionWords(connection, ORIGIN)
  return `${headline}. ${detail}`
}

test('attempt after attempt, the words stay the same', () => {
  const failed: Waiting = { name: 'waiting', retryIn: 1000, error: new TypeError() }
  const later: Waiting = { ...failed, retryIn: 9000 }
  const ended: Waiting = { name: 'waiting', retryIn: 1000, status: 200 }
  const words = [said(ended, ended), said(failed, failed), said({ name: 'connecting' }, failed), said(later, later)]
  assert.equal(new Set(words).size, 1)
  assert.match(words[0] ?? '', /^Cut off\. The gateway is out of reach\. /)
})

test('who was never connected is told where to look', () => {
  const failed: Waiting = { name: 'waiting', retryIn: 1000, error: new TypeError() }
  assert.match(said(failed, failed, false), /Does it run, and do its cors_origins name http:\/\/127/)
})

test('each refusal has words of its own, and the page goes on trying', () => {
  const causes = [401, 403, 404, 418, 429, 503].map((status) => {
    const refused: Waiting = { name: 'waiting', retryIn: 1000, status }
    return said(refused, refused)
  })
  assert.equal(new Set(causes).size, causes.length)
  for (const words of causes) assert.match(words, /tries again by itself/)
})

test('each gap says what it means', () => {
  const reasons: Gap['reason'][] = ['retention', 'epoch', 'unknown', 'damaged']
  const gaps = [...reasons, 'new' as Gap['reason'], 'toString' as Gap['reason']]
  const details = gaps.map((reason) => gapWords({ reason, asked: '', resumed: '' }).detail)
  assert.equal(new Set(details).size, 5)
  for (const detail of details) assert.equal(typeof detail, 'string')
})

test('numbers are said as people say them', () => {
  assert.equal(missedWords(1), '1 movie came while you were away.')
  assert.equal(missedWords(3), '3 movies came while you were away.')
  assert.equal(arrivalWords({ live: 1, missed: 0, gaps: 0 }, 'Heat'), 'New movie: Heat.')
  assert.equal(
    arrivalWords({ live: 2, missed: 3, gaps: 0 }, 'Heat'),
    '3 movies came while you were away. 2 new movies. The latest: Heat.',
  )
})

test('the address bar goes before what was built in, and nonsense is named', () => {
  assert.equal(gatewayOf('', undefined), 'http://127.0.0.1:8080')
  assert.equal(gatewayOf('', 'https://hooks.example.com/'), 'https://hooks.example.com')
  assert.equal(gatewayOf('?gateway=http://localhost:9/in/', 'https://a.b'), 'http://localhost:9/in')
  for (const wrong of ['localhost:8080', 'javascript:alert(1)', '/here', 'http://']) {
    assert.throws(() => gatewayOf(`?gateway=${wrong}`, undefined), /is no address of a gateway/)
  }
})

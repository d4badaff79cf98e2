import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { announcer, APART_MS, GATHER_MS } from '../src/announcer.ts'

function listen(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const said: string[] = []
  const { came, stop } = announcer((words) => said.push(words))
  return { said, came, stop, pass: (ms: number) => context.mock.timers.tick(ms) }
}

test('a movie is said, a moment after it came', (context) => {
  const { said, came, pass } = listen(context)
  came({ live: 1, missed: 0, gaps: 0 }, 'Heat')
  pass(GATHER_MS - 1)
  assert.deepEqual(said, [])
  pass(1)
  assert.deepEqual(said, ['New movie: Heat.'])
})

test('a thousand movies that come together are one sentence', (context) => {
  const { said, came, pass } = listen(context)
  for (let live = 1; live <= 1000; live += 1) came({ live, missed: 0, gaps: 0 }, `${live}`)
  pass(GATHER_MS)
  assert.deepEqual(said, ['1000 new movies. The latest: 1000.'])
})

test('a steady stream is a sentence now and then, and no movie is left out', (context) => {
  const { said, came, pass } = listen(context)
  for (let live = 1; live <= 60; live += 1) {
    came({ live, missed: 0, gaps: 0 }, `${live}`)
    pass(1000)
  }
  pass(2 * APART_MS)
  assert.ok(said.length <= 60_000 / APART_MS + 2, `${said.length}`)
  const told = said.map((words) => (words.startsWith('New') ? 1 : parseInt(words)))
  assert.equal(told.reduce((sum, count) => sum + count, 0), 60)
})

test('what was missed is said together, and history is not', (context) => {
  const { said, came, pass } = listen(context)
  came({ live: 0, missed: 0, gaps: 0 }, 'Old')
  pass(10 * APART_MS)
  assert.deepEqual(said, [])
  came({ live: 0, missed: 3, gaps: 0 }, 'Ran')
  pass(GATHER_MS)
  assert.deepEqual(said, ['3 movies came while you were away.'])
})

test('a gap is said', (context) => {
  const { said, came, pass } = listen(context)
  came({ live: 0, missed: 2, gaps: 1 }, 'Ran')
  pass(GATHER_MS)
  assert.deepEqual(said, ['Movies may be missing. 2 movies came while you were away.'])
})

test('who has left is told nothing', (context) => {
  const { said, came, stop, pass } = listen(context)
  came({ live: 1, missed: 0, gaps: 0 }, 'Heat')
  stop()
  pass(APART_MS)
  assert.deepEqual(said, [])
})

// The hook, in a document that is no browser's.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Window } from 'happy-dom'
import { Activity, createElement, StrictMode } from 'react'
import { renderToString } from 'react-dom/server'
import { useTopic } from '../dist/react.js'
import { eventually } from './gateway.mjs'
import { cursor, control, ending, event, opening, scripted, stream } from './server.mjs'

globalThis.window = new Window()
globalThis.document = window.document
globalThis.navigator ??= window.navigator
const { createRoot, hydrateRoot } = await import('react-dom/client')

const numbersOf = (events) => events.map(({ data }) => data.number).join()

// Shows what the hook gives, and counts how often.
function page() {
  const seen = { renders: 0 }
  function Page({ url, ...options }) {
    const view = useTopic(url, options)
    Object.assign(seen, view, { renders: seen.renders + 1 })
    const { name } = view.state
    return createElement('p', null, `${name}:${numbersOf(view.events)}:${view.gaps.length}`)
  }
  return { seen, Page }
}

// Renders into a document of its own; `shows` waits for a text.
function mount(t, wrap = (element) => element) {
  const { seen, Page } = page()
  const container = document.createElement('div')
  const root = createRoot(container)
  t.after(() => root.unmount())
  return {
    seen,
    root,
    render: (props) => root.render(wrap(createElement(Page, props))),
    shows: (text) => eventually(() => container.textContent === text),
    text: () => container.textContent,
  }
}

test('a component shows what comes, and is told of gaps', async (t) => {
  const gap = { reason: 'retention', asked: 'e-1', resumed: 'e-5' }
  const { address } = await scripted(t,
    stream(opening(0), event(1), event(2), control('gap', 5, gap), event(6)))
  const { render, shows, seen } = mount(t)
  render({ url: address, topics: 'a' })
  await shows('open:1,2,6:1')
  assert.deepEqual(seen.gaps, [gap])
  assert.deepEqual(seen.state, { name: 'open', resumed: false })
})

test('only the newest are kept', async (t) => {
  const gaps = [1, 2, 3].map((at) => control('gap', at, {}))
  const events = [4, 5, 6, 7].map((at) => event(at))
  for (const [max, text] of [[2, 'open:6,7:2'], [0, 'open::0']]) {
    const { address } = await scripted(t, stream(opening(0), ...gaps, ...events))
    const { render, shows, seen } = mount(t)
    let last
    render({ url: address, topics: 'a', max, onEvent: ({ id }) => (last = id) })
    await eventually(() => last === 'e-7')
    await shows(text)
    assert.ok(seen.events.length <= max)
  }
})

test('a burst is rendered a few times', async (t) => {
  const burst = Array.from({ length: 1000 }, (_, index) => event(index + 1)).join('')
  const { address } = await scripted(t, stream(opening(0), burst))
  const { render, seen } = mount(t)
  render({ url: address, topics: 'a' })
  await eventually(() => seen.events?.at(-1)?.id === 'e-1000')
  assert.equal(seen.events.length, 100)
  assert.ok(seen.renders < 200, `${seen.renders}`)
})

test('in StrictMode there is one connection, and each event once', async (t) => {
  const { address, requests, unplanned } = await scripted(t, stream(opening(0), event(1), event(2)))
  const { render, shows } = mount(t, (element) => createElement(StrictMode, null, element))
  render({ url: address, topics: 'a' })
  await shows('open:1,2:0')
  assert.equal(requests.all.length, 1)
  assert.deepEqual(unplanned, [])
})

test('what is unmounted is closed', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1)))
  const { render, shows, root } = mount(t)
  const states = []
  render({ url: address, topics: 'a', onState: ({ name }) => states.push(name) })
  await shows('open:1:0')
  root.unmount()
  await (await requests.next()).gone
  assert.equal(states.at(-1), 'closed')
})

test('what is hidden and shown again goes on where it was', async (t) => {
  const { address, requests } = await scripted(t,
    stream(opening(0), event(1)), stream(opening(1), event(2)))
  let mode = 'visible'
  const { render, shows } = mount(t, (element) => createElement(Activity, { mode }, element))
  const props = { url: address, topics: 'a' }
  render(props)
  await shows('open:1:0')
  mode = 'hidden'
  render(props)
  await (await requests.next()).gone
  mode = 'visible'
  render(props)
  await shows('open:1,2:0')
  assert.equal((await requests.next()).headers['last-event-id'], 'e-1')
})

test('other functions are no reason to connect again, and the last ones are called', async (t) => {
  const { address, requests } = await scripted(t,
    ending(opening(0), event(1)), (response) => (release = response), stream(opening(1), event(2)))
  let release
  const called = []
  const { render, shows } = mount(t)
  const rendering = (turn) => render({
    url: address,
    topics: ['a'],
    types: ['x'],
    token: () => `token-${turn}`,
    onEvent: ({ id }) => void called.push(`${turn}:${id}`),
  })
  rendering(1)
  await shows('connecting:1:0')
  rendering(2)
  await eventually(() => release)
  // So that the effects of the second rendering are through.
  await new Promise((resolve) => setTimeout(resolve, 20))
  release.writeHead(401).end()
  await shows('open:1,2:0')
  const asked = await requests.take(3)
  assert.deepEqual(asked.map(({ headers }) => headers.authorization),
    ['Bearer token-1', 'Bearer token-1', 'Bearer token-2'])
  assert.deepEqual(called, ['1:e-1', '2:e-2'])
})

test('another topic begins anew', async (t) => {
  const { address, requests } = await scripted(t,
    stream(opening(0), event(1)), stream(opening(5), event(6)))
  const { render, shows } = mount(t)
  render({ url: address, topics: 'a' })
  await shows('open:1:0')
  render({ url: address, topics: 'b' })
  await shows('open:6:0')
  const [first, second] = await requests.take(2)
  await first.gone
  assert.deepEqual(second.url.searchParams.getAll('topic'), ['b'])
  assert.equal(second.headers['last-event-id'], undefined)
})

test('of no topics nothing is heard, until there are some', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1)))
  const { render, shows } = mount(t)
  render({ url: address, topics: [] })
  await shows('closed::0')
  assert.equal(requests.all.length, 0)
  render({ url: address, topics: ['a'] })
  await shows('open:1:0')
  render({ url: address, topics: [] })
  await shows('closed::0')
  await (await requests.next()).gone
})

test('a position may be kept elsewhere', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(4), event(5)))
  const kept = []
  const store = { get: () => 'e-4', set: (cursor) => void kept.push(cursor) }
  const { render, shows } = mount(t)
  render({ url: address, topics: 'a', cursor: store })
  await shows('open:5:0')
  assert.equal((await requests.next()).headers['last-event-id'], 'e-4')
  assert.deepEqual(kept, ['e-5'])
})

test('an outage is shown', async (t) => {
  const { address } = await scripted(t, ending(opening(0, 3_000_000) + cursor(0)))
  const { render, shows, seen } = mount(t)
  render({ url: address, topics: 'a' })
  await shows('waiting::0')
  assert.deepEqual(seen.state, { name: 'waiting', retryIn: 3_000_000, status: 200 })
})

test('a server renders it without a connection, and a page takes over from there', async (t) => {
  const { address, requests } = await scripted(t, stream(opening(0), event(1)))
  const { Page } = page()
  const props = { url: address, topics: 'a' }
  const html = renderToString(createElement(Page, props))
  assert.equal(html, '<p>connecting::0</p>')
  await new Promise(setImmediate)
  assert.equal(requests.all.length, 0)
  const container = document.createElement('div')
  container.innerHTML = html
  const mismatches = []
  const onRecoverableError = (error) => mismatches.push(error)
  const root = hydrateRoot(container, createElement(Page, props), { onRecoverableError })
  t.after(() => root.unmount())
  await eventually(() => container.textContent === 'open:1:0')
  assert.deepEqual(mismatches, [])
})

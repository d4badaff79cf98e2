// What a page hears while nothing goes wrong, and where it is afterwards.

import assert from 'node:assert/strict'
import { config } from '../gateway.mjs'
import { everyReader, haveHeard } from './readers.mjs'

const EVENTS = 200
/** No heartbeat comes to anybody's help. */
const QUIET = { heartbeat: '10m' }

export async function each_event_arrives_once_in_order_with_its_id(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  const tab = await site.tab(await setup.browser())
  const readers = await everyReader(tab, gateway)
  const posted = []
  for (let number = 1; number <= EVENTS; number += 1) {
    const event = { number, text: 'żółw 🐢' }
    posted.push({ id: await gateway.post('open', event), data: JSON.stringify(event) })
  }
  await haveHeard(readers, posted)
}

// An id without data does not count in Firefox: it would come back with none,
// and what came meanwhile would be lost.
export async function a_reader_that_has_seen_only_a_cursor_resumes_behind_it(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  const relay = await setup.relay(gateway)
  const tab = await site.tab(await setup.browser())
  const readers = [
    ['/events/open', await tab.read('native', `${relay.url}/events/open`)],
    ['/events?', await tab.read('client', relay.url, { topics: 'open' })],
  ]
  for (const [, reader] of readers) await reader.hasStream()
  // A heartbeat tells them of an event that they are not given.
  const elsewhere = await gateway.post('shut', {})
  for (const [, reader] of readers) {
    await reader.until(`cursor ${elsewhere}`, ({ cursor }) => cursor === elsewhere)
  }
  relay.requests.length = 0
  relay.refuses()
  const missed = { id: await gateway.post('open', 'missed'), data: '"missed"' }
  relay.passes()
  for (const [path, reader] of readers) {
    await reader.hears(missed.id)
    assert.deepEqual((await reader.record()).heard, [missed])
    assert.equal(relay.asked('GET', path).at(-1).headers['last-event-id'], elsewhere)
  }
}

// The browser asks for it by itself.
export async function compression_holds_no_event_back(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin, QUIET))
  const relay = await setup.relay(gateway)
  const tab = await site.tab(await setup.browser())
  const readers = [
    await tab.read('native', `${relay.url}/events/open`),
    await tab.read('client', relay.url, { topics: 'open' }),
  ]
  for (const reader of readers) await reader.hasStream()
  const asked = relay.asked('GET', '/events')
  assert.equal(asked.length, readers.length)
  for (const request of asked) {
    assert.match(request.headers['accept-encoding'], /\bgzip\b/)
    assert.equal(request.answer().headers['content-encoding'], 'gzip')
    assert.equal(request.answer().headers['cache-control'], 'no-store, no-transform')
  }
  // No event has another one behind it that could push it out.
  for (const number of [1, 2, 3]) {
    const id = await gateway.post('open', { number })
    for (const reader of readers) await reader.hears(id)
  }
}

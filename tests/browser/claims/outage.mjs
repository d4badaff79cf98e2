// What a page misses while the gateway is away: nothing.

import assert from 'node:assert/strict'
import { config, Poster } from '../gateway.mjs'

/** Events between two outages, at least. */
const STORED = 30

export async function a_gateway_that_is_killed_costs_no_event(stage) {
  const site = await stage.site()
  const gateway = await stage.gateway(config(site.origin))
  const tab = await site.tab(await stage.browser())
  const readers = [
    await tab.read('native', `${gateway.url}/events/open`),
    await tab.read('client', gateway.url, { topics: 'open' }),
  ]
  for (const reader of readers) await reader.hasStream()
  const poster = new Poster(gateway, 'open')
  for (const isNoticed of [true, false]) {
    await poster.stores(STORED)
    await gateway.kill()
    if (isNoticed) for (const reader of readers) await reader.hasLostIt()
    await gateway.start()
    await poster.stores(STORED)
    for (const reader of readers) await reader.hasStream()
  }
  await poster.stores(STORED)
  const ledger = await poster.end()
  for (const reader of readers) {
    await reader.hears(ledger.at(-1).id)
    const { heard, gaps } = await reader.record()
    assert.deepEqual(heard, ledger)
    assert.deepEqual(gaps, [])
  }
}

export async function an_answer_ends_an_event_source_for_ever_and_not_the_client(stage) {
  const site = await stage.site()
  const gateway = await stage.gateway(config(site.origin))
  const relay = await stage.relay(gateway)
  const tab = await site.tab(await stage.browser())
  const client = await tab.read('client', relay.url, { topics: 'open' })
  const natives = []
  for (const status of [502, 403, 503]) {
    const native = await tab.read('native', `${relay.url}/events/open`)
    await native.hasStream()
    relay.answers(status, { 'Access-Control-Allow-Origin': site.origin })
    await native.until('its end', ({ closed }) => closed)
    // It may not be told which it is: the preflight has the same answer.
    await client.until(`a wait for ${status} to end`, ({ streams, trouble }) => !streams && trouble)
    natives.push(native)
    relay.passes()
    await client.hasStream()
  }
  const id = await gateway.post('open', 'after all')
  await client.hears(id)
  assert.equal((await client.record()).closed, false)
  for (const native of natives) {
    const { heard, closed } = await native.record()
    assert.deepEqual({ heard, closed }, { heard: [], closed: true })
  }
}

// How many tabs may listen at once.
//
// Over HTTP/1.1 a browser opens six connections to a host (and port), over all
// of its tabs, and whatever else is asked of that host waits, without an
// error. Over HTTP/2 there is one, which all tabs share.

import assert from 'node:assert/strict'
import { config } from '../gateway.mjs'

const TABS = 7

export async function over_http_1_the_seventh_tab_waits_until_another_one_closes(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  const browser = await setup.browser()
  await seventhWaits(site, gateway, browser, (tab) => tab.read('native', `${gateway.url}/events/open`))
  await seventhWaits(site, gateway, browser, (tab) => tab.read('client', gateway.url, { topics: 'open' }))
}

/** Firefox lets a reader of its cache wait 20 s for the writer. */
const AT_ONCE_MS = 10_000

// Unless neither has to do with the cache.
export async function a_second_tab_of_the_same_address_does_not_wait_for_the_first(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  const browser = await setup.browser()
  for (const [kind, ...args] of [
    ['native', `${gateway.url}/events/open`],
    ['client', gateway.url, { topics: 'open' }],
  ]) {
    const first = await (await site.tab(browser)).read(kind, ...args)
    await first.hasStream()
    const tab = await site.tab(browser)
    const began = Date.now()
    await (await tab.read(kind, ...args)).hasStream()
    assert.ok(Date.now() - began < AT_ONCE_MS, `${kind}: ${Date.now() - began} ms`)
  }
}

async function seventhWaits(site, gateway, browser, read) {
  const { tabs, readers } = await open(site, browser, read)
  const [last, ...live] = readers.toReversed()
  for (const reader of live) await reader.hasStream()
  const first = await gateway.post('open', 'for six')
  for (const reader of live) await reader.hears(first)
  const { heard, streams, closed } = await last.record()
  assert.deepEqual({ heard, streams, closed }, { heard: [], streams: false, closed: false })
  assert.equal(await gateway.subscribers(), TABS - 1)

  await tabs[0].close()
  await last.hasStream()
  const second = await gateway.post('open', 'for the seventh')
  await last.hears(second)
  for (const tab of tabs.slice(1)) await tab.close()
}

async function open(site, browser, read) {
  const [tabs, readers] = [[], []]
  for (let number = 0; number < TABS; number += 1) {
    tabs.push(await site.tab(browser))
    readers.push(await read(tabs.at(-1)))
  }
  return { tabs, readers }
}

/** The proxy, its certificate and its gateway are there already. */
export async function over_http_2_seven_tabs_are_live_at_once(setup) {
  const front = process.env.HOOKRILL_FRONT
  const site = await setup.site(Number(process.env.HOOKRILL_PAGE_PORT))
  const browser = await setup.browser()
  const natives = await open(site, browser, (tab) => tab.read('native', `${front}/events/open`))
  const clients = await open(site, browser, (tab) => tab.read('client', front, { topics: 'open' }))
  const readers = [...natives.readers, ...clients.readers]
  for (const reader of readers) await reader.hasStream()
  const answer = await fetch(`${front}/ingest/open`, { method: 'POST', body: '"for all"' })
  const { id } = await answer.json()
  for (const reader of readers) await reader.hears(id)
}

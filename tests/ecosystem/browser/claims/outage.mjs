// What a page misses while the gateway is away: nothing.

import assert from 'node:assert/strict'
import { createHmac, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { config, Sender } from '../gateway.mjs'
import { eventually } from '../wait.mjs'
import { everyReader, haveHeard } from './readers.mjs'

/** Events between two outages, at least. */
const STORED = 30

export async function a_gateway_that_is_killed_costs_no_event(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  const tab = await site.tab(await setup.browser())
  const readers = await everyReader(tab, gateway)
  const sender = new Sender(gateway, 'open')
  for (const isNoticed of [true, false]) {
    await sender.stores(STORED)
    await gateway.kill()
    if (isNoticed) for (const reader of readers) await reader.hasLostIt()
    await gateway.start()
    await sender.stores(STORED)
    for (const reader of readers) await reader.hasStream()
  }
  await sender.stores(STORED)
  await haveHeard(readers, await sender.end())
}

export async function an_answer_ends_an_event_source_for_ever_and_not_the_client(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  const relay = await setup.relay(gateway)
  const tab = await site.tab(await setup.browser())
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

/** The README's first block in this language. */
async function blockOfTheReadme(language) {
  const readme = await readFile(new URL('../../../../README.md', import.meta.url), 'utf8')
  return new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'ms').exec(readme)[1]
}

/** Shows the README's own page for this stream; gives its tab, and what waits for its list. */
async function showThePageOfTheReadme(setup, site, stream, changes = {}) {
  let page = await blockOfTheReadme('html')
  for (const [from, to] of Object.entries(changes)) {
    assert.ok(page.includes(from), from)
    page = page.replace(from, to)
  }
  site.routes['/readme'] = (response) => {
    response.setHeader('Content-Type', 'text/html; charset=utf-8')
    return page.replace(/http:\/\/127[^"]*/, stream)
  }
  const { page: tab } = await site.tab(await setup.browser(), '/readme')
  const lists = (texts) =>
    tab.waitForFunction(
      (texts) => JSON.stringify([...document.querySelectorAll('li')].map((item) => item.textContent)) === texts,
      {},
      JSON.stringify(texts),
    )
  return { tab, lists }
}

/** The README's own page at a relay. */
async function thePageOfTheReadme(setup, changes) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  const relay = await setup.relay(gateway)
  const shown = await showThePageOfTheReadme(setup, site, `${relay.url}/events/open`, changes)
  // Before its stream is open, it misses what comes.
  await eventually('its stream', () => relay.asked('GET', '/events/open').some(({ said }) => said.startsWith('HTTP/1.1 200')))
  return { gateway, relay, ...shown }
}

export async function the_first_configuration_of_the_readme_is_private_and_its_page_shows_its_events(setup) {
  const secret = '0123456789abcdef0123456789abcdef'
  const names = ['HOOKRILL_ADMIN_TOKEN', 'HOOKRILL_TOKEN_SECRET', 'GITHUB_WEBHOOK_SECRET', 'STRIPE_WEBHOOK_SECRET']
  const site = await setup.site()
  const toml = await blockOfTheReadme('toml')
  const ours = toml.replace(/^\[server\]\nlisten = .*\n/, '').replace('https://app.example.com', site.origin)
  assert.ok(ours.includes(site.origin) && !ours.includes('listen'))
  const gateway = await setup.gateway(ours, Object.fromEntries(names.map((name) => [name, secret])))
  for (const topic of ['github', 'stripe']) {
    const answer = await fetch(`${gateway.url}/events/${topic}`)
    await answer.arrayBuffer()
    assert.equal(answer.status, 401, topic)
  }
  const stream = `${gateway.url}/events/github?token=${await gateway.token('github')}&last=10`
  const { lists } = await showThePageOfTheReadme(setup, site, stream)
  const body = JSON.stringify({ ref: 'refs/heads/main' })
  const signature = createHmac('sha256', secret).update(body).digest('hex')
  const headers = {
    'Content-Type': 'application/json', 'X-GitHub-Event': 'push',
    'X-GitHub-Delivery': randomUUID(), 'X-Hub-Signature-256': `sha256=${signature}`,
  }
  const answer = await fetch(`${gateway.url}/ingest/github`, { method: 'POST', headers, body })
  assert.ok(answer.ok, await answer.text())
  await lists([body])
}

// It waits longer than the others.
export async function the_page_of_the_readme_lives_through_every_answer(setup) {
  const { gateway, relay, lists } = await thePageOfTheReadme(setup)
  await gateway.post('open', { text: '<b>one</b>' })
  await lists(['{"text":"<b>one</b>"}'])
  const asked = relay.requests.length
  relay.answers(502)
  await eventually('its answer', () => relay.requests.length > asked)
  await gateway.post('open', { text: 'two' })
  relay.passes()
  await lists(['{"text":"<b>one</b>"}', '{"text":"two"}'])
  const since = new URL(relay.asked('GET', '/events/open').at(-1).line.split(' ')[1], relay.url).searchParams.get('since')
  assert.match(since, /-1$/)
}

export async function the_page_of_the_readme_notices_a_line_that_went_silent(setup) {
  const { gateway, relay, lists } = await thePageOfTheReadme(setup, { '45_000': '3_000', 'look, 5000': 'look, 500' })
  await gateway.post('open', 1)
  await lists(['1'])
  relay.fallsSilent()
  await gateway.post('open', 2)
  await lists(['1', '2'])
}

// Its timer never fires, as that of a page that sleeps.
export async function the_page_of_the_readme_looks_for_silence_when_it_is_shown(setup) {
  const { gateway, relay, tab, lists } = await thePageOfTheReadme(setup, { '45_000': '3_000', 'look, 5000': 'look, 5e8' })
  await gateway.post('open', 1)
  await lists(['1'])
  for (const [name, number] of [['pageshow', 2], ['visibilitychange', 3]]) {
    relay.fallsSilent()
    await gateway.post('open', number)
    // As often as it takes until the silence was long enough.
    await eventually(`what ${name} brings`, async () => {
      await tab.evaluate((name) => dispatchEvent(new Event(name)), name)
      return (await tab.$$('li')).length === number
    })
  }
  await lists(['1', '2', '3'])
}

// Which pages may read a stream.

import assert from 'node:assert/strict'
import { config } from '../gateway.mjs'

/** Two sites, of which the gateway knows one, with the same cookie. */
async function twoSites(setup) {
  const [known, stranger] = [await setup.site(), await setup.site()]
  const gateway = await setup.gateway(config(known.origin))
  const relay = await setup.relay(gateway)
  const token = await gateway.token('shut')
  for (const site of [known, stranger]) {
    site.routes['/token'] = () => token
    site.routes['/cookie'] = (response) => {
      response.setHeader('Set-Cookie', `hookrill_token=${token}; Path=/; HttpOnly`)
      response.setHeader('Content-Type', 'text/html')
      return '<!doctype html>'
    }
  }
  return { known, stranger, gateway, relay, browser: await setup.browser() }
}

export async function a_cookie_lets_pages_of_a_known_origin_in_and_no_others(setup) {
  const { known, stranger, gateway, relay, browser } = await twoSites(setup)
  const read = async (tab, isIncluded) => [
    await tab.read('native', `${relay.url}/events/shut`, { withCredentials: isIncluded }),
    await tab.read('client', relay.url, { topics: 'shut', credentials: isIncluded ? 'include' : 'omit' }),
  ]
  const welcome = await known.tab(browser, '/cookie')
  const let_in = await read(welcome, true)
  for (const reader of let_in) await reader.hasStream()

  const [native, client] = await read(welcome, false)
  await native.until('its end', ({ closed }) => closed)
  await client.until('its refusal', ({ trouble }) => trouble?.status === 401)

  // Who is not told an answer is not told its status either.
  const [nativeElsewhere, clientElsewhere] = await read(await stranger.tab(browser, '/cookie'), true)
  await nativeElsewhere.until('its end', ({ closed }) => closed)
  await clientElsewhere.until('its refusal', ({ trouble }) => trouble?.error && !trouble.status)
  const asked = relay.asked('GET').filter(({ headers }) => headers.origin === stranger.origin)
  assert.ok(asked.length >= 2)
  for (const request of asked) {
    assert.match(request.headers.cookie, /hookrill_token=/)
    assert.equal(request.answer().headers['access-control-allow-origin'], undefined)
  }

  const id = await gateway.post('shut', 'for those who may')
  for (const reader of let_in) await reader.hears(id)
  for (const reader of [native, client, nativeElsewhere, clientElsewhere]) {
    assert.deepEqual((await reader.record()).heard, [])
  }
}

// A token in a header, and the cursor in another, are asked for beforehand.
export async function a_preflight_lets_the_clients_headers_through_and_stops_strangers(setup) {
  const { known, stranger, gateway, relay, browser } = await twoSites(setup)
  const options = { topics: 'shut', token: '/token' }
  const client = await (await known.tab(browser)).read('client', relay.url, options)
  await client.hasStream()
  relay.refuses()
  const id = await gateway.post('shut', 'missed')
  relay.passes()
  await client.hears(id)
  // Firefox asks again for the second header, Chromium remembers that it may.
  const preflights = relay.asked('OPTIONS')
  assert.equal(preflights[0].headers['access-control-request-headers'], 'authorization')
  for (const preflight of preflights) {
    const { headers } = preflight.answer()
    assert.equal(headers['access-control-allow-origin'], known.origin)
    for (const name of ['authorization', 'last-event-id']) {
      assert.ok(headers['access-control-allow-headers'].split(/, */).includes(name))
    }
  }
  const last = relay.asked('GET').at(-1).headers
  assert.match(last.authorization, /^Bearer /)
  assert.match(last['last-event-id'], /^[a-z0-9]+-\d+$/)

  relay.requests.length = 0
  const refused = await (await stranger.tab(browser)).read('client', relay.url, options)
  await refused.until('its refusal', ({ trouble }) => trouble?.error && !trouble.status)
  const ofStranger = ({ headers }) => headers.origin === stranger.origin
  assert.ok(relay.asked('OPTIONS').some(ofStranger))
  assert.ok(!relay.asked('GET').some(ofStranger))
}

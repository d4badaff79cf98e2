// Tokens end while a page is open.

import { config, Sender } from '../gateway.mjs'
import { haveHeard } from './readers.mjs'

/** So short that nobody is told of its end beforehand. */
const SHORT = '2s'
/** Its readers are told 5 s before its end. */
const LONG = '7s'
/** Tokens that each reader gets, at least. */
const TOKENS = 3

export async function a_token_that_ends_is_renewed_and_no_event_is_lost(setup) {
  const site = await setup.site()
  const gateway = await setup.gateway(config(site.origin))
  site.routes['/short'] = () => gateway.token('shut', SHORT)
  site.routes['/long'] = () => gateway.token('shut', LONG)
  const tab = await site.tab(await setup.browser())
  const readers = [
    await tab.read('rebuilt', `${gateway.url}/events/shut`, '/short', false),
    await tab.read('rebuilt', `${gateway.url}/events/shut`, '/long', true),
    await tab.read('client', gateway.url, { topics: 'shut', token: '/short' }),
    await tab.read('client', gateway.url, { topics: 'shut', token: '/long' }),
  ]
  for (const reader of readers) await reader.hasStream()
  const sender = new Sender(gateway, 'shut')
  for (const reader of readers) {
    await reader.until(`${TOKENS} tokens`, ({ made }) => made >= TOKENS)
    await reader.hasStream()
  }
  await haveHeard(readers, await sender.end())
}

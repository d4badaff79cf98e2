// Checks one claim in one browser, and ends with 0 if it holds.
//
// usage: HOOKRILL_BINARY=… node run.mjs chromium|firefox CLAIM
//
// Invariant: it ends, and so does what it has started: when the claim is
// found true or false, when that takes too long, and when whoever wants to know
// has gone, which is when standard input ends.

import { Setup } from './setup.mjs'

/** For one claim; the longest takes some 15 s. */
const PATIENCE_MS = 120_000

const [browserName, name] = process.argv.slice(2)
const claims = await import('./claims.mjs')

const setup = new Setup(browserName)
const hopeless = new Promise((_, reject) => {
  const give = (why) => reject(new Error(why))
  setTimeout(give, PATIENCE_MS, `not found true within ${PATIENCE_MS} ms`).unref()
  process.stdin.on('end', () => give('nobody wants to know any more')).resume().unref?.()
})

let status = 0
try {
  const claim = claims[name]
  if (!claim) throw new Error(`no claim has the name ${name}`)
  await Promise.race([claim(setup), hopeless])
} catch (error) {
  status = 1
  console.error(error)
}
await setup.end()
process.exit(status)

// Those who read the same topic in different ways, and what they all have to have.

import assert from 'node:assert/strict'

/** Each way to read the public topic, with its stream. */
export async function everyReader(tab, gateway) {
  const readers = [
    await tab.read('native', `${gateway.url}/events/open`),
    await tab.read('client', gateway.url, { topics: 'open' }),
    await tab.read('worker', gateway.url, { topics: 'open' }),
  ]
  for (const reader of readers) await reader.hasStream()
  return readers
}

/** Waits for the last of it: each event once, in order, and no gap. */
export async function haveHeard(readers, posted) {
  for (const reader of readers) {
    await reader.hears(posted.at(-1).id)
    const { heard, gaps } = await reader.record()
    assert.deepEqual(heard, posted)
    assert.deepEqual(gaps, [])
  }
}

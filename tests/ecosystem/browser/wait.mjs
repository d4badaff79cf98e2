// Waiting for something that tells nobody when it happens.

import { setTimeout as pause } from 'node:timers/promises'

/** For each thing that is waited for: longer than it takes on a slow day. */
export const PATIENCE_MS = 30_000
/** Between two looks. */
const LOOK_AGAIN_MS = 15

/** Looks until it is there. */
export async function eventually(what, look) {
  const patience = Date.now() + PATIENCE_MS
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > patience) throw new Error(`there never was ${what}`)
    await pause(LOOK_AGAIN_MS)
  }
}

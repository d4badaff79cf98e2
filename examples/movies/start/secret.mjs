// The secret that movies are signed with: made once, kept for the owner alone,
// and in no repository.

import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Failure } from './failure.mjs'

/** As Standard Webhooks writes secrets. A file that is there stays as it is. */
export function keepSecret(path) {
  const secret = `whsec_${randomBytes(32).toString('base64')}\n`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(path, secret, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if (error.code === 'EEXIST') return
    throw new Failure(`The secret cannot be kept in ${path}: ${error.message}`)
  }
}

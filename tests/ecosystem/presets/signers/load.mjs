// Loads a package's file out of node_modules, whatever else it would ask for.
//
// The lock installs SDKs without what they depend on (see ../lock.mjs). A file
// that asks for one of those when it is loaded gets `inert`, which does nothing
// at all: no signer and no verifier here can have its answer from it, and a
// call into it that a check depended on would fail that check.

import { readFileSync } from 'node:fs'
import Module, { createRequire, register } from 'node:module'
import { webcrypto } from 'node:crypto'

// Node 18 has it, but not under this name.
globalThis.crypto ??= webcrypto

const modules = new URL('../node_modules/', import.meta.url)
const require = createRequire(import.meta.url)

class Inert {}
export const inert = new Proxy(Inert, {
  get: (_, name) => (name === 'prototype' ? Inert.prototype : name === 'then' ? undefined : inert),
  apply: () => inert,
})

const load = Module._load
Module._load = function (name, ...rest) {
  try {
    return load.call(this, name, ...rest)
  } catch (error) {
    const absent = error.code === 'MODULE_NOT_FOUND' && error.message.includes(`'${name}'`)
    if (absent && !name.startsWith('.') && !name.startsWith('/')) return inert
    throw error
  }
}
register('./hooks.mjs', import.meta.url)

/** A CommonJS file of a package, such as `stripe/cjs/stripe.cjs.node.js`. */
export const cjs = (file) => require(new URL(file, modules).pathname)
/** An ES module of a package. */
export const esm = (file) => import(new URL(file, modules))

/** Whose code it is: `npm stripe 18.5.0, what`. */
export function by(name, what) {
  const { version } = JSON.parse(readFileSync(new URL(`${name}/package.json`, modules), 'utf8'))
  return `npm ${name} ${version}, ${what}`
}

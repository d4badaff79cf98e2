// Writes package-lock.json: the packages of package.json and nothing else.
//
// The packages here are the SDKs of some fifty companies, and what they ask
// for in turn would be several hundred packages more. Only their signers and
// verifiers are loaded, so the lock names each package by version and content
// hash and leaves out what it depends on. What a verifier does need is listed
// in package.json beside the SDKs. `npm ci` installs exactly what the lock says.
//
// usage: node lock.mjs, after a change of package.json

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const { name, dependencies, engines } = JSON.parse(readFileSync('package.json', 'utf8'))
const known = existsSync('package-lock.json') ? JSON.parse(readFileSync('package-lock.json', 'utf8')).packages : {}
const packages = { '': { name, dependencies, engines } }
for (const [dependency, version] of Object.entries(dependencies)) {
  const at = `node_modules/${dependency}`
  if (known[at]?.version === version) {
    packages[at] = known[at]
    continue
  }
  const view = JSON.parse(
    execFileSync('npm', ['view', `${dependency}@${version}`, 'dist.integrity', 'license', '--json'], { encoding: 'utf8' }),
  )
  packages[at] = { version, integrity: view['dist.integrity'], license: view.license }
}
writeFileSync('package-lock.json', JSON.stringify({ name, lockfileVersion: 3, requires: true, packages }, null, 2) + '\n')

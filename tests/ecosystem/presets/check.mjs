// Reads the lines of signers.mjs and signers.py and the entries of vectors.json,
// holds each to the form that signers.mjs tells of, and says how many presets
// have lines. `--presets a,b,c` fails if one of these has none.
//
// usage: (node signers.mjs; python signers.py) | node check.mjs

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const ROLES = ['signs', 'verifies', 'token', 'vector']
const text = (value) => typeof value === 'string' && value.length > 0
const orNull = (is) => (value) => value === null || is(value)
const FORM = {
  preset: (value) => /^[a-z0-9]+(-[a-z0-9]+)*$/.test(value),
  provider: text,
  by: text,
  role: (value) => ROLES.includes(value),
  secret: text,
  public_url: orNull((value) => /^https:\/\/[^/]+$/.test(value)),
  method: (value) => ['POST', 'GET', 'HEAD'].includes(value),
  target: (value) => value.startsWith('/') && !/\s/.test(value),
  headers: (value) => value.every(([name, value, ...rest]) => /^[\w-]+$/.test(name) && text(value) && rest.length === 0),
  body_base64: (value) => Buffer.from(value, 'base64').toString('base64') === value,
  at_ms: Number.isSafeInteger,
  expect: ({ dedup_id, event_type }) => orNull(text)(dedup_id) && orNull(text)(event_type),
}

const presets = new Map()
function take(line, from) {
  for (const [member, holds] of Object.entries(FORM)) {
    let good = false
    try {
      good = holds(line[member])
    } catch {}
    if (!good) throw new Error(`${from}: ${line.preset ?? 'a line'} has a ${member} of the wrong form: ${JSON.stringify(line[member])}`)
  }
  if (line.handshake && !(Number.isInteger(line.handshake.status) && typeof line.handshake.body === 'string' && line.handshake.headers)) {
    throw new Error(`${from}: ${line.preset} has a handshake of the wrong form`)
  }
  if (!presets.has(line.preset)) presets.set(line.preset, { roles: new Set(), lines: 0, handshakes: 0, signed: 0 })
  const seen = presets.get(line.preset)
  seen.roles.add(line.role)
  seen.lines += 1
  seen.handshakes += line.handshake ? 1 : 0
  // A question that is answered before anything is signed says nothing of a scheme.
  seen.signed += line.role !== 'token' && line.body_base64 !== '' ? 1 : 0
}

for await (const line of createInterface({ input: process.stdin })) take(JSON.parse(line), 'the input')
for (const entry of JSON.parse(readFileSync(new URL('./vectors.json', import.meta.url), 'utf8'))) {
  if (!text(entry.source)) throw new Error(`vectors.json: ${entry.preset} has no source`)
  take(entry, 'vectors.json')
}

// EVIDENCE.md has a row for each preset, and no row without lines.
const evidence = readFileSync(new URL('./EVIDENCE.md', import.meta.url), 'utf8').split('## Left out')[0]
const rows = new Set([...evidence.matchAll(/^\| ([a-z0-9-]+) \|/gm)].map(([, preset]) => preset))
const unequal = [...[...presets.keys()].filter((preset) => !rows.has(preset)), ...[...rows].filter((preset) => !presets.has(preset))]
if (unequal.length > 0) throw new Error(`in the lines or in EVIDENCE.md, but not in both: ${unequal.join(', ')}`)

for (const [preset, { roles, lines, handshakes }] of [...presets].sort(([a], [b]) => (a < b ? -1 : 1))) {
  console.log(`${preset.padEnd(22)} ${[...roles].join(', ').padEnd(26)} ${lines}${handshakes ? `, ${handshakes} of them a handshake` : ''}`)
}
const signed = [...presets.values()].filter((preset) => preset.signed > 0)
console.log(`${presets.size} presets have lines, ${signed.length} of them signed deliveries`)

const at = process.argv.indexOf('--presets')
const missing = at < 0 ? [] : process.argv[at + 1].split(',').filter((preset) => !presets.has(preset))
if (missing.length > 0) {
  console.error(`no line for ${missing.join(', ')}`)
  process.exit(1)
}

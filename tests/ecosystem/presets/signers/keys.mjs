// Ed25519: the provider has the private key, a topic has the public one.

import { generateKeyPairSync, sign } from 'node:crypto'
import { by, cjs } from './load.mjs'
import { JSON_TYPE, json, seconds } from './bodies.mjs'
import { verified } from './verified.mjs'

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
// An Ed25519 key in SPKI is 12 bytes of header and the 32 of the key.
const key = publicKey.export({ type: 'spki', format: 'der' }).subarray(12)
const signed = (...parts) => sign(null, Buffer.concat(parts.map((part) => Buffer.from(part))), privateKey)

export async function discord() {
  const { verifyKey } = cjs('discord-interactions/dist/index.js')
  const secret = key.toString('hex')
  const at = String(seconds())
  const facts = { preset: 'discord', provider: 'Discord', by: by('discord-interactions', 'verifyKey'), secret, at_ms: Number(at) * 1000 }
  for (const [event, expect, handshake] of [
    [{ type: 2, id: '1', token: 'A_UNIQUE_TOKEN', data: { name: 'cards' } }, { dedup_id: '1' }],
    [{ type: 1, id: '2', application_id: '3' }, {}, { status: 200, body: '{"type":1}', headers: { 'Content-Type': 'application/json' } }],
  ]) {
    const body = json(event)
    await verified({
      ...facts, body, expect, handshake,
      by: handshake ? by('discord-interactions', 'verifyKey; verifyKeyMiddleware answers a PING so') : facts.by,
      headers: [JSON_TYPE, ['X-Signature-Timestamp', at], ['X-Signature-Ed25519', signed(at, body).toString('hex')]],
    }, {
      accepts: ({ body, headers }) => verifyKey(body, headers['x-signature-ed25519'], headers['x-signature-timestamp'], secret),
      signature: 'X-Signature-Ed25519', timestamp: 'X-Signature-Timestamp',
    })
  }
}

export async function telnyx() {
  const { default: webhooks } = cjs('telnyx/dist/Webhooks.js')
  const at = String(seconds())
  const body = json({ data: { record_type: 'event', event_type: 'message.received', id: 'b301ed3f' } })
  const { log } = console
  console.log = () => {}
  await verified({
    preset: 'telnyx', provider: 'Telnyx', by: by('telnyx', 'webhooks.constructEvent'), secret: key.toString('base64'), body,
    at_ms: Number(at) * 1000,
    headers: [JSON_TYPE, ['telnyx-timestamp', at], ['telnyx-signature-ed25519', signed(at, '|', body).toString('base64')]],
    expect: { dedup_id: 'b301ed3f', event_type: 'message.received' },
  }, {
    accepts: ({ body, headers }) =>
      void webhooks.constructEvent(body, Buffer.from(headers['telnyx-signature-ed25519'], 'base64'), headers['telnyx-timestamp'], key),
    signature: 'telnyx-signature-ed25519', timestamp: 'telnyx-timestamp',
  })
  console.log = log
}

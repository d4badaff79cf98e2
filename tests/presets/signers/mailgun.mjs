// Mailgun signs a time and a token, which the body carries beside the event:
// what the event says is not covered.

import { by, cjs } from './load.mjs'
import { JSON_TYPE, HARD, seconds } from './bodies.mjs'
import { hmac, prove } from './proof.mjs'

export async function mailgun() {
  const Mailgun = cjs('mailgun-js/lib/mailgun.js')
  const secret = 'key-of-the-domain-for-webhooks'
  const timestamp = String(seconds())
  const token = 'a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3d0b'
  const signature = { timestamp, token, signature: hmac('sha256', secret, 'hex', timestamp, token) }
  const body = JSON.stringify({ 'event-data': { event: 'opened', id: 'ase7i2zsRYeDXztHGENqRA', note: HARD }, signature })
  await prove({
    preset: 'mailgun', provider: 'Mailgun', by: by('mailgun-js', 'validateWebhook'), secret, body, at_ms: Number(timestamp) * 1000,
    headers: [JSON_TYPE], expect: { dedup_id: 'ase7i2zsRYeDXztHGENqRA', event_type: 'opened' },
  }, {
    inBody: true,
    // A memory of its own each time: it refuses a token that it has seen, too.
    accepts: ({ body }) => {
      const { timestamp, token, signature } = JSON.parse(body).signature
      return Mailgun.prototype.validateWebhook.call({ apiKey: secret, mute: true, mailgunTokens: {} }, timestamp, token, signature)
    },
  })
}

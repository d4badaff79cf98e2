// Providers that send a token as it is. Nothing is signed: a line shows where
// the token goes, and names who says so.

import { by, cjs } from './load.mjs'
import { JSON_TYPE, json, uuid } from './bodies.mjs'
import { print } from './verified.mjs'

const token = 'a-token_of-the-receiver.0123456789'
const holdsOnlyWith = async (preset, accepts) => {
  for (const [given, yes] of [[token, true], [token.slice(1), false], [token + ' x', false], [undefined, false]]) {
    if ((await accepts(given)) !== yes) throw new Error(`${preset}: the foreign verifier must take the token, and that alone`)
  }
}

export async function telegram() {
  const { webhookCallback } = cjs('grammy/out/convenience/webhook.js')
  const bot = { isRunning: () => false, async init() {}, async handleUpdate() {} }
  const callback = webhookCallback(bot, 'std/http', { secretToken: token })
  await holdsOnlyWith('telegram', async (given) => {
    const headers = given ? { 'X-Telegram-Bot-Api-Secret-Token': given } : {}
    return (await callback(new Request('https://hooks.example.com/', { method: 'POST', headers, body: '{}' }))).status === 200
  })
  print({
    preset: 'telegram', provider: 'Telegram', role: 'token', by: by('grammy', 'webhookCallback with secretToken'), secret: token,
    headers: [JSON_TYPE, ['X-Telegram-Bot-Api-Secret-Token', token]], body: json({ update_id: 10000, message: { text: '/start' } }),
    expect: { dedup_id: '10000' },
  })
}

export async function gitlab() {
  const { verifySignature } = cjs('n8n-nodes-base/dist/nodes/Gitlab/GitlabTriggerHelpers.js')
  await holdsOnlyWith('gitlab', (given) => verifySignature.call({
    getHeaderData: () => ({ 'x-gitlab-token': given }), getWorkflowStaticData: () => ({ webhookSecret: token }),
  }))
  const delivery = uuid()
  print({
    preset: 'gitlab', provider: 'GitLab', role: 'token', by: by('n8n-nodes-base', 'Gitlab trigger'), secret: token,
    headers: [
      JSON_TYPE, ['X-Gitlab-Event', 'Push Hook'], ['X-Gitlab-Token', token], ['X-Gitlab-Event-UUID', uuid()],
      ['X-Gitlab-Webhook-UUID', uuid()], ['Idempotency-Key', delivery],
    ],
    body: json({ object_kind: 'push', ref: 'refs/heads/main' }), expect: { dedup_id: delivery, event_type: 'Push Hook' },
  })
}

/** Known from their documentation alone. */
export function documented() {
  const all = [
    {
      preset: 'hugging-face', provider: 'Hugging Face', by: 'https://huggingface.co/docs/hub/webhooks (Webhook secret)',
      headers: [['X-Webhook-Secret', token]], body: json({ event: { action: 'update', scope: 'repo.content' } }),
      expect: { event_type: 'repo.content' },
    },
    {
      preset: 'buildkite-token', provider: 'Buildkite', by: 'https://buildkite.com/docs/apis/webhooks/pipelines (Webhook token)',
      headers: [['X-Buildkite-Event', 'build.finished'], ['X-Buildkite-Token', token]], body: json({ event: 'build.finished' }),
      expect: { event_type: 'build.finished' },
    },
    {
      preset: 'okta', provider: 'Okta', by: 'https://developer.okta.com/docs/concepts/event-hooks/ (authorization header)',
      headers: [['Authorization', token]], body: json({ eventType: 'com.okta.event_hook', eventId: 'b5a1' }),
      expect: { dedup_id: 'b5a1', event_type: 'com.okta.event_hook' },
    },
  ]
  all.push({
    preset: 'meraki', provider: 'Cisco Meraki', by: 'https://developer.cisco.com/meraki/webhooks/introduction/ (Shared secret)',
    headers: [], body: json({ version: '0.1', sharedSecret: token, alertId: '643451796760560203', alertType: 'Settings changed' }),
    expect: { dedup_id: '643451796760560203', event_type: 'Settings changed' },
  })
  for (const { headers, ...facts } of all) print({ ...facts, role: 'token', secret: token, headers: [JSON_TYPE, ...headers] })
}

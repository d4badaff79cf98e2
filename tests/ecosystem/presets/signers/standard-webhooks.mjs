// Standard Webhooks and the providers that sign with it, under both names of
// the headers. Signed by npm `standardwebhooks` or `svix`, and for a provider
// with an SDK accepted by that SDK.

import { by, cjs, esm } from './load.mjs'
import { HARD, JSON_TYPE, id, json, seconds } from './bodies.mjs'
import { verified } from './verified.mjs'

const { Webhook } = cjs('standardwebhooks/dist/index.js')
const svix = cjs('svix/dist/webhook.js')
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const OLD_SECRET = 'whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xk'
const SIGNED = 'signed by npm standardwebhooks 1.0.0'

const names = (prefix) => ['id', 'timestamp', 'signature'].map((name) => `${prefix}-${name}`)

/** A delivery as one of these providers makes it. */
function delivery({ prefix = 'webhook', secret = SECRET, signer = new Webhook(secret), body, old, type }) {
  const [idName, timestampName, signatureName] = names(prefix)
  const msg = id('msg_')
  const at = seconds()
  const sign = (by) => by.sign(msg, new Date(at * 1000), body)
  const signatures = [...(old ? [sign(new Webhook(old))] : []), sign(signer)]
  return {
    secret,
    body,
    at_ms: at * 1000,
    headers: [JSON_TYPE, [idName, msg], [timestampName, String(at)], [signatureName, signatures.join(' ')]],
    expect: { dedup_id: msg, event_type: type ?? null },
  }
}

/** What `verified` has to change, beside the body: the id is signed too. */
const checks = (prefix, accepts) => ({ accepts, signature: names(prefix)[2], timestamp: names(prefix)[1] })
const event = (type) => json({ type, timestamp: new Date().toISOString(), data: { id: id('obj_') } })

export async function standard() {
  const accepts = ({ body, headers }) => void new Webhook(SECRET).verify(body, headers)
  const facts = { preset: 'standard-webhooks', provider: 'Standard Webhooks', role: 'signs', by: by('standardwebhooks', 'Webhook.sign') }
  const type = 'user.created'
  const bodies = [
    { body: event(type), type },
    { body: json({ type, data: { é: [1, 2.5] } }, '\t'), type },
    { body: ` {"type" : "${type}" , "big" : 1e400, "data" : "x" }\r\n`, type },
    // Its verifier reads JSON only; its signer, as the specification, any bytes.
    { body: HARD, unread: true },
    { body: '', unread: true },
    { body: event(type), type, old: OLD_SECRET },
  ]
  for (const made of bodies) await verified({ ...facts, ...delivery(made) }, made.unread ? {} : checks('webhook', accepts))

  const svixAccepts = ({ body, headers }) => void new svix.Webhook(SECRET).verify(body, headers)
  const signer = new svix.Webhook(SECRET)
  const svixFacts = { preset: 'standard-webhooks', provider: 'Svix', role: 'signs', by: by('svix', 'Webhook.sign') }
  for (const preset of ['standard-webhooks', 'svix']) {
    for (const old of [undefined, OLD_SECRET]) {
      const made = delivery({ prefix: 'svix', signer, body: event(type), type, old })
      await verified({ ...svixFacts, ...made, preset }, checks('svix', svixAccepts))
    }
  }
}

/** Those whose own SDK accepted what was signed. */
export async function withSdk() {
  const { verifyWebhook } = cjs('@clerk/backend/dist/webhooks.js')
  const { validateWebhook } = cjs('replicate/lib/util.js')
  const { Resend } = cjs('resend/dist/index.cjs')
  const { Webhooks: OpenAi } = cjs('openai/resources/webhooks/webhooks.js')
  const { Webhooks: Lithic } = cjs('lithic/resources/webhooks.js')
  const { WebhookHandler } = cjs('@liveblocks/node/dist/index.cjs')
  const { SeamWebhook } = await esm('@seamapi/webhook/index.js')
  const resend = new Resend('re_unused')
  const client = { webhookSecret: SECRET }

  const all = [
    ['clerk', 'Clerk', 'svix', 'user.created', by('@clerk/backend', 'webhooks.verifyWebhook'),
      // Its refusal goes through a package that is not installed: what counts is that an event came out.
      async ({ url, method, headers, body }) =>
        (await verifyWebhook(new Request(url, { method, headers, body }), { signingSecret: SECRET }))?.type === 'user.created'],
    ['resend', 'Resend', 'svix', 'email.delivered', by('resend', 'webhooks.verify'),
      ({ body, headers }) => void resend.webhooks.verify({ payload: body, webhookSecret: SECRET,
        headers: { id: headers['svix-id'], timestamp: headers['svix-timestamp'], signature: headers['svix-signature'] } })],
    ['seam', 'Seam', 'svix', 'device.connected', by('@seamapi/webhook', 'SeamWebhook.verify'),
      ({ body, headers }) => void new SeamWebhook(SECRET).verify(body, headers)],
    ['openai', 'OpenAI', 'webhook', 'response.completed', by('openai', 'webhooks.unwrap'),
      async ({ body, headers }) => void (await new OpenAi(client).unwrap(body, headers, SECRET))],
    ['lithic', 'Lithic', 'webhook', null, by('lithic', 'webhooks.unwrap'),
      ({ body, headers }) => void new Lithic(client).unwrap(body, headers, SECRET)],
    ['liveblocks', 'Liveblocks', 'webhook', 'storageUpdated', by('@liveblocks/node', 'WebhookHandler.verifyRequest'),
      ({ body, headers }) => void new WebhookHandler(SECRET).verifyRequest({ headers, rawBody: body })],
  ]
  for (const [preset, provider, prefix, type, whose, accepts] of all) {
    const body = type ? event(type) : json({ event_type: 'card_transaction.updated', token: id() })
    const facts = { preset, provider, by: `${whose}; ${SIGNED}` }
    const made = delivery({ prefix, body, type: type ?? 'card_transaction.updated' })
    await verified({ ...facts, ...made }, checks(prefix, accepts))
    const rotated = delivery({ prefix, body, type: type ?? 'card_transaction.updated', old: OLD_SECRET })
    await verified({ ...facts, ...rotated }, checks(prefix, accepts))
  }
  // Replicate's predictions have a status and no type.
  const prediction = delivery({ body: json({ id: 'ufawqhfynnddngldkgtslldrkq', status: 'succeeded' }) })
  await verified(
    { preset: 'replicate', provider: 'Replicate', by: `${by('replicate', 'validateWebhook')}; ${SIGNED}`, ...prediction },
    checks('webhook', ({ body, headers }) => validateWebhook({ headers, body }, SECRET)),
  )
}

/** Those whose documentation names the scheme, and whose sets a third party's verifier knows. */
export async function withTern() {
  const { WebhookVerificationService } = cjs('@hookflo/tern/dist/index.js')
  const tern = (platform, secret) => async ({ url, method, headers, body }) =>
    (await WebhookVerificationService.verifyWithPlatformConfig(new Request(url, { method, headers, body }), platform, secret)).isValid
  const whose = (platform) => `${by('@hookflo/tern', `platform ${platform}`)}; ${SIGNED}`

  const dodo = delivery({ body: event('payment.succeeded'), type: 'payment.succeeded' })
  await verified({ preset: 'dodo-payments', provider: 'Dodo Payments', by: whose('dodopayments'), ...dodo },
    checks('webhook', tern('dodopayments', SECRET)))

  // Polar's secret is a text, which its SDK writes as base64 for the same signer.
  const secret = 'polar_whs_it is used as it stands'
  const signer = new Webhook(Buffer.from(secret).toString('base64'))
  const polar = delivery({ secret, signer, body: event('order.paid'), type: 'order.paid' })
  await verified({ preset: 'polar', provider: 'Polar', by: whose('polar'), ...polar }, checks('webhook', tern('polar', secret)))
}

/** Those that name Svix's or Standard Webhooks' library in their documentation as what signs. */
export async function byTheirWord() {
  const vanta = delivery({ prefix: 'svix', signer: new svix.Webhook(SECRET), body: event('control.updated'), type: 'control.updated' })
  await verified({
    preset: 'vanta', provider: 'Vanta', role: 'signs', ...vanta,
    by: `${by('svix', 'Webhook.sign')}; https://developer.vanta.com/docs/webhooks ("powered by Svix")`,
  }, checks('svix', ({ body, headers }) => void new svix.Webhook(SECRET).verify(body, headers)))

  // The dashboard shows the secret with the scheme's version before it.
  const secret = `v1,${SECRET}`
  const supabase = delivery({ body: json({ user: { id: id() }, email_data: { email_action_type: 'signup' } }) })
  await verified({
    preset: 'supabase', provider: 'Supabase Auth', role: 'signs', ...supabase, secret,
    by: `${by('standardwebhooks', 'Webhook.sign')}; https://supabase.com/docs/guides/auth/auth-hooks`,
  }, checks('webhook', ({ body, headers }) => void new Webhook(secret.replace('v1,', '')).verify(body, headers)))
}

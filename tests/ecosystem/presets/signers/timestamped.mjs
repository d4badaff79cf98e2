// Providers that sign a time with the body, each by its own SDK.

import { by, cjs, esm } from './load.mjs'
import { JSON_TYPE, id, json, seconds, uuid } from './bodies.mjs'
import { hmac, verified } from './verified.mjs'

const sha256 = (secret, encoding, ...parts) => hmac('sha256', secret, encoding, ...parts)

export async function stripe() {
  const { default: Stripe } = cjs('stripe/cjs/stripe.cjs.node.js')
  const { webhooks } = new Stripe('sk_test_unused')
  const secret = 'whsec_stripe_uses_this_as_it_stands'
  const accepts = ({ body, headers }) => void webhooks.constructEvent(body, headers['stripe-signature'], secret)
  const event = id('evt_')
  const payload = json({ id: event, object: 'event', type: 'charge.succeeded' }, 2)
  const timestamp = seconds()
  const sign = (secret, scheme = 'v1') => webhooks.generateTestHeaderString({ payload, secret, timestamp, scheme })
  const signature = sign(secret)
  const only = (header) => header.replace(/^t=\d+,/, '')
  for (const header of [
    signature,
    // A test event has a v0 beside it; after a roll there are two of v1.
    `${signature},${only(sign(secret, 'v0'))}`,
    `${sign('whsec_of_before')},${only(signature)}`,
  ]) {
    await verified({
      preset: 'stripe', provider: 'Stripe', role: 'signs', by: by('stripe', 'webhooks.generateTestHeaderString'), secret, body: payload,
      at_ms: timestamp * 1000, headers: [['Content-Type', 'application/json; charset=utf-8'], ['Stripe-Signature', header]],
      expect: { dedup_id: event, event_type: 'charge.succeeded' },
    }, { accepts, signature: 'Stripe-Signature', timestamp: ['Stripe-Signature', /t=\d+/] })
  }
}

/** `t=…,v1=…` and its relatives: time and signature in one header. */
export async function pairs() {
  const { WebhooksValidator } = cjs('@paddle/paddle-node-sdk/dist/cjs/notifications/helpers/webhooks-validator.js')
  const { Paddle } = cjs('@paddle/paddle-node-sdk/dist/cjs/index.cjs.node.js')
  const { Webhooks: Mux } = cjs('@mux/mux-node/resources/webhooks/webhooks.js')
  const { WorkOS } = cjs('@workos-inc/node/lib/index.cjs')
  const sanity = cjs('@sanity/webhook/dist/index.js')
  const { WebhooksClient: ElevenLabs } = cjs('@elevenlabs/elevenlabs-js/wrapper/webhooks.js')
  const retell = cjs('retell-sdk/lib/webhook_auth.js')
  const secret = 'pdl_ntfset_01 a secret of their own: ß'
  // Its validator takes its crypto from whoever made a client before.
  void new Paddle('unused')
  const workos = new WorkOS('sk_unused').webhooks
  const mux = new Mux({ webhookSecret: secret })
  const elevenLabs = new ElevenLabs({})
  const now = Date.now()
  const at = seconds()

  const all = [
    {
      preset: 'paddle', provider: 'Paddle', by: by('@paddle/paddle-node-sdk', 'WebhooksValidator.isValidSignature'),
      header: 'Paddle-Signature', time: /ts=\d+/, sign: (body) => `ts=${at};h1=${sha256(secret, 'hex', `${at}:`, body)}`,
      accepts: ({ body, headers }) => new WebhooksValidator().isValidSignature(body, secret, headers['paddle-signature']),
      event: { event_id: 'evt_01h', event_type: 'transaction.paid' }, expect: { dedup_id: 'evt_01h', event_type: 'transaction.paid' },
    },
    {
      preset: 'mux', provider: 'Mux', role: 'signs', by: by('@mux/mux-node', 'webhooks.computeSignature'),
      header: 'Mux-Signature', time: /t=\d+/, sign: async (body) => `t=${at},v1=${await mux.computeSignature(`${at}.${body}`, secret)}`,
      accepts: async ({ body, headers }) => void (await mux.verifySignature(body, headers)),
      event: { id: '3e9c', type: 'video.asset.ready' }, expect: { dedup_id: '3e9c', event_type: 'video.asset.ready' },
    },
    {
      // Its signer writes the JSON anew, so the body is as it writes it.
      preset: 'workos', provider: 'WorkOS', role: 'signs', by: by('@workos-inc/node', 'webhooks.computeSignature'), compact: true,
      header: 'WorkOS-Signature', time: /t=\d+/,
      sign: async (body) => `t=${now}, v1=${await workos.computeSignature(now, JSON.parse(body), secret)}`,
      accepts: async ({ body, headers }) =>
        void (await workos.verifyHeader({ payload: JSON.parse(body), sigHeader: headers['workos-signature'], secret })),
      event: { id: 'event_01', event: 'user.created' }, expect: { dedup_id: 'event_01', event_type: 'user.created' }, at_ms: now,
    },
    {
      preset: 'sanity', provider: 'Sanity', role: 'signs', by: by('@sanity/webhook', 'encodeSignatureHeader'),
      header: 'sanity-webhook-signature', time: /t=\d+/, sign: (body) => sanity.encodeSignatureHeader(body, now, secret),
      accepts: ({ body, headers }) => sanity.isValidSignature(body, headers['sanity-webhook-signature'], secret),
      event: { _id: 'a', _type: 'post' }, more: [['idempotency-key', 'b0a1'], ['sanity-operation', 'update']],
      expect: { dedup_id: 'b0a1' }, at_ms: now,
    },
    {
      preset: 'elevenlabs', provider: 'ElevenLabs', by: by('@elevenlabs/elevenlabs-js', 'webhooks.constructEvent'),
      header: 'ElevenLabs-Signature', time: /t=\d+/, sign: (body) => `t=${at},v0=${sha256(secret, 'hex', `${at}.`, body)}`,
      accepts: async ({ body, headers }) => void (await elevenLabs.constructEvent(body, headers['elevenlabs-signature'], secret)),
      event: { type: 'post_call_transcription', event_timestamp: at }, expect: { event_type: 'post_call_transcription' },
    },
    {
      preset: 'retell', provider: 'Retell AI', role: 'signs', by: by('retell-sdk', 'sign'),
      header: 'X-Retell-Signature', time: /v=\d+/, sign: (body) => retell.symmetric.sign(body, secret, now),
      accepts: ({ body, headers }) => retell.verify(body, secret, headers['x-retell-signature']),
      event: { event: 'call_ended', call: { call_id: 'Jabr9' } }, expect: { event_type: 'call_ended' }, at_ms: now,
    },
  ]
  for (const { header, time, sign, accepts, event, compact, more = [], at_ms = at * 1000, ...facts } of all) {
    for (const body of compact ? [json(event)] : [json(event), json(event, 2)]) {
      await verified({ ...facts, secret, body, at_ms, headers: [JSON_TYPE, ...more, [header, await sign(body)]] },
        { accepts, signature: header, timestamp: [header, time] })
    }
  }
}

/** Time and signature in a header each. */
export async function apart() {
  const { Webhooks: Orb } = cjs('orb-billing/resources/webhooks.js')
  const { Client: Webflow } = cjs('webflow-api/dist/wrapper/WebhooksClient.js')
  const { Cashfree } = cjs('cashfree-pg/dist/api.js')
  const { verifyWebhookRequest } = cjs('@lovable.dev/webhooks-js/dist/index.cjs')
  const { LinearWebhookClient } = await esm('@linear/sdk/dist/webhooks/index.mjs')
  const rivet = cjs('@zoom/rivet/meetings/meetings.cjs')
  const secret = 'a signing secret: ß'
  const orb = new Orb({ webhookSecret: secret })
  const webflow = Object.create(Webflow.prototype)
  const cashfree = Object.assign(Object.create(Cashfree.prototype), { XClientSecret: secret })
  const linear = new LinearWebhookClient(secret)
  const now = Date.now()
  const at = seconds()
  const iso = new Date(now).toISOString()
  const zoom = async (request) => (await zoomAnswer(rivet, secret, request)).statusCode === 200

  const all = [
    {
      preset: 'orb', provider: 'Orb', role: 'signs', by: by('orb-billing', 'webhooks.signPayload'),
      header: 'X-Orb-Signature', time: 'X-Orb-Timestamp', sent: iso.replace('Z', ''),
      sign: (body) => orb.signPayload(body, { timestamp: iso.replace('Z', ''), secret }),
      accepts: ({ body, headers }) => void orb.verifySignature(body, headers, secret),
      event: { id: 'o4mmewpfNNTnjfZc', type: 'invoice.issued' }, expect: { dedup_id: 'o4mmewpfNNTnjfZc', event_type: 'invoice.issued' }, at_ms: now,
    },
    {
      preset: 'webflow', provider: 'Webflow', by: by('webflow-api', 'webhooks.verifySignature'),
      header: 'x-webflow-signature', time: 'x-webflow-timestamp', sent: String(now),
      sign: (body) => sha256(secret, 'hex', `${now}:`, body),
      accepts: ({ body, headers }) => webflow.verifySignature({ headers, body, secret }),
      event: { triggerType: 'form_submission', payload: { id: '65b7' } }, expect: { event_type: 'form_submission' }, at_ms: now,
    },
    {
      preset: 'cashfree', provider: 'Cashfree', by: by('cashfree-pg', 'PGVerifyWebhookSignature'),
      header: 'x-webhook-signature', time: 'x-webhook-timestamp', sent: String(now),
      sign: (body) => sha256(secret, 'base64', String(now), body),
      accepts: ({ body, headers }) =>
        void cashfree.PGVerifyWebhookSignature(headers['x-webhook-signature'], body, headers['x-webhook-timestamp']),
      event: { type: 'PAYMENT_SUCCESS_WEBHOOK', event_time: iso }, expect: { event_type: 'PAYMENT_SUCCESS_WEBHOOK' }, at_ms: now,
    },
    {
      preset: 'lovable', provider: 'Lovable', by: by('@lovable.dev/webhooks-js', 'verifyWebhookRequest'),
      header: 'X-Lovable-Signature', time: 'X-Lovable-Timestamp', sent: String(at),
      sign: (body) => 'sha256=' + sha256(secret, 'hex', `${at}.`, body),
      accepts: async ({ url, method, headers, body }) =>
        void (await verifyWebhookRequest({ req: new Request(url, { method, headers, body }), secret })),
      event: { type: 'a' }, expect: { event_type: 'a' },
    },
    {
      // The signature covers the body only, which has the time in it; the header repeats it.
      preset: 'linear', provider: 'Linear', by: by('@linear/sdk', 'webhooks.LinearWebhookClient.verify'),
      header: 'Linear-Signature', time: null, sent: null,
      sign: (body) => sha256(secret, 'hex', body),
      accepts: ({ bytes, headers }) => linear.verify(bytes, headers['linear-signature'], headers['linear-timestamp'] ?? JSON.parse(bytes).webhookTimestamp),
      event: { action: 'create', type: 'Issue', webhookTimestamp: now, webhookId: uuid() },
      more: [['Linear-Delivery', '234d1a4e-b617-4388-90fe-adc3633d6b72'], ['Linear-Event', 'Issue'], ['Linear-Timestamp', String(now)]],
      expect: { dedup_id: '234d1a4e-b617-4388-90fe-adc3633d6b72', event_type: 'Issue' }, at_ms: now,
    },
    {
      // Its verifier writes the JSON anew before it looks at it.
      preset: 'zoom', provider: 'Zoom', by: by('@zoom/rivet', 'meetings, isEventVerified'), compact: true,
      header: 'x-zm-signature', time: 'x-zm-request-timestamp', sent: String(at),
      sign: (body) => 'v0=' + sha256(secret, 'hex', `v0:${at}:`, body), accepts: zoom,
      event: { event: 'meeting.started', event_ts: now, payload: { account_id: 'a' } }, expect: { event_type: 'meeting.started' },
    },
  ]
  for (const { header, time, sent, sign, accepts, event, compact, more = [], at_ms = at * 1000, ...facts } of all) {
    for (const body of compact ? [json(event)] : [json(event), json(event, 2)]) {
      const headers = [JSON_TYPE, ...more, ...(time ? [[time, sent]] : []), [header, await sign(body)]]
      await verified({ ...facts, secret, body, at_ms, headers }, { accepts, signature: header, timestamp: time ?? undefined })
    }
  }
}

/** What Zoom's receiver answers: 200 only to what it verified. */
export async function zoomAnswer({ AwsLambdaReceiver }, secret, { body, headers }) {
  const receiver = new AwsLambdaReceiver({ webhooksSecretToken: secret })
  receiver.init({ eventEmitter: { emit: async () => {} } })
  const { debug, error } = console
  Object.assign(console, { debug() {}, error() {} })
  try {
    return await receiver.start()({ body, headers, isBase64Encoded: false }, {})
  } finally {
    Object.assign(console, { debug, error })
  }
}

export async function box() {
  const { default: Webhooks } = cjs('box-node-sdk/lib/managers/webhooks.js')
  const validate = (Webhooks ?? cjs('box-node-sdk/lib/managers/webhooks.js')).validateMessage
  const [primary, secondary] = ['SamplePrimaryKey', 'SampleSecondaryKey']
  const at = Date.now()
  const time = new Date(at).toISOString().replace('Z', '+00:00')
  const body = json({ type: 'webhook_event', id: 'eb0c', trigger: 'FILE.UPLOADED', webhook: { id: '10000' } })
  const macs = {
    'box-signature-primary': sha256(primary, 'base64', body, time),
    'box-signature-secondary': sha256(secondary, 'base64', body, time),
  }
  for (const [secret, names] of [
    [primary, Object.keys(macs)], [secondary, Object.keys(macs)], [primary, ['box-signature-primary']], [secondary, ['box-signature-secondary']],
  ]) {
    const delivery = uuid()
    await verified({
      preset: 'box', provider: 'Box', by: by('box-node-sdk', 'Webhooks.validateMessage'), secret, body, at_ms: at,
      headers: [
        JSON_TYPE, ['box-delivery-id', delivery], ['box-delivery-timestamp', time], ['box-signature-version', '1'],
        ['box-signature-algorithm', 'HmacSHA256'], ...names.map((name) => [name, macs[name]]),
      ],
      expect: { dedup_id: delivery, event_type: 'FILE.UPLOADED' },
    }, {
      accepts: ({ body, headers }) => validate(body, headers, ...(secret === primary ? [primary, null] : [null, secondary])),
      signature: names, timestamp: 'box-delivery-timestamp',
    })
  }
}

// Providers that sign the body alone, each by its own SDK: the SDK made the
// signature where it can, else it accepted what Node's crypto made.

import { sign as signGithub, verify as verifyGithub } from '@octokit/webhooks-methods'
import { by, cjs, esm } from './load.mjs'
import { HARD, JSON_TYPE, id, json, plain, uuid } from './bodies.mjs'
import { hmac, verified } from './verified.mjs'

export async function github() {
  const secret = "It's a Secret to Everybody"
  const accepts = ({ body, headers }) => verifyGithub(secret, body, headers['x-hub-signature-256'])
  for (const [type, body, mime] of [
    ['push', json({ ref: 'refs/heads/main' }), 'application/json'],
    ['issues', json({ action: 'opened' }, 2), 'application/json'],
    // GitHub's other content type has the JSON in a form.
    ['push', `payload=${encodeURIComponent(json({ ref: 'é' }))}`, 'application/x-www-form-urlencoded'],
  ]) {
    const delivery = uuid()
    await verified({
      preset: 'github', provider: 'GitHub', role: 'signs', by: by('@octokit/webhooks-methods', 'sign'), secret, body,
      headers: [
        ['Content-Type', mime], ['X-GitHub-Delivery', delivery], ['X-GitHub-Event', type],
        ['X-Hub-Signature-256', await signGithub(secret, body)],
      ],
      expect: { dedup_id: delivery, event_type: type },
    }, { accepts, signature: 'X-Hub-Signature-256' })
  }
}

export async function shopify() {
  const http = cjs('@shopify/shopify-api/dist/cjs/runtime/http/index.js')
  http.setAbstractConvertRequestFunc(({ headers, url, method }) => ({ headers, url, method }))
  const { validateFactory } = cjs('@shopify/shopify-api/dist/cjs/lib/webhooks/validate.js')
  const secret = 'hush: the API secret key'
  const validate = validateFactory({ apiSecretKey: secret, logger: { level: 0, log() {} } })
  const accepts = async ({ body, headers, url, method }) => (await validate({ rawBody: body, headers, url, method })).valid === true
  for (const type of ['orders/create', 'products/update']) {
    const body = json({ id: 820982911946154508, total_price: '1.00' }, type === 'orders/create' ? undefined : 2)
    const event = uuid()
    await verified({
      preset: 'shopify', provider: 'Shopify', by: by('@shopify/shopify-api', 'webhooks.validate'), secret, body,
      headers: [
        JSON_TYPE, ['X-Shopify-Topic', type], ['X-Shopify-Hmac-Sha256', hmac('sha256', secret, 'base64', body)],
        ['X-Shopify-Shop-Domain', 'a.myshopify.com'], ['X-Shopify-API-Version', '2025-07'],
        ['X-Shopify-Webhook-Id', uuid()], ['X-Shopify-Event-Id', event], ['X-Shopify-Triggered-At', new Date().toISOString()],
      ],
      expect: { dedup_id: event, event_type: type },
    }, { accepts, signature: 'X-Shopify-Hmac-Sha256' })
  }
}

/** HMAC-MD5, and nobody else. */
export async function patreon() {
  const { parseWebhookRequest } = cjs('patreon-api.ts/dist/index.js')
  const secret = 'a secret of the webhook'
  const body = json({ data: { type: 'member', id: '1' } })
  await verified({
    preset: 'patreon', provider: 'Patreon', by: by('patreon-api.ts', 'parseWebhookRequest'), secret, body,
    headers: [JSON_TYPE, ['X-Patreon-Event', 'members:create'], ['X-Patreon-Signature', hmac('md5', secret, 'hex', body)]],
    expect: { event_type: 'members:create' },
  }, {
    accepts: async ({ body, headers }) =>
      (await parseWebhookRequest({ headers: new Headers(headers), text: async () => body }, secret)).verified,
    signature: 'X-Patreon-Signature',
  })
}

/** Hex of H256 in one header: the most common scheme of all. */
export async function hex() {
  const { Webhooks: Treasury } = cjs('modern-treasury/resources/webhooks.js')
  const { verifyWebhookSignature, signWebhookPayload } = cjs('@notionhq/client/build/src/webhooks.js')
  const { validateWebhookSignature: razorpay } = cjs('razorpay/dist/utils/razorpay-utils.js')
  const coinbase = cjs('coinbase-commerce-node/lib/Webhook.js')
  const gocardless = cjs('gocardless-nodejs/cjs/webhooks.js')
  const { WebhookEventVerifier: Onfido } = cjs('@onfido/api/dist/webhook-event-verifier.js')
  const smartcar = cjs('smartcar/index.js')
  const { verifySignature: stream } = cjs('stream-chat/dist/cjs/index.node.js')
  const { Nango } = cjs('@nangohq/node/dist/index.cjs')
  const PusherToken = cjs('pusher/lib/token.js')
  const PusherHook = cjs('pusher/lib/webhook.js')
  const easypost = cjs('@easypost/api/dist/easypost.js')
  const secret = 'a secret, as the dashboard shows it: ß'
  const treasury = new Treasury({ webhookKey: secret })
  const pusher = new PusherToken('278d425bdf160c739803', secret)
  const nango = new Nango({ secretKey: secret })

  const all = [
    {
      preset: 'modern-treasury', provider: 'Modern Treasury', role: 'signs', by: by('modern-treasury', 'webhooks.getSignature'),
      header: 'X-Signature', sign: (body) => treasury.getSignature(body),
      accepts: ({ body, headers }) => treasury.validateSignature(body, headers),
      event: { event: 'completed', data: { id: uuid() } }, more: [['X-Topic', 'payment_order']], expect: { event_type: 'payment_order' },
    },
    {
      preset: 'notion', provider: 'Notion', role: 'signs', by: by('@notionhq/client', 'signWebhookPayload'),
      header: 'X-Notion-Signature', sign: (body) => signWebhookPayload({ body, verificationToken: secret }),
      accepts: ({ body, headers }) =>
        verifyWebhookSignature({ body, signature: headers['x-notion-signature'], verificationToken: secret }),
      event: { id: '367cba44-b6f3-4c92-81e7-6a2e9659efd4', type: 'page.created' },
      expect: { dedup_id: '367cba44-b6f3-4c92-81e7-6a2e9659efd4', event_type: 'page.created' },
    },
    {
      preset: 'razorpay', provider: 'Razorpay', by: by('razorpay', 'validateWebhookSignature'), header: 'X-Razorpay-Signature',
      accepts: ({ body, headers }) => razorpay(body, headers['x-razorpay-signature'], secret),
      event: { entity: 'event', event: 'payment.captured' }, more: [['x-razorpay-event-id', 'evt_MbYo4QTZ']],
      expect: { dedup_id: 'evt_MbYo4QTZ', event_type: 'payment.captured' },
    },
    {
      preset: 'coinbase-commerce', provider: 'Coinbase Commerce', role: 'signs', by: by('coinbase-commerce-node', 'Webhook.computeSignature'),
      header: 'X-CC-Webhook-Signature', sign: (body) => coinbase.computeSignature(body, secret),
      // Its comparison is by a package that is not installed.
      accepts: ({ body, headers }) => coinbase.computeSignature(body, secret) === headers['x-cc-webhook-signature'],
      event: { id: 1, event: { id: '24934862-d980-46cb-9402-43c81b0cdba6', type: 'charge:confirmed' } },
      expect: { dedup_id: '24934862-d980-46cb-9402-43c81b0cdba6', event_type: 'charge:confirmed' },
    },
    {
      preset: 'gocardless', provider: 'GoCardless', by: by('gocardless-nodejs', 'webhooks.parse'), header: 'Webhook-Signature',
      accepts: ({ body, headers }) => void gocardless.parse(body, secret, headers['webhook-signature']),
      event: { events: [{ id: 'EV123', resource_type: 'payments', action: 'confirmed' }], meta: { webhook_id: 'WB123' } },
      expect: { dedup_id: 'WB123' },
    },
    {
      preset: 'onfido', provider: 'Onfido', by: by('@onfido/api', 'WebhookEventVerifier.readPayload'), header: 'X-SHA2-Signature',
      accepts: ({ bytes, headers }) => void new Onfido(secret).readPayload(bytes, headers['x-sha2-signature']),
      event: { payload: { resource_type: 'check', action: 'check.completed', object: { id: uuid() } } },
      expect: { event_type: 'check.completed' },
    },
    {
      preset: 'smartcar', provider: 'Smartcar', role: 'signs', by: by('smartcar', 'hashChallenge'), header: 'SC-Signature',
      sign: (body) => smartcar.hashChallenge(secret, body),
      accepts: ({ body, headers }) => smartcar.verifyPayload(secret, headers['sc-signature'], JSON.parse(body)),
      event: { eventId: 'b4f5', eventType: 'VEHICLE_STATE' }, expect: { dedup_id: 'b4f5', event_type: 'VEHICLE_STATE' },
    },
    {
      preset: 'stream', provider: 'Stream', by: by('stream-chat', 'verifySignature'), header: 'X-Signature',
      accepts: ({ bytes, headers }) => stream(bytes, headers['x-signature'], secret),
      event: { type: 'message.new', cid: 'messaging:fun' }, more: [['X-Webhook-Id', 'd1b0'], ['X-Webhook-Attempt', '1'], ['X-Api-Key', 'key']],
      expect: { dedup_id: 'd1b0', event_type: 'message.new' },
    },
    {
      preset: 'nango', provider: 'Nango', by: by('@nangohq/node', 'verifyIncomingWebhookRequest'), header: 'X-Nango-Hmac-Sha256',
      accepts: ({ body, headers }) => nango.verifyIncomingWebhookRequest(body, headers),
      event: { from: 'nango', type: 'sync' }, expect: { event_type: 'sync' },
    },
    {
      preset: 'pusher', provider: 'Pusher Channels', role: 'signs', by: by('pusher', 'Token.sign'), header: 'X-Pusher-Signature',
      sign: (body) => pusher.sign(body),
      accepts: ({ body, headers }) => new PusherHook(pusher, { headers, rawBody: body }).isValid(),
      event: { time_ms: 1327078148132, events: [{ name: 'channel_occupied', channel: 'test' }] },
      more: [['X-Pusher-Key', '278d425bdf160c739803']], expect: {},
    },
    {
      preset: 'easypost', provider: 'EasyPost', by: by('@easypost/api', 'Utils.validateWebhook'), header: 'X-Hmac-Signature',
      sign: (body) => 'hmac-sha256-hex=' + hmac('sha256', secret, 'hex', body),
      accepts: ({ body, headers }) => void new easypost('unused').Utils.validateWebhook(body, headers, secret),
      event: { id: 'evt_d0000000', object: 'Event', description: 'tracker.updated' },
      expect: { dedup_id: 'evt_d0000000', event_type: 'tracker.updated' },
    },
  ]
  for (const { header, sign = (body) => hmac('sha256', secret, 'hex', body), accepts, event, more = [], ...facts } of all) {
    // Smartcar's verifier writes the JSON anew, which the odd layout would not survive.
    const bodies = facts.preset === 'smartcar' ? [plain(event)] : [json(event), json(event, 2)]
    for (const body of bodies) {
      await verified({ ...facts, secret, body, headers: [JSON_TYPE, ...more, [header, await sign(body)]] }, { accepts, signature: header })
    }
  }
}

export async function base64() {
  const { default: line } = cjs('@line/bot-sdk/dist/cjs/validate-signature.js')
  const { verifyWebhookSignature: hookdeck } = cjs('@hookdeck/sdk/webhooks/helpers.js')
  const secret = '8c570fa6dd201bb328f1c1eac23a96d8'

  const events = json({ destination: 'U0', events: [{ type: 'message', webhookEventId: '01FZ74A0TDDPYRVKNK77XKC3ZR' }] })
  for (const body of [events, json({ destination: 'U0', events: [] })]) {
    await verified({
      preset: 'line', provider: 'LINE', by: by('@line/bot-sdk', 'validateSignature'), secret, body,
      headers: [JSON_TYPE, ['x-line-signature', hmac('sha256', secret, 'base64', body)]],
    }, { accepts: ({ bytes, headers }) => line(bytes, secret, headers['x-line-signature']), signature: 'x-line-signature' })
  }

  const names = ['x-hookdeck-signature', 'x-hookdeck-signature-2']
  const body = json({ forwarded: true })
  const mac = hmac('sha256', secret, 'base64', body)
  const old = hmac('sha256', 'a secret of before', 'base64', body)
  for (const [first, second] of [[mac], [old, mac], [mac, old]]) {
    const event = id('evt_')
    await verified({
      preset: 'hookdeck', provider: 'Hookdeck', by: by('@hookdeck/sdk', 'verifyWebhookSignature'), secret, body,
      headers: [JSON_TYPE, ['x-hookdeck-eventid', event], [names[0], first], ...(second ? [[names[1], second]] : [])],
      expect: { dedup_id: event },
    }, {
      accepts: async ({ body, headers }) => (await hookdeck({ headers, rawBody: body, signingSecret: secret })).isValidSignature,
      signature: names,
    })
  }
}

export async function x() {
  const { validateSignature } = cjs('twitter-autohook/index.js')
  const secret = 'a consumer secret'
  const body = json({ for_user_id: '2244994945', tweet_create_events: [{ id: 1 }] })
  await verified({
    preset: 'x', provider: 'X', by: by('twitter-autohook', 'validateSignature'), secret, body,
    headers: [JSON_TYPE, ['x-twitter-webhooks-signature', 'sha256=' + hmac('sha256', secret, 'base64', body)]],
  }, {
    accepts: ({ body, headers }) => validateSignature(headers, { consumer_secret: secret }, body),
    signature: 'x-twitter-webhooks-signature',
  })
}

/** WhatsApp's client is not Meta's own; Meta's examples say the same. */
export async function meta() {
  const { WhatsAppAPI } = await esm('whatsapp-api-js/lib/index.js')
  const secret = 'an app secret'
  const api = new WhatsAppAPI({ token: 'unused', appSecret: secret, webhookVerifyToken: 'unused', v: 'v23.0' })
  const event = { object: 'whatsapp_business_account', entry: [{ id: '0', changes: [{ field: 'messages', value: {} }] }] }
  // Meta escapes what is not ASCII before it signs, and sends it escaped.
  const escaped = JSON.stringify({ ...event, note: HARD }).replace(/[\u0080-\uffff]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
  for (const body of [plain(event), escaped]) {
    await verified({
      preset: 'meta', provider: 'Meta', by: by('whatsapp-api-js', 'verifyRequestSignature'), secret, body,
      headers: [JSON_TYPE, ['X-Hub-Signature-256', 'sha256=' + hmac('sha256', secret, 'hex', body)]],
      expect: { event_type: 'whatsapp_business_account' },
    }, {
      accepts: ({ body, headers }) => api.verifyRequestSignature(body, headers['x-hub-signature-256']),
      signature: 'X-Hub-Signature-256',
    })
  }
}

/** WebSub's signature, which names its hash, and Intercom's, which is the same with SHA-1. */
export async function hub() {
  const XHubSignature = cjs('x-hub-signature/dist/XHubSignature.cjs')
  const secret = 'a client secret'
  for (const [preset, provider, hash, page, event, expect] of [
    ['intercom', 'Intercom', 'sha1', 'https://developers.intercom.com/docs/references/webhooks/webhook-models (X-Hub-Signature)',
      { type: 'notification_event', id: 'notif_ccd8a4d0', topic: 'conversation.user.created' },
      { dedup_id: 'notif_ccd8a4d0', event_type: 'conversation.user.created' }],
    ['websub', 'WebSub', 'sha1', 'https://www.w3.org/TR/websub/#signing-content', {}, {}],
    ['websub', 'WebSub', 'sha256', 'https://www.w3.org/TR/websub/#signing-content', {}, {}],
    ['websub', 'WebSub', 'sha384', 'https://www.w3.org/TR/websub/#signing-content', {}, {}],
    ['websub', 'WebSub', 'sha512', 'https://www.w3.org/TR/websub/#signing-content', {}, {}],
  ]) {
    const hub = new XHubSignature(hash, secret)
    const body = json(event)
    await verified({
      preset, provider, role: 'signs', by: `${by('x-hub-signature', `sign with ${hash}`)}; ${page}`, secret, body,
      headers: [JSON_TYPE, ['X-Hub-Signature', hub.sign(body)]], expect,
    }, { accepts: ({ body, headers }) => hub.verify(headers['x-hub-signature'], body), signature: 'X-Hub-Signature' })
  }
}

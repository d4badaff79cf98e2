// Providers that have no SDK with a verifier, by two collections of verifiers
// that are written by neither side: nuxt-webhook-validators and @hookflo/tern.

import { by, cjs, esm } from './load.mjs'
import { JSON_TYPE, id, json, uuid } from './bodies.mjs'
import { hmac, verified } from './verified.mjs'
import { secrets } from './nuxt.mjs'

const secret = 'a secret, shared: ß'
const mac = (hash, encoding, prefix = '') => (body) => prefix + hmac(hash, secret, encoding, body)
const request = ({ url, method, headers, body }) => new Request(url, { method, headers, body })

async function validator(name, named) {
  secrets[name] = named
  const module = await esm(`nuxt-webhook-validators/dist/runtime/server/lib/validators/${name === 'calcom' ? 'calcom.post' : name}.js`)
  const [check] = Object.values(module)
  return (delivery) => check({ req: request(delivery) })
}
const whose = (name) => by('nuxt-webhook-validators', name)

export async function nuxt() {
  const delivery = uuid()
  const all = [
    {
      preset: 'bitbucket', provider: 'Bitbucket Cloud', by: whose('bitbucket'), header: 'X-Hub-Signature', sign: mac('sha256', 'hex', 'sha256='),
      accepts: await validator('bitbucket', { secretKey: secret }), event: { repository: { name: 'a' } },
      more: [['X-Event-Key', 'repo:push'], ['X-Hook-UUID', uuid()], ['X-Request-UUID', delivery]],
      expect: { dedup_id: delivery, event_type: 'repo:push' },
    },
    {
      preset: 'dropbox', provider: 'Dropbox', by: whose('dropbox'), header: 'X-Dropbox-Signature', sign: mac('sha256', 'hex'),
      accepts: await validator('dropbox', { appSecret: secret }), event: { list_folder: { accounts: ['dbid:AAH4f99T0taONIb'] } },
    },
    {
      preset: 'fourthwall', provider: 'Fourthwall', by: whose('fourthwall'), header: 'X-Fourthwall-Hmac-SHA256', sign: mac('sha256', 'base64'),
      accepts: await validator('fourthwall', { secretKey: secret }), event: { id: 'weve_1', type: 'ORDER_PLACED', apiVersion: 'V1' },
      expect: { dedup_id: 'weve_1', event_type: 'ORDER_PLACED' },
    },
    {
      preset: 'heroku', provider: 'Heroku', by: whose('heroku'), header: 'Heroku-Webhook-Hmac-SHA256', sign: mac('sha256', 'base64'),
      accepts: await validator('heroku', { secretKey: secret }),
      event: { action: 'update', resource: 'formation', webhook_metadata: { event: { id: 'e3b0', include: 'api:formation' } } },
      expect: { dedup_id: 'e3b0', event_type: 'api:formation' },
    },
    {
      preset: 'vercel', provider: 'Vercel', by: whose('vercel'), header: 'x-vercel-signature', sign: mac('sha1', 'hex'),
      accepts: await validator('vercel', { secretKey: secret }), event: { id: 'XFVc', type: 'deployment.created', createdAt: Date.now() },
      expect: { dedup_id: 'XFVc', event_type: 'deployment.created' },
    },
    {
      preset: 'meta', provider: 'Meta', by: whose('meta'), header: 'X-Hub-Signature-256', sign: mac('sha256', 'hex', 'sha256='),
      accepts: await validator('meta', { appSecret: secret }), event: { object: 'page', entry: [{ id: '1' }] }, expect: { event_type: 'page' },
    },
    {
      preset: 'calcom', provider: 'Cal.com', by: whose('calcom'), header: 'X-Cal-Signature-256', sign: mac('sha256', 'hex'),
      accepts: await validator('calcom', { secretKey: secret }), event: { triggerEvent: 'BOOKING_CANCELLED' }, expect: { event_type: 'BOOKING_CANCELLED' },
    },
  ]
  for (const { header, sign, accepts, event, more = [], ...facts } of all) {
    const body = json(event)
    await verified({ ...facts, secret, body, headers: [JSON_TYPE, ...more, [header, sign(body)]] }, { accepts, signature: header })
  }
}

/** DocuSign sends one header for each of up to a hundred keys. */
export async function docusign() {
  const accepts = await validator('docusign', { secretKey: secret })
  const body = json({ event: 'envelope-completed', uri: '/restapi/v2.1/accounts/a/envelopes/b' })
  const made = mac('sha256', 'base64')(body)
  const other = hmac('sha256', 'the other key', 'base64', body)
  for (const macs of [[made], [other, made], [made, other]]) {
    const headers = macs.map((value, i) => [`X-DocuSign-Signature-${i + 1}`, value])
    await verified({
      preset: 'docusign', provider: 'DocuSign', by: whose('docusign'), secret, body, headers: [JSON_TYPE, ...headers],
      expect: { event_type: 'envelope-completed' },
    }, { accepts, signature: headers.map(([name]) => name) })
  }
}

/** Twitch signs the message's id and time with the body, and asks for a challenge first. */
export async function twitch() {
  const accepts = await validator('twitch', { secretKey: secret })
  const at = new Date()
  // To the nanosecond, as Twitch writes it.
  const time = at.toISOString().replace('Z', '634234Z')
  const subscription = { id: 'f1c2', type: 'channel.follow', version: '2' }
  for (const [kind, event] of [
    ['notification', { subscription, event: { user_id: '1337' } }],
    ['webhook_callback_verification', { challenge: 'pogchamp-kappa-360noscope-vohiyo', subscription }],
  ]) {
    const msg = id('e76c6bd4-55c9-4987-8304-')
    const body = json(event)
    await verified({
      preset: 'twitch', provider: 'Twitch', by: whose('twitch'), secret, body, at_ms: at.getTime(),
      headers: [
        JSON_TYPE, ['Twitch-Eventsub-Message-Id', msg], ['Twitch-Eventsub-Message-Timestamp', time],
        ['Twitch-Eventsub-Message-Type', kind], ['Twitch-Eventsub-Subscription-Type', 'channel.follow'],
        ['Twitch-Eventsub-Message-Signature', 'sha256=' + hmac('sha256', secret, 'hex', msg, time, body)],
      ],
      expect: { dedup_id: msg, event_type: 'channel.follow' },
      ...(event.challenge && { handshake: { status: 200, body: event.challenge, headers: { 'Content-Type': 'text/plain' } } }),
    }, { accepts, signature: 'Twitch-Eventsub-Message-Signature', timestamp: 'Twitch-Eventsub-Message-Timestamp' })
  }
}

export async function tern() {
  const { WebhookVerificationService } = cjs('@hookflo/tern/dist/index.js')
  const platform = (name) => async (delivery) =>
    (await WebhookVerificationService.verifyWithPlatformConfig(request(delivery), name, secret)).isValid
  const whose = (name) => by('@hookflo/tern', `platform ${name}`)
  const request_id = uuid()
  const all = [
    {
      preset: 'lemon-squeezy', provider: 'Lemon Squeezy', by: whose('lemonsqueezy'), header: 'X-Signature', sign: mac('sha256', 'hex'),
      accepts: platform('lemonsqueezy'), event: { meta: { event_name: 'order_created' }, data: { type: 'orders', id: '1' } },
      more: [['X-Event-Name', 'order_created']], expect: { event_type: 'order_created' },
    },
    {
      preset: 'woocommerce', provider: 'WooCommerce', by: whose('woocommerce'), header: 'X-WC-Webhook-Signature', sign: mac('sha256', 'base64'),
      accepts: platform('woocommerce'), event: { id: 727, status: 'processing' },
      more: [['X-WC-Webhook-Topic', 'order.created'], ['X-WC-Webhook-Delivery-ID', 'a0b2']], expect: { dedup_id: 'a0b2', event_type: 'order.created' },
    },
    {
      preset: 'sentry', provider: 'Sentry', by: whose('sentry'), header: 'Sentry-Hook-Signature', sign: mac('sha256', 'hex'),
      accepts: platform('sentry'), event: { action: 'created', data: { issue: { id: '1' } } },
      more: [['Request-ID', request_id], ['Sentry-Hook-Resource', 'issue'], ['Sentry-Hook-Timestamp', String(Math.floor(Date.now() / 1000))]],
      expect: { dedup_id: request_id, event_type: 'issue' },
    },
    {
      preset: 'doppler', provider: 'Doppler', by: whose('doppler'), header: 'X-Doppler-Signature', sign: mac('sha256', 'hex', 'sha256='),
      accepts: platform('doppler'), event: { type: 'config.secrets.update' }, expect: { event_type: 'config.secrets.update' },
    },
    {
      // With no timestamp header set up in the contact point, which is the default.
      preset: 'grafana', provider: 'Grafana', by: whose('grafana'), header: 'X-Grafana-Alerting-Signature', sign: mac('sha256', 'hex'),
      accepts: platform('grafana'), event: { receiver: 'a', status: 'firing', groupKey: '{}:{}' }, expect: { event_type: 'firing' },
    },
    {
      preset: 'shopify', provider: 'Shopify', by: whose('shopify'), header: 'X-Shopify-Hmac-Sha256', sign: mac('sha256', 'base64'),
      accepts: platform('shopify'), event: { id: 1 }, more: [['X-Shopify-Topic', 'orders/paid'], ['X-Shopify-Webhook-Id', 'b54557e4']],
      expect: { dedup_id: 'b54557e4', event_type: 'orders/paid' },
    },
  ]
  for (const { header, sign, accepts, event, more = [], ...facts } of all) {
    for (const body of [json(event), json(event, 2)]) {
      await verified({ ...facts, secret, body, headers: [JSON_TYPE, ...more, [header, sign(body)]] }, { accepts, signature: header })
    }
  }
}

// Providers that have no SDK with a verifier, by n8n's nodes for them: n8n is
// used with all of them, and its nodes are written by neither side.

import { by, cjs } from './load.mjs'
import { JSON_TYPE, json, plain, seconds } from './bodies.mjs'
import { PUBLIC_URL, hmac, verified } from './verified.mjs'

const NODES = 'n8n-nodes-base/dist/nodes'

/** What a node asks of n8n: the request, and the secret under each name that a node gives it. */
function context(secret, { headers, bytes, url }) {
  const named = new Proxy({}, { get: (_, name) => (name === 'then' ? undefined : secret) })
  return {
    getRequestObject: () => ({ header: (name) => headers[name.toLowerCase()], headers, rawBody: bytes, body: JSON.parse(bytes) }),
    getHeaderData: () => headers,
    getBodyData: () => JSON.parse(bytes),
    getWorkflowStaticData: () => named,
    getCredentials: async () => named,
    getNodeParameter: (_, otherwise) => otherwise,
    getNodeWebhookUrl: () => url,
    getResponseObject: () => ({ status: () => ({ send: () => ({ end() {} }) }) }),
    getWebhookName: () => 'default',
    helpers: { returnJsonArray: (data) => data },
  }
}

/** A node's own check, `false` for a refusal. */
const helper = (file, secret) => {
  const { verifySignature } = cjs(`${NODES}/${file}.js`)
  return async (request) => (await verifySignature.call(context(secret, request))) === true
}
/** The older nodes check while they receive, and then hand nothing on. */
const trigger = (file, name, secret) => {
  const { [name]: Trigger } = cjs(`${NODES}/${file}.js`)
  return async (request) => Array.isArray((await Trigger.prototype.webhook.call(context(secret, request))).workflowData)
}

const secret = 'a secret of the webhook: ß'
const node = (name) => by('n8n-nodes-base', `${name} trigger`)
const mac = (hash, encoding, prefix = '') => (body) => prefix + hmac(hash, secret, encoding, body)

export async function overBody() {
  const all = [
    {
      preset: 'asana', provider: 'Asana', by: node('Asana'), header: 'X-Hook-Signature', sign: mac('sha256', 'hex'),
      accepts: helper('Asana/AsanaTriggerHelpers', secret),
      event: { events: [{ action: 'changed', resource: { gid: '1', resource_type: 'task' } }] },
    },
    {
      preset: 'calcom', provider: 'Cal.com', by: node('Cal'), header: 'X-Cal-Signature-256', sign: mac('sha256', 'hex'),
      accepts: helper('Cal/CalTriggerHelpers', secret), event: { triggerEvent: 'BOOKING_CREATED', payload: {} },
      expect: { event_type: 'BOOKING_CREATED' },
    },
    {
      preset: 'typeform', provider: 'Typeform', by: node('Typeform'), header: 'Typeform-Signature', sign: mac('sha256', 'base64', 'sha256='),
      accepts: helper('Typeform/TypeformTriggerHelpers', secret), event: { event_id: 'LtWXD3crgy', event_type: 'form_response' },
      expect: { dedup_id: 'LtWXD3crgy', event_type: 'form_response' },
    },
    {
      preset: 'mautic', provider: 'Mautic', by: node('Mautic'), header: 'Webhook-Signature', sign: mac('sha256', 'base64'),
      accepts: helper('Mautic/MauticTriggerHelpers', secret), event: { 'mautic.lead_post_save_new': [{ lead: { id: 53 } }] },
    },
    {
      preset: 'formstack', provider: 'Formstack', by: node('Formstack'), header: 'X-FS-Signature', sign: mac('sha256', 'hex', 'sha256='),
      accepts: helper('Formstack/FormstackTriggerHelpers', secret), event: { FormID: '1', UniqueID: '2' },
    },
    {
      preset: 'mailerlite', provider: 'MailerLite', by: node('MailerLite'), header: 'Signature', sign: mac('sha256', 'hex'),
      accepts: helper('MailerLite/v2/MailerLiteTriggerHelpers', secret), event: { type: 'subscriber.created', email: 'a@example.com' },
      expect: { event_type: 'subscriber.created' },
    },
    {
      preset: 'taiga', provider: 'Taiga', by: node('Taiga'), header: 'X-TAIGA-WEBHOOK-SIGNATURE', sign: mac('sha1', 'hex'),
      accepts: helper('Taiga/TaigaTriggerHelpers', secret), event: { action: 'create', type: 'userstory' }, expect: { event_type: 'userstory' },
    },
    {
      preset: 'acuity', provider: 'Acuity Scheduling', by: node('AcuityScheduling'), header: 'X-Acuity-Signature', sign: mac('sha256', 'base64'),
      accepts: helper('AcuityScheduling/AcuitySchedulingTriggerHelpers', secret), event: { action: 'scheduled', id: '1' },
    },
    {
      preset: 'help-scout', provider: 'Help Scout', by: node('HelpScout'), header: 'X-HelpScout-Signature', sign: mac('sha1', 'base64'),
      accepts: trigger('HelpScout/HelpScoutTrigger.node', 'HelpScoutTrigger', secret), event: { id: 1 },
      more: [['X-HelpScout-Event', 'convo.created']], expect: { event_type: 'convo.created' },
    },
    {
      preset: 'webex', provider: 'Webex', by: node('CiscoWebex'), header: 'X-Spark-Signature', sign: mac('sha1', 'hex'),
      accepts: trigger('Cisco/Webex/CiscoWebexTrigger.node', 'CiscoWebexTrigger', secret),
      event: { id: 'Y2lz', resource: 'messages', event: 'created', data: { id: 'a' } }, expect: { event_type: 'messages' },
    },
    {
      preset: 'woocommerce', provider: 'WooCommerce', by: node('WooCommerce'), header: 'X-WC-Webhook-Signature', sign: mac('sha256', 'base64'),
      accepts: trigger('WooCommerce/WooCommerceTrigger.node', 'WooCommerceTrigger', secret), event: { id: 727, status: 'processing' },
      more: [['X-WC-Webhook-Topic', 'order.updated'], ['X-WC-Webhook-Delivery-ID', 'a0b1'], ['X-WC-Webhook-ID', '5']],
      expect: { dedup_id: 'a0b1', event_type: 'order.updated' },
    },
    {
      // Its node writes the JSON anew before it looks at it.
      preset: 'clickup', provider: 'ClickUp', by: node('ClickUp'), header: 'X-Signature', sign: mac('sha256', 'hex'), compact: true,
      accepts: trigger('ClickUp/ClickUpTrigger.node', 'ClickUpTrigger', secret),
      event: { event: 'taskCreated', task_id: '1vj37mc', webhook_id: '7fa3' }, expect: { event_type: 'taskCreated' },
    },
  ]
  for (const { header, sign, accepts, event, compact, more = [], ...facts } of all) {
    for (const body of compact ? [plain(event)] : [json(event), json(event, 2)]) {
      await verified({ ...facts, secret, body, headers: [JSON_TYPE, ...more, [header, sign(body)]] }, { accepts, signature: header })
    }
  }
}

export async function withTime() {
  const at = seconds()
  const iso = new Date().toISOString().replace(/\.\d+/, '')
  const all = [
    {
      preset: 'calendly', provider: 'Calendly', by: node('Calendly'), header: 'Calendly-Webhook-Signature', time: /t=\d+/,
      sign: (body) => `t=${at},v1=${hmac('sha256', secret, 'hex', `${at}.`, body)}`, accepts: helper('Calendly/CalendlyTriggerHelpers', secret),
      event: { event: 'invitee.created', payload: {} }, expect: { event_type: 'invitee.created' },
    },
    {
      preset: 'customer-io', provider: 'Customer.io', by: node('CustomerIo'), header: 'X-CIO-Signature', time: ['X-CIO-Timestamp', String(at)],
      sign: (body) => hmac('sha256', secret, 'hex', `v0:${at}:`, body), accepts: helper('CustomerIo/CustomerIoTriggerHelpers', secret),
      event: { event_id: '01E4C4CT6YDC7Y5M7FE1GWWPQJ', object_type: 'email', metric: 'sent' },
      expect: { dedup_id: '01E4C4CT6YDC7Y5M7FE1GWWPQJ', event_type: 'sent' },
    },
    {
      preset: 'zendesk', provider: 'Zendesk', by: node('Zendesk'), header: 'X-Zendesk-Webhook-Signature',
      time: ['X-Zendesk-Webhook-Signature-Timestamp', iso],
      sign: (body) => hmac('sha256', secret, 'base64', iso, body), accepts: helper('Zendesk/ZendeskTriggerHelpers', secret),
      event: { id: 'cbe4', type: 'zen:event-type:user.created' }, more: [['X-Zendesk-Webhook-Invocation-Id', '01G']],
      expect: { dedup_id: 'cbe4', event_type: 'zen:event-type:user.created' },
    },
  ]
  for (const { header, time, sign, accepts, event, more = [], ...facts } of all) {
    const timestamp = Array.isArray(time) ? time[0] : [header, time]
    for (const body of [json(event), json(event, 2)]) {
      const headers = [JSON_TYPE, ...more, ...(Array.isArray(time) ? [time] : []), [header, sign(body)]]
      await verified({ ...facts, secret, body, headers, at_ms: at * 1000 }, { accepts, signature: header, timestamp })
    }
  }
}

/** Onfleet's secret is hex and its hash SHA-512. */
export async function onfleet() {
  const secret = 'c0ffee00'.repeat(8)
  const body = json({ taskId: 'SJxz', triggerId: 1, triggerName: 'taskStarted', time: Date.now() })
  await verified({
    preset: 'onfleet', provider: 'Onfleet', by: node('Onfleet'), secret, body,
    headers: [JSON_TYPE, ['X-Onfleet-Signature', hmac('sha512', Buffer.from(secret, 'hex'), 'hex', body)]],
    expect: { event_type: 'taskStarted' },
  }, { accepts: helper('Onfleet/OnfleetTriggerHelpers', secret), signature: 'X-Onfleet-Signature' })
}

/** Trello signs the address that it was given after the body. */
export async function trello() {
  for (const target of ['/ingest/trello', '/ingest/trello?board=1&b=%C3%A9']) {
    const body = json({ action: { id: '51f9424bcd6e040f3c002412', type: 'updateCard' }, model: { id: '4d5e' } })
    await verified({
      preset: 'trello', provider: 'Trello', by: node('Trello'), secret, body, public_url: PUBLIC_URL, target,
      headers: [JSON_TYPE, ['X-Trello-Webhook', hmac('sha1', secret, 'base64', body, PUBLIC_URL + target)]],
      expect: { dedup_id: '51f9424bcd6e040f3c002412', event_type: 'updateCard' },
    }, { accepts: helper('Trello/TrelloTriggerHelpers', secret), signature: 'X-Trello-Webhook' })
  }
}

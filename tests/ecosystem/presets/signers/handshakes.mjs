// What a provider asks before it sends anything, and what it wants to hear:
// answered by its SDK or by n8n's node for it where one has an answer, else as
// its documentation says. Twitch's, Discord's and Slack's are signed deliveries
// and are found with those.

import { by, cjs, esm } from './load.mjs'
import { HARD, JSON_TYPE, seconds } from './bodies.mjs'
import { hmac, print, verified } from './verified.mjs'
import { zoomAnswer } from './timestamped.mjs'

const JSON_ANSWER = { 'Content-Type': 'application/json' }
const TEXT = { 'Content-Type': 'text/plain' }
const get = { method: 'GET', headers: [], body: '' }
const ok = (body, headers) => ({ status: 200, body, headers })

export async function zoom() {
  const rivet = cjs('@zoom/rivet/meetings/meetings.cjs')
  const secret = 'a secret token'
  const at = seconds()
  const body = JSON.stringify({ payload: { plainToken: 'qgg8vlvZRS6UYooatFL8Aw' }, event_ts: at * 1000, event: 'endpoint.url_validation' })
  const headers = [JSON_TYPE, ['x-zm-request-timestamp', String(at)], ['x-zm-signature', 'v0=' + hmac('sha256', secret, 'hex', `v0:${at}:`, body)]]
  const answer = await zoomAnswer(rivet, secret, { body, headers: Object.fromEntries(headers) })
  await verified({
    preset: 'zoom', provider: 'Zoom', by: by('@zoom/rivet', 'meetings, hashUrlValidationEvent'), secret, body, headers, at_ms: at * 1000,
    expect: { event_type: 'endpoint.url_validation' }, handshake: ok(answer.body, JSON_ANSWER),
  }, {
    accepts: async (request) => (await zoomAnswer(rivet, secret, request)).statusCode === 200,
    signature: 'x-zm-signature', timestamp: 'x-zm-request-timestamp',
  })
}

export async function meta() {
  const { WhatsAppAPI } = await esm('whatsapp-api-js/lib/index.js')
  const verify_token = 'a verify token'
  const params = { 'hub.mode': 'subscribe', 'hub.challenge': '1158201444', 'hub.verify_token': verify_token }
  const challenge = new WhatsAppAPI({ token: 'unused', appSecret: 'unused', webhookVerifyToken: verify_token, v: 'v23.0' }).get(params)
  print({
    ...get, preset: 'meta', provider: 'Meta', role: 'verifies', by: by('whatsapp-api-js', 'get'), secret: 'an app secret',
    target: `/ingest/meta?${new URLSearchParams(params)}`, handshake: { ...ok(challenge, TEXT), verify_token },
  })
}

export async function x() {
  const { validateWebhook } = cjs('twitter-autohook/index.js')
  const secret = 'a consumer secret'
  const crc_token = 'MTQ4NjYwNzA3Nw'
  print({
    ...get, preset: 'x', provider: 'X', role: 'signs', by: by('twitter-autohook', 'validateWebhook'), secret, target: `/ingest/x?crc_token=${crc_token}`,
    handshake: ok(JSON.stringify(validateWebhook(crc_token, { consumer_secret: secret })), JSON_ANSWER),
  })
}

export async function nylas() {
  const { Webhooks } = cjs('nylas/lib/cjs/resources/webhooks.js')
  const target = '/ingest/nylas?challenge=aBcD1234-_'
  const challenge = Webhooks.prototype.extractChallengeParameter(`https://hooks.example.com${target}`)
  print({
    ...get, preset: 'nylas', provider: 'Nylas', role: 'verifies', by: by('nylas', 'webhooks.extractChallengeParameter'), secret: 'a webhook secret',
    target, handshake: ok(challenge, TEXT),
  })
}

export async function smartcar() {
  const { hashChallenge } = cjs('smartcar/index.js')
  const secret = 'an application management token'
  const body = JSON.stringify({ eventName: 'verify', webhookId: 'w', payload: { challenge: '0a0a' }, note: HARD })
  print({
    preset: 'smartcar', provider: 'Smartcar', role: 'signs', by: by('smartcar', 'hashChallenge'), secret, body,
    headers: [JSON_TYPE, ['SC-Signature', hashChallenge(secret, body)]],
    handshake: ok(JSON.stringify({ challenge: hashChallenge(secret, '0a0a') }), JSON_ANSWER),
  })
}

/** What a node of n8n answers to a request that asks for a signature. */
async function answers(file, name, { headers = {}, query = {} }) {
  const { [name]: Trigger } = cjs(`n8n-nodes-base/dist/nodes/${file}.node.js`)
  const answer = { status: null, body: '', headers: {} }
  const response = {
    status: (code) => ((answer.status = code), response),
    type: (mime) => ((answer.headers['Content-Type'] = mime), response),
    set: (name, value) => ((answer.headers[name] = value), response),
    send: (body) => ((answer.body = body), response),
    end: () => response,
  }
  await Trigger.prototype.webhook.call({
    getRequestObject: () => ({ query, headers, header: (name) => headers[name.toLowerCase()] }),
    getHeaderData: () => headers, getBodyData: () => ({}), getResponseObject: () => response, getWebhookName: () => 'setup',
  })
  return answer
}

export async function n8n() {
  const whose = (node) => ({ role: 'verifies', by: by('n8n-nodes-base', `${node} trigger`) })
  const given = 'b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81'
  print({
    ...whose('Asana'), preset: 'asana', provider: 'Asana', secret: given, headers: [JSON_TYPE, ['X-Hook-Secret', given]], body: '{}',
    handshake: await answers('Asana/AsanaTrigger', 'AsanaTrigger', { headers: { 'x-hook-secret': given } }),
  })
  print({
    ...whose('Onfleet'), ...get, preset: 'onfleet', provider: 'Onfleet', secret: 'c0ffee00', target: '/ingest/onfleet?check=bb8c8c0f',
    handshake: await answers('Onfleet/OnfleetTrigger', 'OnfleetTrigger', { query: { check: 'bb8c8c0f' } }),
  })
  print({
    ...whose('Trello'), ...get, method: 'HEAD', preset: 'trello', provider: 'Trello', secret: 'unused',
    handshake: await answers('Trello/TrelloTrigger', 'TrelloTrigger', {}),
  })
}

/** Known from their documentation alone. */
export function documented() {
  const facts = (preset, provider, by, secret) => ({ ...get, preset, provider, by, secret, role: 'vector' })
  print({
    ...facts('dropbox', 'Dropbox', 'https://www.dropbox.com/developers/reference/webhooks (The verification request)', 'unused'),
    target: '/ingest/dropbox?challenge=a-challenge_0123', handshake: ok('a-challenge_0123', { ...TEXT, 'X-Content-Type-Options': 'nosniff' }),
  })
  print({
    ...facts('okta', 'Okta', 'https://developer.okta.com/docs/concepts/event-hooks/ (One-time verification request)', 'a-token_of-the-receiver.0123456789'),
    headers: [['X-Okta-Verification-Challenge', 'xdaDSsWkTYaADKV1'], ['Authorization', 'a-token_of-the-receiver.0123456789']],
    handshake: ok('{"verification":"xdaDSsWkTYaADKV1"}', JSON_ANSWER),
  })
}

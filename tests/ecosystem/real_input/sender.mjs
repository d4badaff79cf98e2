// Sends what real providers send, signed by packages that nobody of this
// project wrote: GitHub's examples by @octokit/webhooks-methods, and sets by
// `standardwebhooks` and `stripe`. Shopify's scheme and one of our own have no
// such package; they are signed by Node's crypto.
//
// usage: node sender.mjs URL, with the secrets as JSON in SECRETS

import { createHmac, randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { sign as signGithub } from '@octokit/webhooks-methods'
import { Webhook } from 'standardwebhooks'
import Stripe from 'stripe'
import { hostile } from './bodies.mjs'
import { deliver, probe, say, stage } from './posted.mjs'

// The package is one JSON file, which Node's versions import in different words.
const examples = createRequire(import.meta.url)('@octokit/webhooks-examples')
const url = process.argv[2]
const secrets = JSON.parse(process.env.SECRETS)
const stripe = new Stripe('sk_test_unused')
const standard = new Webhook(secrets.standard)
const seconds = () => Math.floor(Date.now() / 1000)
const hmac = (secret, body, encoding) => createHmac('sha256', secret).update(body).digest(encoding)

const sign = {
  async github({ text, type }) {
    return {
      topic: 'github',
      type,
      body: Buffer.from(text),
      headers: {
        'content-type': 'application/json',
        'user-agent': 'GitHub-Hookshot/044aadd',
        'x-github-delivery': randomUUID(),
        'x-github-event': type,
        'x-github-hook-id': '292430182',
        'x-hub-signature-256': await signGithub(secrets.github, text),
      },
    }
  },
  async standard({ text, type, names = 'webhook', at = seconds() }) {
    const id = `msg_${randomUUID()}`
    return {
      topic: 'standard',
      type,
      body: Buffer.from(text),
      headers: {
        'content-type': 'application/json',
        [`${names}-id`]: id,
        [`${names}-timestamp`]: String(at),
        [`${names}-signature`]: standard.sign(id, new Date(at * 1000), text),
      },
    }
  },
  async stripe({ text, type, at = seconds() }) {
    const header = stripe.webhooks.generateTestHeaderString({ payload: text, secret: secrets.stripe, timestamp: at })
    return {
      topic: 'stripe',
      type,
      body: Buffer.from(text),
      headers: { 'content-type': 'application/json; charset=utf-8', 'stripe-signature': header },
    }
  },
  async shopify({ text, type }) {
    return {
      topic: 'shopify',
      type,
      body: Buffer.from(text),
      headers: {
        'content-type': 'application/json',
        'x-shopify-hmac-sha256': hmac(secrets.shopify, text, 'base64'),
        'x-shopify-event-id': randomUUID(),
        'x-shopify-topic': type,
      },
    }
  },
  async own({ contentType, body }, i) {
    return {
      // Subtopics, and names that have to be escaped or not, take the section above.
      topic: ['own', 'own.eu', 'own.eu.4711', 'own.a~b:c_d-e'][i % 4],
      type: 'webhook',
      body,
      headers: {
        ...(contentType && { 'content-type': contentType }),
        'x-signature': 'sha256=' + hmac(secrets.own, body, 'hex'),
      },
    }
  },
}

const github = examples.flatMap(({ name, examples }) => examples.map((payload) => ({ name, payload })))
const sets = {
  // As GitHub posts it, and every fourth with line ends in it.
  github: github.map(({ name, payload }, i) => ({
    type: name,
    text: i % 4 ? JSON.stringify(payload) : JSON.stringify(payload, null, 2) + '\n',
  })),
  standard: ['webhook', 'svix'].flatMap((names) =>
    ['user.created', 'invoice.paid', 'tést', 'a b', 'message'].flatMap((type) => [
      { names, type, text: JSON.stringify({ type, timestamp: new Date().toISOString(), data: { é: '\u2028' } }) },
      { names, type, text: JSON.stringify({ data: { n: 1.5, list: [1, 2] }, type }, null, '\t') },
      { names, type, text: ` {"type" : ${JSON.stringify(type)} , "n" : 1.0 , "big" : 1e400 }\r\n` },
    ]),
  ),
  stripe: ['charge.succeeded', 'invoice.paid', 'customer.subscription.deleted'].flatMap((type, t) =>
    Array.from({ length: 7 }, (_, n) => ({
      type,
      text: JSON.stringify({ id: `evt_${t}_${n}`, object: 'event', type, data: { object: { amount: n, note: 'a\nb' } } }, null, 2),
    })),
  ),
  shopify: ['orders/create', 'products/update'].flatMap((type) =>
    Array.from({ length: 5 }, (_, n) => ({ type, text: JSON.stringify({ id: n, note: 'ü', total_price: '1.00' }) })),
  ),
  own: hostile,
}

// One of each set in turn, so that providers mix as they would.
const longest = Math.max(...Object.values(sets).map((set) => set.length))
const queue = []
for (let i = 0; i < longest; i++) {
  for (const [name, set] of Object.entries(sets)) {
    if (i < set.length) queue.push(() => sign[name](set[i], i))
  }
}

say({ entry: 'plan', what: Object.fromEntries(Object.entries(sets).map(([name, set]) => [name, set.length])) })
const third = Math.ceil(queue.length / 3)
for (const [part, name] of ['first', 'second', 'third'].entries()) {
  await stage(name)
  for (const make of queue.slice(part * third, (part + 1) * third)) {
    const delivery = await make()
    await deliver(url, delivery)
    // A provider that did not hear the answer sends the same again.
    if (delivery.body.length % 10 === 7) await deliver(url, delivery, { again: true })
  }
}

await stage('refusals')
const flip = (text, at) => text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1)
const later = (headers, name, by) => ({ ...headers, [name]: String(Number(headers[name]) + by) })
const made = {
  github: await sign.github(sets.github[1]),
  standard: await sign.standard(sets.standard[0]),
  svix: await sign.standard({ ...sets.standard[0], names: 'svix' }),
  stripe: await sign.stripe({ type: 'x', text: '{"id":"evt_refused","type":"x"}' }),
  shopify: await sign.shopify(sets.shopify[0]),
  own: await sign.own(hostile.find(({ body }) => body.length > 9), 0),
}
const signatures = {
  github: 'x-hub-signature-256', standard: 'webhook-signature', svix: 'svix-signature',
  stripe: 'stripe-signature', shopify: 'x-shopify-hmac-sha256', own: 'x-signature',
}
for (const [name, delivery] of Object.entries(made)) {
  const { body, headers } = delivery
  for (const at of [0, body.length >> 1, body.length - 1]) {
    const changed = Buffer.from(body)
    changed[at] ^= 1
    await probe(url, `${name}: byte ${at} of the body changed`, { ...delivery, body: changed })
  }
  await probe(url, `${name}: a byte more`, { ...delivery, body: Buffer.concat([body, Buffer.from(' ')]) })
  const header = signatures[name]
  for (const at of [12, 25, 40]) {
    const signature = name === 'stripe' ? at + 10 : at
    await probe(url, `${name}: byte ${signature} of the signature changed`, {
      ...delivery, headers: { ...headers, [header]: flip(headers[header], signature) },
    })
  }
  await probe(url, `${name}: signature cut short`, {
    ...delivery, headers: { ...headers, [header]: headers[header].slice(0, -2) },
  })
  const { [header]: _, ...unsigned } = headers
  await probe(url, `${name}: no signature`, { ...delivery, headers: unsigned })
  await probe(url, `${name}: another topic's secret`, { ...delivery, topic: name === 'github' ? 'own' : 'github' })
}
for (const names of ['webhook', 'svix']) {
  const delivery = made[names === 'svix' ? 'svix' : 'standard']
  const timestamp = `${names}-timestamp`
  await probe(url, `${names}: timestamp changed`, { ...delivery, headers: later(delivery.headers, timestamp, 1) })
  await probe(url, `${names}: id changed`, {
    ...delivery, headers: { ...delivery.headers, [`${names}-id`]: delivery.headers[`${names}-id`] + '0' },
  })
  for (const off of [-302, 302, -86400]) {
    await probe(url, `${names}: signed ${off} s off`, await sign.standard({ ...sets.standard[0], names, at: seconds() + off }))
  }
}
const [, signedAt] = /t=(\d+)/.exec(made.stripe.headers['stripe-signature'])
await probe(url, 'stripe: timestamp changed', {
  ...made.stripe,
  headers: { 'stripe-signature': made.stripe.headers['stripe-signature'].replace(signedAt, Number(signedAt) + 1) },
})
for (const off of [-302, 302, -86400]) {
  await probe(url, `stripe: signed ${off} s off`, await sign.stripe({ type: 'x', text: '{}', at: seconds() + off }))
}

await stage('marker')
await deliver(url, await sign.own({ contentType: 'text/plain', body: Buffer.from('the last one') }, 0))
await stage('end')
process.exit(0)

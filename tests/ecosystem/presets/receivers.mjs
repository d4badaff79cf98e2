// Programs as they stand behind `hookrill forward`: each path is one, and takes a webhook
// if the provider's own SDK does. Prints its port.
//
//   node receivers.mjs '{"stripe":"whsec_…"}'

import { createServer } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { verify as verifyGithub } from '@octokit/webhooks-methods'
import { cjs } from './signers/load.mjs'

const secrets = JSON.parse(process.argv[2])

const { default: Stripe } = cjs('stripe/cjs/stripe.cjs.node.js')
const { webhooks } = new Stripe('sk_test_unused')
const { Webhook, WebhookVerificationError } = cjs('standardwebhooks/dist/index.js')
const { verifyKey } = cjs('discord-interactions/dist/index.js')
const http = cjs('@shopify/shopify-api/dist/cjs/runtime/http/index.js')
http.setAbstractConvertRequestFunc(({ headers, url, method }) => ({ headers, url, method }))
const { validateFactory } = cjs('@shopify/shopify-api/dist/cjs/lib/webhooks/validate.js')
const shopify = validateFactory({ apiSecretKey: secrets.shopify, logger: { level: 0, log() {} } })

/** What a call says is a refusal, unless it is only about the JSON, which comes after. */
const unlessSyntax = (call) => {
  try {
    call()
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return true
}

const receivers = {
  github: ({ text, headers }) => verifyGithub(secrets.github, text, headers['x-hub-signature-256']),
  stripe: ({ text, headers }) => unlessSyntax(() => webhooks.constructEvent(text, headers['stripe-signature'], secrets.stripe)),
  'standard-webhooks': ({ text, headers }) => unlessSyntax(() => new Webhook(secrets['standard-webhooks']).verify(text, headers)),
  shopify: async ({ text, headers, url, method }) => (await shopify({ rawBody: text, headers, url, method })).valid === true,
  discord: ({ body, headers }) =>
    verifyKey(body, headers['x-signature-ed25519'], headers['x-signature-timestamp'], secrets.discord),
}

const server = createServer(async (request, response) => {
  const pieces = []
  for await (const piece of request) pieces.push(piece)
  const body = Buffer.concat(pieces)
  // As every framework does before an SDK sees the text.
  const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString()
  const { headers, url, method } = request
  const name = url.split(/[/?]/)[1]
  try {
    const isTaken = await receivers[name]({ body, text, headers, url, method })
    response.writeHead(isTaken ? 200 : 400).end(isTaken ? 'taken' : 'refused')
  } catch (error) {
    const why = error instanceof WebhookVerificationError ? 'refused' : error.name
    response.writeHead(400).end(`${why}: ${error.message}`)
  }
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))

// An app on this machine that smee's client sends webhooks on to, and that verifies them
// by GitHub's own SDK. Prints what the app was sent: one JSON object per line.
//
// usage: node receive.mjs STREAM SECRET

import { createServer } from 'node:http'
import { verify } from '@octokit/webhooks-methods'
import SmeeClient from 'smee-client'

const [stream, secret] = process.argv.slice(2)
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const app = createServer(async (request, response) => {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString()
  const { method, url, headers } = request
  const signature = headers['x-hub-signature-256']
  const verified = Boolean(signature) && (await verify(secret, body, signature))
  response.end()
  say({ method, url, headers, body, verified })
})

app.listen(0, '127.0.0.1', async () => {
  const target = `http://127.0.0.1:${app.address().port}/hooks`
  const logger = { info: () => {}, error: (error) => say({ error: String(error) }) }
  const client = new SmeeClient({ source: stream, target, logger })
  await client.start()
  say({ ready: true })
})

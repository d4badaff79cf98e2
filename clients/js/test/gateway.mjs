// The built gateway as a process of its own; the variable HOOKRILL_BINARY says
// where it is. It ends with the test.

import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const PATIENCE_MS = 30_000
const LOOK_AGAIN_MS = 5
const SECRET = 'a secret for the tokens of this test'

const CONFIG = `
[journal]
path = "data"

[subscribe]
heartbeat = "1s"
retry = "100ms"

[access]
secret = "${SECRET}"

[topics."*"]
access = "public"
headers = ["X-Colour"]
[topics."*".scheme]
kind = "none"
dedup_id = [{ header = "X-Delivery" }]
event_type = [{ header = "X-Type" }]

[topics.cut]
access = "public"
expose = ["/shown"]
scheme = { kind = "none" }

[topics.shut]
scheme = { kind = "none" }
`

// Below what outgoing connections are given: a client that tries to come back
// while the gateway is down must not connect to itself.
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Number(process.hrtime.bigint() % 12_000n))
    const server = createServer()
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (free) return port
  }
}

export class Gateway {
  static async start(t, server = '') {
    const binary = process.env.HOOKRILL_BINARY
    if (!binary) throw new Error('HOOKRILL_BINARY has to say where the built gateway is')
    const gateway = new Gateway()
    gateway.binary = binary
    gateway.folder = await mkdtemp(join(tmpdir(), 'hookrill-client-'))
    const port = await freePort()
    gateway.url = `http://127.0.0.1:${port}`
    const config = `[server]\nlisten = "127.0.0.1:${port}"\n${server}\n${CONFIG}`
    await writeFile(join(gateway.folder, 'hookrill.toml'), config)
    t.after(async () => {
      await gateway.end('SIGKILL')
      await rm(gateway.folder, { recursive: true, force: true })
    })
    await gateway.start()
    return gateway
  }

  async start() {
    const env = Object.entries(process.env).filter(([name]) => name !== 'PORT' && !/^HOOKRILL/.test(name))
    let said = ''
    this.child = spawn(this.binary, ['serve'], {
      cwd: this.folder, env: Object.fromEntries(env), stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.child.stderr.on('data', (text) => (said = (said + text).slice(-4000)))
    this.ended = new Promise((resolve) => this.child.once('exit', resolve))
    await eventually(() => {
      if (this.child.exitCode !== null) throw new Error(`the gateway ended: ${said}`)
      return fetch(`${this.url}/readyz`).then((answer) => answer.ok, () => false)
    })
  }

  async end(signal) {
    this.child.kill(signal)
    await this.ended
  }

  async restart(signal) {
    await this.end(signal)
    await this.start()
  }

  /** Delivers, again and again until it is stored; gives the cursor. */
  async send(topic, body, headers = {}) {
    headers = { 'Content-Type': 'application/json', ...headers }
    if (typeof body === 'object' && !(body instanceof Uint8Array)) body = JSON.stringify(body)
    const post = () => fetch(`${this.url}/ingest/${topic}`, { method: 'POST', headers, body })
    return eventually(() => post().then(async (answer) => answer.ok && (await answer.json()).id, () => false))
  }
}

/** A subscriber token that is good for so many seconds. */
export function token(topic, seconds) {
  const part = (json) => Buffer.from(JSON.stringify(json)).toString('base64url')
  const exp = Math.floor(Date.now() / 1000) + seconds
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ topics: [topic], exp, jti: `${process.hrtime.bigint()}` })}`
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`
}

/** What `look` gives once that is something. */
export async function eventually(look) {
  const patience = Date.now() + PATIENCE_MS
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > patience) throw new Error(`not within ${PATIENCE_MS} ms: ${look}`)
    await pause(LOOK_AGAIN_MS)
  }
}

// The example as a fresh clone has it, in a folder of its own, started by its
// one command.
//
// Invariant: what was started here ends with `close`, by its own handle.

import { spawn } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const REPOSITORY = join(import.meta.dirname, '../../..')
const PATIENCE_MS = 60_000
const BINARY = process.env.HOOKRILL_BINARY

/** Two ports that nobody listens at. */
export async function freePorts() {
  const servers = [createServer(), createServer()]
  const ports = []
  for (const server of servers) {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    ports.push(server.address().port)
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve))
  return { gateway: ports[0], page: ports[1] }
}

/** A folder with the example, without what others made in it. */
export function freshFolder({ packages = true } = {}) {
  const root = mkdtempSync(join(tmpdir(), 'movies-'))
  const folder = join(root, 'examples/movies')
  const example = join(REPOSITORY, 'examples/movies')
  const made = ['node_modules', 'data', 'dist', '.test'].map((name) => join(example, name))
  cpSync(example, folder, { recursive: true, filter: (path) => !made.includes(path) })
  cpSync(join(REPOSITORY, 'clients/js/src'), join(root, 'clients/js/src'), { recursive: true })
  if (packages) symlinkSync(join(example, 'node_modules'), join(folder, 'node_modules'))
  return { folder, remove: () => rmSync(root, { recursive: true, force: true, maxRetries: 10 }) }
}

/** Runs a command to its end. */
export async function run(folder, program, args, environment = {}) {
  const env = { ...process.env, ...environment }
  const child = spawn(program, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += part))
  const [status] = await once(child, 'close')
  return { status, output }
}

export class Example {
  /** All that was printed so far. */
  output = ''
  #child
  #fresh
  #seen = 0
  #looked = () => {}

  /** `retry` is how long the gateway asks clients to wait. */
  static async start({ retry = '100ms', environment = {} } = {}) {
    const example = new Example()
    example.#fresh = freshFolder()
    example.folder = example.#fresh.folder
    example.ports = await freePorts()
    example.gateway = `http://127.0.0.1:${example.ports.gateway}`
    example.page = `http://127.0.0.1:${example.ports.page}/`
    example.#spawn({ HOOKRILL__SUBSCRIBE__RETRY: retry, ...environment })
    await example.says('Ctrl-C ends both')
    return example
  }

  #spawn(environment) {
    const { gateway, page } = this.ports
    const args = ['start.mjs', '--gateway-port', gateway, '--page-port', page]
    this.#child = spawn(process.execPath, args, {
      cwd: this.folder,
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.output += line + '\n'
        this.#looked()
      })
    }
    this.#child.once('exit', () => this.#looked())
  }

  /** Waits for words that were not waited for yet. */
  async says(words) {
    const end = setTimeout(() => this.#looked(), PATIENCE_MS)
    const until = Date.now() + PATIENCE_MS
    for (;;) {
      const at = this.output.indexOf(words, this.#seen)
      if (at >= 0) {
        this.#seen = at + words.length
        clearTimeout(end)
        return
      }
      const isOver = this.#child.exitCode !== null || Date.now() >= until
      if (isOver) throw new Error(`it never said ${JSON.stringify(words)}:\n${this.output}`)
      await new Promise((resolve) => (this.#looked = resolve))
    }
  }

  /** Ends the gateway, or starts it again, and waits until it is done. */
  async outage(isToBegin) {
    this.#child.stdin.write('\n')
    await this.says(isToBegin ? 'The gateway has ended' : 'The gateway is back')
  }

  /** The gateway with another journal, as the README says to make one. */
  async forget() {
    await this.outage(true)
    await run(this.folder, 'rm', ['-r', 'data/segments', 'data/high-water'])
    await this.outage(false)
  }

  /** Ends the gateway without a word, as a crash does. */
  async crash() {
    const { pid } = this.#child
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    const isGateway = (id) => readFileSync(`/proc/${id}/comm`, 'utf8').trim() === 'hookrill'
    for (const id of children.filter(isGateway)) process.kill(Number(id), 'SIGKILL')
    await this.says('The gateway ended by itself (SIGKILL)')
  }

  /** Sends a body with Hookrill's own command. */
  async send(body) {
    const args = ['send', 'movie', typeof body === 'string' ? body : JSON.stringify(body)]
    const { status, output } = await run(this.folder, BINARY, [...args, '--url', this.gateway])
    if (status !== 0) throw new Error(output)
  }

  /** Posts a body, signed here: many of them take no time. */
  async post(body) {
    const secret = readFileSync(join(this.folder, 'data/webhook-secret'), 'utf8')
    const key = Buffer.from(secret.trim().replace('whsec_', ''), 'base64')
    const [id, time, text] = [randomUUID(), Math.floor(Date.now() / 1000), JSON.stringify(body)]
    const signature = createHmac('sha256', key).update(`${id}.${time}.${text}`).digest('base64')
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': time,
      'webhook-signature': `v1,${signature}`,
    }
    const url = `${this.gateway}/ingest/movie`
    const answer = await fetch(url, { method: 'POST', headers, body: text })
    if (answer.status !== 200) throw new Error(await answer.text())
    await answer.arrayBuffer()
  }

  /** The end of stdin, as without a terminal. */
  hangUp() {
    this.#child.stdin.end()
  }

  /** Ends both as Ctrl-C does; the status of the command. */
  async end(signal = 'SIGINT') {
    const exit = once(this.#child, 'exit')
    this.#child.kill(signal)
    const [status] = await exit
    return status
  }

  async close() {
    if (this.#child.exitCode === null) await this.end('SIGTERM')
    this.#fresh.remove()
  }
}

// The built gateway as a process of its own. Knows the contract alone.
//
// Invariant: a delivery that was answered is in the journal, whatever happens
// to the gateway: its id is what readers are held to.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { eventually } from './wait.mjs'

/** Between two events of a sender. */
const PAUSE_MS = 10
const BINARY = process.env.HOOKRILL_BINARY
/** Without what could configure it. */
const ENV = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('HOOKRILL') && name !== 'PORT'),
)

const CONFIG = `
[access]
secret = "6b2f0c9d8e7a41529384a5b6c7d8e9f00112233445566778899aabbccddeeff0"

[topics.open]
access = "public"
[topics.open.scheme]
kind = "none"
dedup_id = [{ header = "X-Delivery" }]

[topics.movie]
access = "public"
scheme = { kind = "none" }

[topics.shut.scheme]
kind = "none"
dedup_id = [{ header = "X-Delivery" }]
`

/** A gateway's `[server]` and `[subscribe]`, for pages of these origins. */
export function config(origins, { heartbeat = '1s', server = '' } = {}) {
  const names = JSON.stringify([origins].flat())
  // What a client waits before it comes back is short, or tests would be long.
  return `cors_origins = ${names}\nmetrics_public = true\n${server}
[subscribe]\nheartbeat = "${heartbeat}"\nretry = "200ms"\n${CONFIG}`
}

export class Gateway {
  #process
  #said = ''

  constructor(folder, port, config, variables = {}) {
    this.folder = folder
    this.port = port
    this.config = config
    this.env = { ...ENV, ...variables }
  }

  get url() {
    return `http://127.0.0.1:${this.port}`
  }

  async start() {
    const file = `[server]\nlisten = "127.0.0.1:${this.port}"\n${this.config}`
    await writeFile(join(this.folder, 'hookrill.toml'), file)
    const stdio = ['ignore', 'ignore', 'pipe']
    this.#process = spawn(BINARY, ['serve'], { cwd: this.folder, env: this.env, stdio })
    this.#process.stderr.on('data', (said) => (this.#said += said))
    await eventually('a gateway that is ready', () => this.#isReady())
  }

  async #isReady() {
    if (this.#process.exitCode !== null) throw new Error(`did not start: ${this.#said}`)
    try {
      const answer = await fetch(`${this.url}/readyz`)
      await answer.arrayBuffer()
      return answer.ok
    } catch {
      return false
    }
  }

  /** SIGKILL, now. */
  async kill() {
    const gone = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await gone
  }

  /** Another journal from the next start on: what was before is gone. */
  async forget() {
    for (const name of ['segments', 'high-water']) await rm(join(this.folder, 'data', name), { recursive: true })
  }

  async end() {
    const isThere = this.#process && this.#process.exitCode === null && !this.#process.signalCode
    if (isThere) await this.kill()
  }

  /** Stores an event; gives its id. */
  async post(topic, event, delivery) {
    const headers = { 'Content-Type': 'application/json', ...(delivery && { 'X-Delivery': delivery }) }
    const body = JSON.stringify(event)
    const answer = await fetch(`${this.url}/ingest/${topic}`, { method: 'POST', headers, body })
    const said = await answer.text()
    // 200: it was stored by an attempt whose answer was lost.
    if (answer.status !== 200) throw new Error(`${answer.status}: ${said}`)
    return JSON.parse(said).id
  }

  /** What the gateway's own metric says. */
  async subscribers() {
    const page = await (await fetch(`${this.url}/metrics`)).text()
    return Number(/^hookrill_subscribers (\d+)/m.exec(page)[1])
  }

  /** A token for this topic, by the command line. */
  async token(topic, ttl = '1h') {
    const args = ['token', '--topic', topic, '--ttl', ttl]
    const { stdout } = await promisify(execFile)(BINARY, args, { cwd: this.folder, env: this.env })
    return stdout.trim()
  }
}

/** Posts numbered events one after the other, whatever becomes of the gateway. */
export class Sender {
  /** What was stored, in its order. */
  posted = []
  #goesOn = true
  #done

  constructor(gateway, topic) {
    this.#done = this.#run(gateway, topic)
    this.#done.catch(() => {})
  }

  async #run(gateway, topic) {
    for (let number = 1; this.#goesOn; number += 1) {
      const event = { number }
      const id = await eventually('an answer', () =>
        gateway.post(topic, event, `${number}`).catch(() => undefined),
      )
      this.posted.push({ id, data: JSON.stringify(event) })
      await pause(PAUSE_MS)
    }
  }

  /** Waits until so many more are stored. */
  async stores(count) {
    const due = this.posted.length + count
    await eventually(`${due} events stored`, () => this.posted.length >= due)
  }

  async end() {
    this.#goesOn = false
    await this.#done
    return this.posted
  }
}

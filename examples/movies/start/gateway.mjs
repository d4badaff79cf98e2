// The gateway as a process. Invariant: at most one runs, and it ends with this
// process or when it is told to, by SIGKILL where it does not listen.

import { spawn } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { Failure } from './failure.mjs'

const READY_MS_MAX = 30_000
const STOP_MS_MAX = 10_000
const LOOK_AGAIN_MS = 50

export class Gateway {
  #binary
  #environment
  #say
  #child
  #ended
  #isReady = false
  #turn = Promise.resolve()

  constructor(binary, ports, say) {
    this.#binary = binary
    this.#say = say
    this.url = `http://127.0.0.1:${ports.gateway}`
    this.#environment = {
      ...process.env,
      HOOKRILL__SERVER__LISTEN: `127.0.0.1:${ports.gateway}`,
      HOOKRILL__SERVER__CORS_ORIGINS__0: `http://127.0.0.1:${ports.page}`,
      HOOKRILL__SERVER__CORS_ORIGINS__1: `http://localhost:${ports.page}`,
    }
    // It goes before the address, and may be meant for another program.
    delete this.#environment.PORT
  }

  /** Starts it, and waits until it is ready. */
  async start() {
    const child = spawn(this.#binary.path, ['serve'], {
      env: this.#environment,
      stdio: ['ignore', 'inherit', 'inherit'],
      // Ctrl-C is for this process alone, which tells the gateway.
      detached: true,
    })
    this.#child = child
    this.#isReady = false
    // Whatever ends this process, short of SIGKILL.
    const kill = () => child.kill()
    process.once('exit', kill)
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => resolve(error.message))
      child.once('exit', (code, signal) => resolve(signal ?? `status ${code}`))
    })
    this.#ended.then((how) => {
      process.off('exit', kill)
      this.#endedWith(child, how)
    })
    await this.#ready(child)
  }

  async stop() {
    const child = this.#child
    if (!child) return
    this.#child = undefined
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
    await this.#ended
    clearTimeout(timer)
  }

  /** Ends it if it runs, else starts it; one after the other. */
  toggle() {
    const turn = async () => {
      if (this.#child) {
        await this.stop()
        this.#say('The gateway has ended. Enter starts it again.')
      } else {
        await this.start()
        this.#say('The gateway is back. Enter ends it.')
      }
    }
    this.#turn = this.#turn.catch(() => {}).then(turn)
    return this.#turn
  }

  #endedWith(child, how) {
    if (this.#child !== child) return
    this.#child = undefined
    if (this.#isReady) this.#say(`The gateway ended by itself (${how}); it says why above. Enter starts it again.`)
  }

  async #ready(child) {
    const until = Date.now() + READY_MS_MAX
    while (this.#child === child && Date.now() < until) {
      const ready = await fetch(`${this.url}/readyz`).catch(() => undefined)
      await ready?.arrayBuffer()
      if (ready?.ok && this.#child === child) {
        this.#isReady = true
        return
      }
      await Promise.race([pause(LOOK_AGAIN_MS), this.#ended])
    }
    throw new Failure(`The gateway did not start; it says why above.`)
  }
}

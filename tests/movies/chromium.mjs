// Chromium, driven over a pipe: a page, its keyboard, and how it looks.
//
// Knows the DevTools protocol and nothing of Hookrill. Invariant: the browser
// ends with its handle, and leaves no folder behind.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const PATIENCE_MS = 30_000
const LOOK_AGAIN_MS = 20

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-pipe',
]

export class Chromium {
  #process
  #folder
  #pending = new Map()
  #listeners = new Set()
  #last = 0

  static async start() {
    const chromium = new Chromium()
    chromium.#folder = mkdtempSync(join(tmpdir(), 'movies-chromium-'))
    const flags = [...FLAGS, `--user-data-dir=${chromium.#folder}`, 'about:blank']
    // It reads what it is told from descriptor 3 and answers on 4.
    const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']
    chromium.#process = spawn('chromium', flags, { stdio })
    chromium.#process.once('error', (error) => chromium.#end(error))
    chromium.#process.once('exit', () => chromium.#end(new Error('Chromium has ended')))
    chromium.#read(chromium.#process.stdio[4])
    return chromium
  }

  /** Opens a page; `errors` fills with whatever goes wrong on it. */
  async open(url) {
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true })
    const page = new Page(this, targetId, sessionId)
    this.#listeners.add(page.hear)
    await page.call('Runtime.enable')
    await page.call('Page.enable')
    // Keys go to the page in front.
    await page.call('Page.bringToFront')
    await page.call('Emulation.setFocusEmulationEnabled', { enabled: true })
    await page.call('Page.navigate', { url })
    return page
  }

  call(method, params = {}, sessionId) {
    const id = (this.#last += 1)
    const message = JSON.stringify({ id, method, params, sessionId })
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#process.stdio[3].write(message + '\0')
    })
  }

  async close() {
    if (this.#process.exitCode === null) {
      const exit = once(this.#process, 'exit')
      this.call('Browser.close').catch(() => {})
      const timer = setTimeout(() => this.#process.kill('SIGKILL'), PATIENCE_MS)
      await exit
      clearTimeout(timer)
    }
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 })
  }

  #read(stream) {
    let rest = ''
    stream.setEncoding('utf8').on('data', (text) => {
      const messages = (rest + text).split('\0')
      rest = messages.pop()
      for (const message of messages) this.#heard(JSON.parse(message))
    })
  }

  #heard({ id, error, result, method, params, sessionId }) {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (error) pending?.reject(new Error(error.message))
    else pending?.resolve(result)
    if (method) for (const hear of this.#listeners) hear(sessionId, method, params)
  }

  #end(error) {
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}

class Page {
  errors = []
  #chromium
  #target
  #session

  constructor(chromium, target, session) {
    this.#chromium = chromium
    this.#target = target
    this.#session = session
  }

  hear = (session, method, params) => {
    if (session !== this.#session || method !== 'Runtime.exceptionThrown') return
    const { text, exception } = params.exceptionDetails
    this.errors.push(exception?.description ?? text)
  }

  close() {
    return this.#chromium.call('Target.closeTarget', { targetId: this.#target })
  }

  call(method, params) {
    return this.#chromium.call(method, params, this.#session)
  }

  /** What an expression is on the page; promises are waited for. */
  async evaluate(expression) {
    const asked = { expression, awaitPromise: true, returnByValue: true }
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', asked)
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? expression)
    return result.value
  }

  /** Waits until an expression is true. */
  async until(expression) {
    const end = Date.now() + PATIENCE_MS
    while (Date.now() < end) {
      if (await this.evaluate(`Boolean(${expression})`)) return
      await pause(LOOK_AGAIN_MS)
    }
    const text = await this.evaluate('document.body.innerText')
    throw new Error(`never came true: ${expression}\n${text}`)
  }

  async looks({ width = 800, height = 900, scheme = 'light', motion = 'no-preference' }) {
    const size = { width, height, deviceScaleFactor: 1, mobile: false }
    await this.call('Emulation.setDeviceMetricsOverride', size)
    const features = [
      { name: 'prefers-color-scheme', value: scheme },
      { name: 'prefers-reduced-motion', value: motion },
    ]
    await this.call('Emulation.setEmulatedMedia', { features })
  }

  async press(key) {
    const code = { Tab: 9, Enter: 13 }[key]
    const text = key === 'Enter' ? '\r' : undefined
    const event = { key, code: key, windowsVirtualKeyCode: code, text }
    await this.call('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', ...event })
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...event })
  }
}

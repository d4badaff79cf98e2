// Chromium, as the tests in ../browser/ start it: a page, its keyboard, and how
// it looks.
//
// Invariant: the browser ends with its handle, and leaves no folder behind.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launch } from '../browser/browser.mjs'

const PATIENCE_MS = 30_000

export class Chromium {
  #browser
  #folder

  static async start() {
    const chromium = new Chromium()
    chromium.#folder = mkdtempSync(join(tmpdir(), 'movies-chromium-'))
    chromium.#browser = await launch('chromium', chromium.#folder)
    return chromium
  }

  /** Opens a page; `errors` fills with whatever goes wrong on it. */
  async open(url) {
    const page = new Page(await this.#browser.newPage())
    await page.goTo(url)
    return page
  }

  async close() {
    await this.#browser.close()
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 10 })
  }
}

class Page {
  errors = []
  #page

  constructor(page) {
    this.#page = page
    page.on('pageerror', (error) => this.errors.push(error))
  }

  async goTo(url) {
    await this.#page.goto(url)
    // Keys go to the page in front.
    await this.#page.bringToFront()
  }

  close() {
    return this.#page.close()
  }

  /** What an expression is on the page; promises are waited for. */
  evaluate(expression) {
    return this.#page.evaluate(expression)
  }

  /** Waits until an expression is true. */
  async until(expression) {
    try {
      await this.#page.waitForFunction(`Boolean(${expression})`, { timeout: PATIENCE_MS })
    } catch (cause) {
      const text = await this.evaluate('document.body.innerText')
      throw new Error(`never came true: ${expression}\n${text}`, { cause })
    }
  }

  async looks({ width = 800, height = 900, scheme = 'light', motion = 'no-preference' }) {
    await this.#page.setViewport({ width, height })
    await this.#page.emulateMediaFeatures([
      { name: 'prefers-color-scheme', value: scheme },
      { name: 'prefers-reduced-motion', value: motion },
    ])
  }

  press(key) {
    return this.#page.keyboard.press(key)
  }
}

// Serves pages, and opens them as tabs.

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PATIENCE_MS, eventually } from './wait.mjs'

const CLIENT = fileURLToPath(new URL('../../../clients/js/', import.meta.url))
const OWN = ['/readers.js', '/worker.js']
const PAGE = '<!doctype html><meta charset="utf-8"><title>Readers</title><link rel="icon" href="data:,">'
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }

export class Site {
  /** Paths and what answers them, beside the page and its modules. */
  routes = {}
  /** Where all else is looked for. */
  folder
  #server

  static async start(port = 0) {
    const site = new Site()
    site.#server = createServer((request, response) => {
      site.#answer(request, response).catch((error) => {
        response.statusCode = error.code === 'ENOENT' ? 404 : 500
        response.end(String(error))
      })
    })
    site.#server.listen(port, '127.0.0.1')
    await once(site.#server, 'listening')
    return site
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`
  }

  async #answer({ url }, response) {
    const { pathname } = new URL(url, this.origin)
    const route = this.routes[pathname]
    if (route) return response.end(await route(response))
    response.setHeader('Content-Type', TYPES[extname(pathname)] ?? 'text/html')
    if (OWN.includes(pathname)) response.end(await readFile(new URL(`.${pathname}`, import.meta.url)))
    else if (pathname === '/client.js') response.end(await client())
    else if (this.folder && pathname !== '/blank') response.end(await this.#file(pathname))
    else response.end(PAGE)
  }

  #file(pathname) {
    const path = normalize(pathname.endsWith('/') ? `${pathname}index.html` : pathname)
    return readFile(join(this.folder, path))
  }

  /** Opens a page of this site in a tab of its own. */
  async tab(browser, path = '/blank') {
    const page = await browser.newPage()
    page.setDefaultTimeout(PATIENCE_MS)
    await page.goto(this.origin + path)
    return new Tab(page)
  }

  async end() {
    this.#server.closeAllConnections()
    await new Promise((done) => this.#server.close(done))
  }
}

/** A page and its readers. */
export class Tab {
  constructor(page) {
    this.page = page
  }

  /** Starts a reader of readers.js; `args` are what it takes. */
  async read(kind, ...args) {
    const number = await this.page.evaluate(
      async (kind, args) => (await import('/readers.js')).begin(kind, args),
      kind,
      args,
    )
    return new Reader(this.page, number)
  }

  async close() {
    await this.page.close()
  }
}

/** What a reader in a page has seen. */
export class Reader {
  #page
  #number

  constructor(page, number) {
    this.#page = page
    this.#number = number
  }

  async record() {
    const number = this.#number
    return JSON.parse(await this.#page.evaluate((number) => JSON.stringify(window.records[number]), number))
  }

  /** Waits until its record is like that; gives the record. */
  async until(what, is) {
    let last
    try {
      return await eventually(what, async () => {
        last = await this.record()
        return is(last) && last
      })
    } catch (error) {
      throw new Error(`${error.message}; but ${JSON.stringify(last)}`, { cause: error })
    }
  }

  hasStream() {
    return this.until('a stream', ({ streams }) => streams)
  }

  hasLostIt() {
    return this.until('the end of its stream', ({ streams }) => !streams)
  }

  /** Waits until it has heard this event. */
  hears(id) {
    return this.until(`event ${id}`, ({ heard }) => heard.some((event) => event.id === id))
  }
}

/** The client package in one module, as its source is now. */
let bundled
function client() {
  return (bundled ??= bundle())
}

async function bundle() {
  const require = createRequire(join(CLIENT, 'package.json'))
  const { build } = require('esbuild')
  const entry = { entryPoints: ['src/index.ts'], absWorkingDir: CLIENT }
  const { outputFiles } = await build({ ...entry, bundle: true, format: 'esm', write: false })
  return outputFiles[0].contents
}

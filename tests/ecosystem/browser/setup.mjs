// What one claim needs, and its end.
//
// Invariant: whatever was started for a claim ends with it, in the order
// opposite to that in which it was started, also where the claim fails.

import { setTimeout as pause } from 'node:timers/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launch } from './browser.mjs'
import { Gateway } from './gateway.mjs'
import { Relay } from './relay.mjs'
import { Site } from './site.mjs'
import { PATIENCE_MS } from './wait.mjs'

export class Setup {
  #endings = []

  constructor(browserName) {
    this.browserName = browserName
  }

  /** A folder that is there until the end. */
  async folder(name) {
    const folder = await mkdtemp(join(tmpdir(), `hookrill-${name}-`))
    this.atEnd(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
    return folder
  }

  async browser() {
    const browser = await launch(this.browserName, await this.folder('browser'))
    this.atEnd(() => browser.close())
    return browser
  }

  /** Serves pages; pages of two sites have two origins. */
  async site(port) {
    return this.#started(await Site.start(port))
  }

  /** `config` goes below `[server]`; `variables` are what it names by `env:`. */
  async gateway(config, variables) {
    const gateway = new Gateway(await this.folder('gateway'), await freePort(), config, variables)
    await this.#started(gateway).start()
    return gateway
  }

  /** Stands between browser and gateway. */
  async relay(gateway) {
    return this.#started(await Relay.start(gateway.port))
  }

  atEnd(end) {
    this.#endings.push(end)
  }

  async end() {
    for (const end of this.#endings.splice(0).reverse()) {
      await Promise.race([end(), pause(PATIENCE_MS, undefined, { ref: false })]).catch((error) =>
        console.error(error),
      )
    }
  }

  #started(thing) {
    this.atEnd(() => thing.end())
    return thing
  }
}

async function freePort() {
  const server = createServer()
  await new Promise((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address()
  await new Promise((done) => server.close(done))
  return port
}

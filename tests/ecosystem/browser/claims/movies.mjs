// The page of examples/movies/, as it is built, before, during and after an
// outage. What it says in all its states, tests/ecosystem/movies/ looks at in Chromium.

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { config } from '../gateway.mjs'
import { eventually } from '../wait.mjs'

const EXAMPLE = fileURLToPath(new URL('../../../../examples/movies/', import.meta.url))
const PICTURES = fileURLToPath(new URL('../../../../docs/pictures/', import.meta.url))
/** So large a picture is too much for a page of the docs. */
const PICTURE_MAX = 80_000

const BEFORE = [
  { title: 'Ran', year: 1985, director: 'Akira Kurosawa' },
  { title: 'Heat', year: 1995, director: 'Michael Mann' },
]
const DURING = [
  { title: 'Stalker', year: 1979, director: 'Andrei Tarkovsky' },
  { title: 'Playtime', year: 1967, director: 'Jacques Tati' },
]

export async function the_movie_page_shows_what_it_missed_and_where_history_is_gone(setup) {
  const site = await setup.site()
  site.folder = await built(await setup.folder('movies'))
  const gateway = await setup.gateway(config(site.origin))
  const relay = await setup.relay(gateway)
  const browser = await setup.browser()
  const { page } = await site.tab(browser, `/?gateway=${encodeURIComponent(relay.url)}`)
  await page.setViewport({ width: 720, height: 640 })
  const movies = new Movies(page)

  await movies.state('open')
  for (const movie of BEFORE) await gateway.post('movie', movie)
  await movies.show(['Heat', 'Ran'])
  await picture(setup, page, 'before')

  await gateway.kill()
  await movies.state('waiting')
  assert.match(await movies.text('[role=status]'), /^Cut off\./)
  await picture(setup, page, 'during')

  // It is back, but not for the page yet.
  relay.refuses()
  await gateway.start()
  for (const movie of DURING) await gateway.post('movie', movie)
  await movies.show(['Heat', 'Ran'])
  relay.passes()
  await movies.show(['Playtime', 'Stalker', 'Heat', 'Ran'])
  assert.deepEqual(await movies.missed(), ['Playtime', 'Stalker'])
  assert.match(await movies.text('.connection'), /Live\.[^]*2 movies came while you were away/)
  await picture(setup, page, 'after')

  await gateway.kill()
  await gateway.forget()
  await gateway.start()
  await gateway.post('movie', { title: 'Yojimbo' })
  await movies.show(['Yojimbo', 'Playtime', 'Stalker', 'Heat', 'Ran'])
  assert.match(await movies.text('[data-kind=gap]'), /^Movies may be missing here\./)
}

export async function the_movie_page_obeys_keyboard_and_light(setup) {
  const site = await setup.site()
  site.folder = await built(await setup.folder('movies'))
  // Nobody comes back by itself while this lasts.
  const gateway = await setup.gateway(config(site.origin).replace('retry = "200ms"', 'retry = "10m"'))
  const { page } = await site.tab(await setup.browser(), `/?gateway=${encodeURIComponent(gateway.url)}`)
  const movies = new Movies(page)
  await movies.state('open')
  await gateway.kill()
  await movies.state('waiting')
  const buttons = await all(page)
  assert.deepEqual(await reached(page, buttons.length), buttons)
  await gateway.start()
  for (const _ of buttons.slice(1)) await backwards(page)
  await page.keyboard.press('Enter')
  await movies.state('open')

  // By WebDriver BiDi, puppeteer can't ask for another colour scheme.
  const grounds = []
  for (const value of setup.browserName === 'chromium' ? ['light', 'dark'] : []) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }])
    grounds.push(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor))
  }
  assert.equal(new Set(grounds).size, grounds.length)
}

/** Builds the page into this folder. */
async function built(folder) {
  const require = createRequire(join(EXAMPLE, 'package.json'))
  const { build } = await import(pathToFileURL(require.resolve('vite')))
  await build({ root: EXAMPLE, logLevel: 'error', build: { outDir: folder, emptyOutDir: true } })
  return folder
}

/** What can be pressed, by its words. */
function all(page) {
  return page.$$eval('a[href], button, input, select, textarea', (found) => found.map((one) => one.innerText))
}

/**
 * What the Tab key comes to, in this order. No further than the last one:
 * behind it is the browser itself, and then keys are no longer the page's.
 */
async function reached(page, count) {
  const found = []
  while (found.length < count) {
    await page.keyboard.press('Tab')
    const [words, outline] = await page.evaluate(() => {
      const { activeElement } = document
      return [activeElement.innerText, getComputedStyle(activeElement).outlineStyle]
    })
    assert.notEqual(outline, 'none', words)
    found.push(words)
  }
  return found
}

async function backwards(page) {
  await page.keyboard.down('Shift')
  await page.keyboard.press('Tab')
  await page.keyboard.up('Shift')
}

class Movies {
  #page

  constructor(page) {
    this.#page = page
  }

  state(name) {
    return eventually(`the state ${name}`, () => this.#page.$(`[data-state=${name}]`))
  }

  /** Waits until these are shown, and no others. */
  async show(wanted) {
    await eventually(`the movies ${wanted}`, async () => {
      return `${await this.#titles('[data-kind=movie]')}` === `${wanted}`
    })
  }

  missed() {
    return this.#titles('[data-arrival=missed]')
  }

  text(selector) {
    return this.#page.$eval(selector, (found) => found.innerText)
  }

  #titles(of) {
    return this.#page.$$eval(`${of} h3`, (found) => found.map((title) => title.innerText))
  }
}

/** For the docs, where they are to be written anew. */
async function picture(setup, page, name) {
  if (process.env.HOOKRILL_WRITE_DOCS !== '1' || setup.browserName !== 'chromium') return
  await eventually('the end of what moves', () => page.evaluate(() => document.getAnimations().length === 0))
  const bytes = await page.screenshot()
  assert.ok(bytes.length < PICTURE_MAX, `${name}: ${bytes.length} bytes`)
  await mkdir(PICTURES, { recursive: true })
  await writeFile(join(PICTURES, `movies-${name}.png`), bytes)
}

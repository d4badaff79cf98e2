// What the example promises, in a fresh folder and a real browser.
//
// usage: HOOKRILL_BINARY=… node --test movies.test.mjs

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Chromium } from './chromium.mjs'
import { freePorts, freshFolder, Example, run } from './example.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const BINARY = process.env.HOOKRILL_BINARY
const CARD = '[data-kind=movie]'

const titles = `[...document.querySelectorAll('${CARD} h3')].map((title) => title.innerText)`
const marked = `[...document.querySelectorAll('${CARD}[data-arrival=missed] h3')].map((title) => title.innerText)`
const isState = (name) => `document.querySelector('[data-state=${name}]')`
const are = (list, wanted) => `JSON.stringify(${list}) === ${JSON.stringify(JSON.stringify(wanted))}`

let chromium
before(async () => (chromium = await Chromium.start()))
after(() => chromium.close())

/** A gateway with its page, which end whatever happens. */
async function withPage(work, { history, ...settings } = {}) {
  const example = await Example.start(settings)
  try {
    if (history) await example.post(history)
    const page = await chromium.open(example.page)
    await page.looks({})
    await page.until(isState('open'))
    await work(page, example)
    assert.deepEqual(page.errors, [])
    await page.close()
  } finally {
    await example.close()
  }
}

const isListening = (url) => fetch(url).then((answer) => answer.ok, () => false)

test('one command starts gateway and page, and ends both', async () => {
  const cargo = fakeCargo()
  const environment = { HOOKRILL_BINARY: '', PATH: `${cargo}:${process.env.PATH}` }
  const example = await Example.start({ environment })
  try {
    // As it goes on where there is no terminal.
    example.hangUp()
    assert.match(await fetch(example.page).then((answer) => answer.text()), /<title>Movies, live</)
    assert.ok(await isListening(`${example.gateway}/readyz`))
    assert.ok(example.output.includes(` send movie '{"title":"Heat"`), example.output)
    const secret = join(example.folder, 'data/webhook-secret')
    assert.equal(statSync(secret).mode & 0o777, 0o600)
    assert.equal(await example.end(), 0)
    assert.ok(!(await isListening(`${example.gateway}/readyz`)))
    assert.ok(!(await isListening(example.page)))
  } finally {
    await example.close()
    rmSync(cargo, { recursive: true })
  }
})

/** A cargo that has built it already: building takes minutes. */
function fakeCargo() {
  const folder = mkdtempSync(join(tmpdir(), 'movies-cargo-'))
  const artifacts = [{ executable: null }, { executable: BINARY }, { reason: 'build-finished' }]
  const lines = artifacts.map((artifact) => JSON.stringify(artifact)).join('\n')
  const script = `#!/bin/sh\n[ "$1 $2 $3 $4" = 'build --release --bin hookrill' ] && echo '${lines}'\n`
  writeFileSync(join(folder, 'cargo'), script, { mode: 0o755 })
  return folder
}

test('without its packages it says so', async () => {
  const { folder, remove } = freshFolder({ packages: false })
  const { status, output } = await run(folder, process.execPath, ['start.mjs'])
  remove()
  assert.equal(status, 1)
  assert.match(output, /Run `npm ci` in this folder first/)
})

test('what keeps it from starting is said, and what to do', async () => {
  const { folder, remove } = freshFolder()
  const ports = await freePorts()
  const taken = createServer().listen(ports.page, '127.0.0.1')
  await once(taken, 'listening')
  const start = (environment, ...args) => run(folder, process.execPath, ['start.mjs', ...args], environment)
  const gateway = ['--gateway-port', ports.gateway]
  const cases = [
    [{}, [...gateway, '--page-port', ports.page], /Port \d+ is taken.*npm start -- --page-port/],
    [{ HOOKRILL_BINARY: '/nowhere' }, gateway, /HOOKRILL_BINARY names \/nowhere, which is no program/],
    [{ HOOKRILL_BINARY: '', PATH: '/nowhere' }, gateway, /cargo is missing.*HOOKRILL_BINARY=/],
    [{ HOOKRILL_BINARY: '/bin/false' }, gateway, /The gateway did not start/],
    [{}, ['--gateway-port', '0'], /0 is no port/],
    [{}, ['--port', '1'], /usage: npm start/],
  ]
  try {
    for (const [environment, args, why] of cases) {
      const free = args.includes('--page-port') ? args : [...args, '--page-port', (await freePorts()).page]
      const { status, output } = await start(environment, ...free)
      assert.equal(status, 1, output)
      assert.match(output, why)
      assert.doesNotMatch(output, /\n +at /)
    }
  } finally {
    taken.close()
    remove()
  }
})

const EXAMPLE = join(import.meta.dirname, '../../../examples/movies')
const README = readFileSync(join(EXAMPLE, 'README.md'), 'utf8')
const COMMANDS = [...README.matchAll(/```sh\n(.*?)```/gs)].map(([, command]) => command.trim())

test('movies sent as the README says show up', async () => {
  const send = COMMANDS.find((command) => command.includes('hookrill send movie'))
  const curl = COMMANDS.find((command) => command.startsWith('sh send.sh'))
  await withPage(async (page, example) => {
    const sh = async (command) => {
      const { status, output } = await run(example.folder, 'sh', ['-c', command])
      assert.equal(status, 0, output)
      assert.match(output, /"topic":"movie"/)
    }
    await sh(`${send.replace('../../target/release/hookrill', BINARY)} --url ${example.gateway}`)
    await page.until(are(titles, ['Heat']))
    await page.until(`document.querySelector('[data-announcement]').innerText === 'New movie: Heat.'`)
    await sh(`${curl} ${example.gateway}`)
    await page.until(are(titles, ['Ran', 'Heat']))
    assert.equal(await page.evaluate(`document.querySelectorAll('[data-arrival=live]').length`), 2)
  })
})

test('the README shows what send.sh does', () => {
  const shown = COMMANDS.find((command) => command.startsWith('id='))
  assert.ok(readFileSync(join(EXAMPLE, 'send.sh'), 'utf8').includes(shown))
})

test('what came during an outage is marked, counted and said, and nothing is missed', async () => {
  await withPage(async (page, example) => {
    await page.until(are(titles, ['Before']))
    await example.outage(true)
    await page.until(isState('waiting'))
    const words = await page.evaluate(`document.querySelector('[role=status]').innerText`)
    assert.match(words, /^Cut off\. The gateway is out of reach\./)

    await example.outage(false)
    for (const title of ['One', 'Two', 'Three']) await example.send({ title })
    await page.until(are(marked, ['Three', 'Two', 'One']))
    await page.until(`document.querySelector('[data-missed="3"]')?.innerText === '3 movies came while you were away.'`)
    await page.until(`document.querySelector('[data-announcement]').innerText.startsWith('3 movies came')`)
    await example.send({ title: 'After' })
    await page.until(are(titles, ['After', 'Three', 'Two', 'One', 'Before']))
    assert.deepEqual(await page.evaluate(marked), ['Three', 'Two', 'One'])
    // As history it is not said aloud, so that nothing has to wait for that.
  }, { history: { title: 'Before' } })
})

// Each start is told of this process's end, and Node complains of an eleventh.
test('outages can be watched all day', async () => {
  const example = await Example.start()
  try {
    for (let times = 0; times < 11; times += 1) {
      await example.outage(true)
      await example.outage(false)
    }
    assert.doesNotMatch(example.output, /Warning/)
  } finally {
    await example.close()
  }
})

test('a journal that was replaced is a gap, and the page says what it means', async () => {
  await withPage(async (page, example) => {
    await example.send({ title: 'Old' })
    await page.until(are(titles, ['Old']))
    await example.forget()
    await example.send({ title: 'New' })
    await page.until(are(titles, ['New', 'Old']))
    const gap = await page.evaluate(`document.querySelector('[data-kind=gap][data-reason=epoch]')?.innerText`)
    assert.match(gap, /^Movies may be missing here\. The gateway has a new journal/)
  })
})

test('an attempt can be made at once, by keyboard', async () => {
  const work = async (page, example) => {
    await example.crash()
    await page.until(isState('waiting'))
    await page.press('Tab')
    assert.equal(await page.evaluate(`document.activeElement.innerText`), 'Try now')
    await example.outage(false)
    await page.press('Enter')
    // By itself it would come back after a minute.
    await page.until(isState('open'))
    // The button is gone; whoever pressed it is not at the page's beginning.
    assert.equal(await page.evaluate(`document.activeElement.dataset.state`), 'open')
  }
  await withPage(work, { retry: '60s' })
})

test('a pause holds movies back, and going on shows them', async () => {
  await withPage(async (page, example) => {
    await page.press('Tab')
    assert.equal(await page.evaluate(`document.activeElement.innerText`), 'Pause')
    const outline = await page.evaluate(`getComputedStyle(document.activeElement).outlineStyle`)
    assert.equal(outline, 'solid')
    await page.press('Enter')
    await page.until(isState('closed'))
    await example.send({ title: 'Meanwhile' })
    // Whoever pressed it finds the other one in the same place.
    assert.equal(await page.evaluate(`document.activeElement.innerText`), 'Go on')
    assert.deepEqual(await page.evaluate(titles), [])
    await page.press('Enter')
    await page.until(are(marked, ['Meanwhile']))

    // It goes on where it was, and not with the newest: a gap is noticed.
    await page.press('Enter')
    await page.until(isState('closed'))
    await example.forget()
    await page.press('Enter')
    await page.until(`document.querySelector('[data-kind=gap]')`)
  })
})

test('whatever comes, it is text, and the list has an end', async () => {
  await withPage(async (page, example) => {
    const evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    await example.send({ title: evil, [evil]: evil, long: 'x'.repeat(100_000) })
    await example.send('[1,2]')
    await example.send('not JSON')
    await page.until(are(titles, ['not JSON', '1, 2', evil]))
    assert.equal(await page.evaluate('document.images.length'), 0)
    assert.equal(await page.evaluate('document.title'), 'Movies, live')

    await Promise.all(Array.from({ length: 110 }, (_, n) => example.post({ title: `${n}` })))
    await page.until(`document.querySelector('.dropped')?.innerText.includes('newest 100')`)
    await page.until(`document.querySelectorAll('${CARD}').length === 100`)
  })
})

test('nobody is kept out: labels, contrast, 320 px, less motion', async () => {
  await withPage(async (page, example) => {
    await example.send({ title: 'Heat', year: 1995, long: 'wide'.repeat(50) })
    await page.until(are(titles, ['Heat']))
    await page.evaluate(AXE + ';0')
    await looksGood(page, 'live')
    const spoken = `[...document.querySelectorAll('[aria-live], [role=status]')].map((part) => part.ariaLive ?? part.role)`
    assert.deepEqual(await page.evaluate(spoken), ['status', 'polite'])
    await example.outage(true)
    await page.until(isState('waiting'))
    await looksGood(page, 'cut off')
    await run(example.folder, 'rm', ['-r', 'data/segments', 'data/high-water'])
    await example.outage(false)
    await example.send({ title: 'New' })
    await page.until(`document.querySelector('[data-kind=gap]')`)
    await page.until(are(marked, ['New']))
    await looksGood(page, 'back, with a gap')
    await page.looks({ motion: 'reduce' })
    const motion = `getComputedStyle(document.querySelector('[data-arrival=missed]')).animationName`
    assert.equal(await page.evaluate(motion), 'none')
  })
})

async function looksGood(page, when) {
  for (const scheme of ['light', 'dark']) {
    for (const width of [320, 800]) {
      await page.looks({ scheme, width, motion: 'reduce' })
      const found = await page.evaluate(`axe.run().then(({ violations }) =>
        violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => [id, html, failureSummary])))`)
      assert.deepEqual(found, [], `${when}, ${scheme}, ${width} px`)
      const { scrollWidth, clientWidth } = await page.evaluate(
        '(({ scrollWidth, clientWidth }) => ({ scrollWidth, clientWidth }))(document.documentElement)',
      )
      assert.ok(scrollWidth <= clientWidth, `${when}: ${scrollWidth} px of ${clientWidth}`)
    }
  }
  await page.looks({})
}

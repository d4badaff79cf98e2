// Builds the recipes for pages, serves them as a site would, and prints what
// each of them shows, one JSON object per line.
//
// usage: node pages.mjs FOLDER PORT CLIENT SECRET
//
// FOLDER has the recipes as files, CLIENT is the folder of @hookrill/client, and
// SECRET signs tokens. A line on standard input makes the components leave.
// Tokens are short, so that each page has to renew its own, and nothing is put
// into a recipe: a page that holds them in frames looks at them from outside.

import { build } from 'esbuild'
import { compile as compileSvelte } from 'svelte/compiler'
import { compileScript, parse } from 'vue/compiler-sfc'
import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const [folder, port, client, secret] = process.argv.slice(2)
const here = fileURLToPath(new URL('.', import.meta.url))
const require = createRequire(import.meta.url)

const TOKEN_SECS = 3
/** Longer than a token lives: an EventSource comes back with one that ended. */
const COOKIE_RENEWED_MS = 5000

const vue = {
  name: 'vue',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const { descriptor } = parse(await readFile(path, 'utf8'), { filename: path })
      const { content } = compileScript(descriptor, { id: 'orders', inlineTemplate: true })
      return { contents: content, loader: 'js', resolveDir: here }
    }),
}

const svelte = {
  name: 'svelte',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const { js } = compileSvelte(await readFile(path, 'utf8'), { filename: path })
      return { contents: js.code, loader: 'js', resolveDir: here }
    }),
}

/** What starts a component and gives the function that ends it. */
const STARTS = {
  react: `
    import { createElement, StrictMode } from 'react'
    import { createRoot } from 'react-dom/client'
    import Orders from '${folder}/react.jsx'
    const root = createRoot(document.body)
    root.render(createElement(StrictMode, null, createElement(Orders)))
    window.leave = () => root.unmount()`,
  vue: `
    import { createApp } from 'vue'
    import Orders from '${folder}/vue.vue'
    const app = createApp(Orders)
    app.mount(document.body)
    window.leave = () => app.unmount()`,
  svelte: `
    import { mount, unmount } from 'svelte'
    import Orders from '${folder}/svelte.svelte'
    const component = mount(Orders, { target: document.body })
    window.leave = () => unmount(component)`,
  fetch: `import '${folder}/fetch.js'`,
}

async function bundle(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: here, loader: 'js' },
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    nodePaths: [`${here}/node_modules`],
    conditions: ['browser', 'production'],
    define: { 'process.env.NODE_ENV': '"production"' },
    alias: {
      '@hookrill/client/react': `${client}/src/react.ts`,
      '@hookrill/client': `${client}/src/index.ts`,
      // The client's tests have one of their own, and a hook wants the page's.
      react: `${here}node_modules/react`,
    },
    plugins: [vue, svelte],
    logLevel: 'error',
  })
  return outputFiles[0].text
}

const PAGES = ['html', 'react', 'vue', 'svelte', 'htmx', 'fetch']

/** Says what each frame shows whenever it changes. */
const WATCH = `<!doctype html>
<meta charset="utf-8">
<title>Recipes</title>
<script type="module">
  const frames = ${JSON.stringify(PAGES)}.map((page) => {
    const frame = document.createElement('iframe')
    frame.src = '/' + page
    document.body.append(frame)
    return { page, frame, said: '' }
  })
  for (;;) {
    for (const one of frames) {
      const shown = one.frame.contentDocument?.querySelectorAll('li, [role=alert]') ?? []
      const lines = JSON.stringify([...shown].map((element) => element.textContent))
      if (lines === one.said) continue
      one.said = lines
      const body = JSON.stringify({ page: one.page, lines: JSON.parse(lines) })
      await fetch('/say', { method: 'POST', body })
    }
    const leave = await (await fetch('/next')).text()
    for (const { page, frame } of leave ? frames : []) {
      // Without a framework there is nothing to leave but the page.
      if (page === 'html' || page === 'fetch') frame.remove()
      const { contentWindow } = frame
      if (!contentWindow) continue
      contentWindow.leave?.()
      contentWindow.leave = undefined
      contentWindow.htmx?.remove(contentWindow.document.querySelector('main'))
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
</script>
`

function token() {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const exp = Math.floor(Date.now() / 1000) + TOKEN_SECS
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ topics: ['orders'], exp })}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

let leave = ''
process.stdin.once('data', () => { leave = 'leave' })

let cookieAt = 0
const routes = {
  '/': async (_, response) => response.end(WATCH),
  '/token': async (_, response) => response.end(token()),
  '/next': async (_, response) => {
    if (Date.now() - cookieAt > COOKIE_RENEWED_MS) {
      cookieAt = Date.now()
      response.setHeader('Set-Cookie', `hookrill_token=${token()}; HttpOnly; SameSite=Strict; Path=/`)
    }
    response.end(leave)
  },
  '/say': async (request, response) => {
    const parts = []
    for await (const part of request) parts.push(part)
    process.stdout.write(Buffer.concat(parts).toString() + '\n')
    response.end()
  },
}

const files = {
  '/html': await readFile(`${folder}/html.html`),
  '/htmx': await readFile(`${folder}/htmx.html`),
  '/htmx.js': await readFile(require.resolve('htmx.org/dist/htmx.min.js')),
  '/sse.js': await readFile(require.resolve('htmx-ext-sse/dist/sse.min.js')),
}
for (const [name, start] of Object.entries(STARTS)) {
  files[`/${name}`] = `<!doctype html><body></body><script type="module" src="/${name}.js"></script>`
  files[`/${name}.js`] = await bundle(start)
}

const server = createServer((request, response) => {
  const type = request.url.endsWith('.js') ? 'text/javascript' : 'text/html'
  response.setHeader('Content-Type', `${type}; charset=utf-8`)
  const file = files[request.url]
  if (file) return response.end(file)
  const route = routes[request.url]
  if (route) return route(request, response)
  response.statusCode = 404
  response.end()
})
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('{"page":"ready","lines":[]}\n'))

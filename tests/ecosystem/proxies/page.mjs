// Serves a page to a browser, whose EventSources are of another origin, and
// prints what they say, one JSON object per line.
//
// usage: node page.mjs PORT URL COUNT

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'

const [port, url, count] = process.argv.slice(2)

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>EventSources</title>
<script type="module">
  import { listen } from '/listener.mjs'

  // One after the other, so that lines arrive in the order in which they were
  // said.
  let said = Promise.resolve()
  const say = (line) => {
    const body = JSON.stringify(line)
    said = said.then(() => fetch('/say', { method: 'POST', body }))
  }
  for (let client = 0; client < ${Number(count)}; client += 1) {
    listen(EventSource, ${JSON.stringify(url)}, client, say)
  }
</script>
`

async function body(request) {
  const parts = []
  for await (const part of request) parts.push(part)
  return Buffer.concat(parts).toString()
}

const routes = {
  '/': async (_, response) => {
    response.setHeader('Content-Type', 'text/html')
    response.end(PAGE)
  },
  '/listener.mjs': async (_, response) => {
    response.setHeader('Content-Type', 'text/javascript')
    response.end(await readFile(new URL('listener.mjs', import.meta.url)))
  },
  '/say': async (request, response) => {
    process.stdout.write((await body(request)) + '\n')
    response.end()
  },
}

const server = createServer((request, response) => {
  const route = routes[request.url]
  if (route) return route(request, response)
  response.statusCode = 404
  response.end()
})
server.listen(Number(port), '127.0.0.1', () => process.stdout.write('{"kind":"ready"}\n'))

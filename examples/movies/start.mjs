// Starts the gateway and the page, says how to send a movie, and ends both at
// Ctrl-C. Enter ends the gateway and starts it again: an outage to watch.
//
// usage: npm start [-- --gateway-port PORT] [--page-port PORT]
//
// Runs the program that HOOKRILL_BINARY names, else builds this repository's.

import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { program } from './start/binary.mjs'
import { Failure, portIsFree } from './start/failure.mjs'
import { Gateway } from './start/gateway.mjs'
import { keepSecret } from './start/secret.mjs'

const say = (text) => process.stdout.write(text + '\n')

process.chdir(import.meta.dirname)
const stops = []
const ended = new Promise((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, resolve)
})

try {
  await Promise.race([start(), ended])
  await ended
} catch (error) {
  if (!(error instanceof Failure)) throw error
  process.stderr.write(`\n${error.message}\n`)
  process.exitCode = 1
}
for (const stop of stops.reverse()) await stop()
// Vite keeps its watchers for a while, and stdin is open.
process.exit()

async function start() {
  const ports = portsOf(process.argv.slice(2))
  const vite = await loadVite()
  await portIsFree(ports.gateway, 'gateway')
  await portIsFree(ports.page, 'page')
  keepSecret('data/webhook-secret')
  const binary = await program(say)

  const gateway = new Gateway(binary, ports, say)
  stops.push(() => gateway.stop())
  await gateway.start()

  const send = sendCommand(binary, ports)
  // The page shows the command, and knows where the gateway is.
  process.env.VITE_SEND = send
  process.env.VITE_GATEWAY = gateway.url
  const page = await startPage(vite, ports.page)
  stops.push(() => page.close())
  say(welcome(gateway.url, `http://127.0.0.1:${ports.page}/`, send))
  toggleAtEnter(gateway)
}

function portsOf(args) {
  const options = {
    'gateway-port': { type: 'string', default: '8080' },
    'page-port': { type: 'string', default: '5173' },
  }
  try {
    const { values } = parseArgs({ args, options })
    return { gateway: port(values['gateway-port']), page: port(values['page-port']) }
  } catch (error) {
    throw new Failure(`${error.message}\nusage: npm start [-- --gateway-port PORT --page-port PORT]`)
  }
}

function port(text) {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0 && number < 65536) return number
  throw new Failure(`${text} is no port: 1 to 65535`)
}

async function loadVite() {
  return import('vite').catch(() => {
    throw new Failure('The packages are missing. Run `npm ci` in this folder first.')
  })
}

async function startPage(vite, port) {
  const server = createServer()
  // With a server of its own Vite would end this process by itself, at SIGTERM
  // and at the end of stdin, and leave the gateway behind.
  const page = await vite.createServer({
    server: { middlewareMode: true, ws: { server } },
    clearScreen: false,
    logLevel: 'warn',
  })
  server.on('request', page.middlewares)
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return page
}

function sendCommand(binary, ports) {
  const url = ports.gateway === 8080 ? '' : ` --url http://127.0.0.1:${ports.gateway}`
  const movie = '{"title":"Heat","year":1995,"director":"Michael Mann"}'
  return `${binary.shown} send movie '${movie}'${url}`
}

function welcome(gateway, page, send) {
  return `
The page:     ${page}
The gateway:  ${gateway}

Send a movie, from this folder (${process.cwd()}) in another terminal:

  ${send}

or without Hookrill, by openssl and curl:

  sh send.sh '{"title":"Ran","year":1985,"director":"Akira Kurosawa"}' ${gateway}

Enter ends the gateway, Enter starts it again: watch the page, and send a movie
before the page is back. Ctrl-C ends both.
`
}

function toggleAtEnter(gateway) {
  createInterface({ input: process.stdin }).on('line', () => {
    gateway.toggle().catch((error) => say(error.message))
  })
}

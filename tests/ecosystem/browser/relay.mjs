// Between browser and gateway: writes down what they say to each other, cuts
// them off, falls silent, or answers in the gateway's place as a proxy would that
// can't reach it.
//
// Invariant: what passes, passes to the byte.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** Of an answer; its head is shorter. */
const HEAD_MAX = 4096

export class Relay {
  /** Requests in their order: { line, headers, answer() }. */
  requests = []
  #upstream
  #server
  #sockets = new Set()
  #silent = new WeakSet()
  #answer

  static async start(upstream) {
    const relay = new Relay()
    relay.#upstream = upstream
    relay.#server = createServer((socket) => relay.#take(socket))
    relay.#server.listen(0, '127.0.0.1')
    await once(relay.#server, 'listening')
    return relay
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`
  }

  /** Ends all connections, and answers each request with this status. */
  answers(status, headers = {}) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    this.#answer = `HTTP/1.1 ${status} Relayed\r\nContent-Length: 0\r\nConnection: close\r\n${lines.join('')}\r\n`
    this.#cut()
  }

  /** Ends all connections, and each new one at once. */
  refuses() {
    this.#answer = ''
    this.#cut()
  }

  passes() {
    this.#answer = undefined
    this.#cut()
  }

  /** Leaves all connections open and passes nothing on; new ones are as before. */
  fallsSilent() {
    for (const socket of this.#sockets) this.#silent.add(socket)
  }

  /** Requests for a path that begins like this. */
  asked(method, path = '/') {
    return this.requests.filter(({ line }) => line.startsWith(`${method} ${path}`))
  }

  async end() {
    this.#cut()
    await new Promise((done) => this.#server.close(done))
  }

  #cut() {
    for (const socket of this.#sockets) socket.destroy()
  }

  #take(socket) {
    this.#keep(socket)
    if (this.#answer === '') return socket.destroy()
    const upstream = this.#answer === undefined && this.#keep(connect(this.#upstream, '127.0.0.1'))
    let text = ''
    socket.on('data', (bytes) => {
      text = this.#read(text + bytes.toString('latin1'), socket, upstream)
      if (upstream) upstream.write(bytes)
    })
    if (!upstream) return
    upstream.on('data', (bytes) => {
      if (this.#silent.has(socket)) return
      const request = this.requests.findLast((request) => request.socket === socket)
      if (request && request.said.length < HEAD_MAX) request.said += bytes.toString('latin1')
      socket.write(bytes)
    })
    socket.on('close', () => upstream.destroy())
    upstream.on('close', () => socket.destroy())
  }

  /** Takes whole heads off; none of these requests has a body. */
  #read(text, socket, upstream) {
    for (let end; (end = text.indexOf('\r\n\r\n')) >= 0; text = text.slice(end + 4)) {
      const [line, ...fields] = text.slice(0, end).split('\r\n')
      this.requests.push({ line, headers: named(fields), socket, said: '', answer })
      if (!upstream) socket.end(this.#answer)
    }
    return text
  }

  #keep(socket) {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    // Whoever is cut off may still be writing.
    socket.on('error', () => {})
    return socket
  }
}

/** The head of what was answered: { status, headers }. */
function answer() {
  const [line, ...fields] = this.said.split('\r\n\r\n')[0].split('\r\n')
  return { status: Number(line.split(' ')[1]), headers: named(fields) }
}

function named(fields) {
  const parts = fields.map((field) => /^([^:]*): *(.*)$/.exec(field) ?? ['', '', ''])
  return Object.fromEntries(parts.map(([, name, value]) => [name.toLowerCase(), value]))
}

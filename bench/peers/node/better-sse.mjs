// better-sse as its guide has it: sessions registered with a channel, here one
// per topic, and a broadcast for each event. No verification, no history.

import { createServer } from 'node:http'

import { createChannel, createSession } from 'better-sse'

const channels = new Map()

const channel = (topic) => {
  if (!channels.has(topic)) channels.set(topic, createChannel())
  return channels.get(topic)
}

const body = async (request) => {
  const pieces = []
  for await (const piece of request) pieces.push(piece)
  return JSON.parse(Buffer.concat(pieces).toString())
}

const server = createServer(async (request, response) => {
  const [, kind, topic] = request.url.split('/')
  if (kind === 'events') {
    channel(topic).register(await createSession(request, response))
  } else if (kind === 'publish') {
    channel(topic).broadcast(await body(request))
    response.writeHead(202).end()
  } else {
    response.writeHead(200).end()
  }
})

server.keepAliveTimeout = 60_000
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 })

// The classic tutorial: an array of open responses, and a route that writes to
// each. No verification, no ids, no history.

import express from 'express'

let clients = []
const app = express()
app.use(express.json({ limit: '1mb' }))

app.get('/ready', (request, response) => response.sendStatus(200))

app.get('/events', (request, response) => {
  response.writeHead(200, {
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-cache',
    Connection: 'keep-alive',
  })
  response.flushHeaders()
  clients.push(response)
  request.on('close', () => {
    clients = clients.filter((client) => client !== response)
  })
})

app.post('/movie', (request, response) => {
  clients.forEach((client) => client.write(`data: ${JSON.stringify(request.body)}\n\n`))
  response.sendStatus(202)
})

app.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 })

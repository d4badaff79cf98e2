// What a person has to put right before the example can start.

import { createServer } from 'node:net'

export class Failure extends Error {}

/** Fails where something listens there already. */
export async function portIsFree(port, whose) {
  const server = createServer()
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  }).catch((error) => {
    throw new Failure(
      error.code === 'EADDRINUSE'
        ? `Port ${port} is taken, so the ${whose} cannot listen there. End what does, or choose another: npm start -- --${whose}-port ${port + 1}`
        : `The ${whose} cannot listen at port ${port}: ${error.message}`,
    )
  })
  await new Promise((resolve) => server.close(resolve))
}

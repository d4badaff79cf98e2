// Many npm `eventsource`s in one process. Prints what they say, one JSON object
// per line.
//
// usage: node crowd.mjs URL COUNT

import { EventSource } from 'eventsource'
import { listen } from './listener.mjs'

const [url, count] = process.argv.slice(2)
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

for (let client = 0; client < Number(count); client += 1) {
  listen(EventSource, url, client, say)
}

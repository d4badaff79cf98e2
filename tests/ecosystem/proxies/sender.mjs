// Posts numbered events one after the other, and each again until it is
// stored; prints the number of each that is. Told to end by a line, it posts
// the last one.
//
// usage: node poster.mjs URL

import { setTimeout as pause } from 'node:timers/promises'

const PAUSE_MS = 10
const url = process.argv[2]
const delivery = `${process.pid}-`

let last = false
process.stdin.once('data', () => {
  last = true
  process.stdin.destroy()
})

async function isStored(number, last) {
  const headers = { 'X-Delivery': delivery + number }
  const body = JSON.stringify({ number, last })
  try {
    const answer = await fetch(url, { method: 'POST', headers, body })
    await answer.arrayBuffer()
    return answer.status === 200
  } catch {
    return false
  }
}

for (let number = 1; ; number += 1) {
  const isLast = last
  while (!(await isStored(number, isLast))) await pause(PAUSE_MS)
  process.stdout.write(number + '\n')
  if (isLast) break
  await pause(PAUSE_MS)
}

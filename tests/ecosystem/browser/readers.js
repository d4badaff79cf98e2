// Runs in a page: readers of a stream, and what each of them has seen.
//
// A record has, for whoever looks at it from outside:
//   heard    the events, { id, data }, in their order
//   cursor   where it is
//   streams  whether the gateway's stream has begun and has not ended
//   closed   whether it has given up for ever
//   made     how many connections or EventSources were made by hand
//   trouble  what it said of the last failure

window.records = []

export async function begin(kind, args) {
  const record = { heard: [], gaps: [], streams: false, closed: false, made: 0 }
  await readers[kind](record, ...args)
  return window.records.push(record) - 1
}

const readers = {
  native(record, url, options) {
    watch(new EventSource(url, options), record)
  },

  // As the README has it: three lines make a new EventSource where the browser
  // has given up.
  async rebuilt(record, address, token, renews) {
    const url = new URL(address)
    async function listen() {
      url.searchParams.set('token', await freshToken(token))
      const events = new EventSource(url)
      watch(events, record)
      record.made += 1

      const seen = ({ lastEventId }) => url.searchParams.set('since', lastEventId)
      for (const name of ['message', 'hookrill.cursor', 'hookrill.gap']) events.addEventListener(name, seen)
      events.onerror = () => events.readyState === EventSource.CLOSED && setTimeout(listen, 1000)

      if (!renews) return
      events.addEventListener('hookrill.expiring', () => {
        events.close()
        listen()
      })
    }
    await listen()
  },

  // The same package without a page.
  worker(record, url, options) {
    const worker = new Worker('/worker.js', { type: 'module' })
    worker.onmessage = ({ data }) => Object.assign(record, data)
    worker.postMessage({ url, options })
  },

  async client(record, url, { token, ...options } = {}) {
    const { subscribe } = await import('/client.js')
    const renew = () => {
      record.made += 1
      return freshToken(token)
    }
    const stream = subscribe(url, {
      ...options,
      ...(token && { token: renew }),
      onEvent: ({ id, data }) => record.heard.push({ id, data: JSON.stringify(data) }),
      onGap: (gap) => record.gaps.push(gap),
      onState: ({ name, status, error }) => {
        record.streams = name === 'open'
        record.closed = name === 'closed'
        if (name === 'open') record.trouble = undefined
        if (name === 'waiting') record.trouble = { status, error: error && String(error) }
      },
    })
    Object.defineProperty(record, 'cursor', { get: () => stream.cursor, enumerable: true })
  },
}

async function freshToken(path) {
  return (await fetch(path)).text()
}

function watch(source, record) {
  source.addEventListener('message', ({ lastEventId, data }) => {
    record.cursor = lastEventId
    record.heard.push({ id: lastEventId, data })
  })
  source.addEventListener('hookrill.cursor', ({ lastEventId }) => {
    record.streams = true
    record.cursor = lastEventId
  })
  source.addEventListener('hookrill.gap', ({ data }) => record.gaps.push(JSON.parse(data)))
  source.addEventListener('error', () => {
    record.streams = false
    record.closed = source.readyState === EventSource.CLOSED
  })
}

// One EventSource, whoever made it, and what became of it.
//
// `say` gets { client, kind } as it happens:
//   open         it was answered with 200, by the gateway or instead of it
//   stream       the gateway's stream has begun
//   interrupted  it will come back by itself
//   closed       it has given up for ever
//   gap          it was told of a gap
//   heard        with `numbers`, all of its events in their order, after the
//                last one and the heartbeat behind that

export function listen(EventSource, url, client, say) {
  const source = new EventSource(url)
  const numbers = []
  let streaming = false
  let ended = false

  source.onopen = () => {
    streaming = false
    say({ client, kind: 'open' })
  }
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data)
    numbers.push(event.number)
    ended ||= event.last
  }
  source.addEventListener('hookrill.cursor', () => {
    if (!streaming) say({ client, kind: 'stream' })
    streaming = true
    if (!ended) return
    say({ client, kind: 'heard', numbers })
    source.close()
  })
  source.addEventListener('hookrill.gap', () => say({ client, kind: 'gap' }))
  source.onerror = () => {
    const closed = source.readyState === EventSource.CLOSED
    say({ client, kind: closed ? 'closed' : 'interrupted' })
  }
}

// What users write has to compile, and their mistakes must not.

import { stored, subscribe } from '@hookrill/client'
import type { CursorStore, Gap, HookrillEvent, Options, State, Stream } from '@hookrill/client'
import { subscribe as minified } from '@hookrill/client/hookrill.min.js'
import { useTopic } from '@hookrill/client/react'

interface Movie {
  title: string
}

const kept: CursorStore = { get: async () => null, set: async () => {} }
const all: Options<Movie> = {
  topics: ['orders.eu', 'orders.us'] as const,
  token: async (signal) => (await fetch('/token', { signal })).text(),
  since: 'earliest',
  last: 20,
  types: ['push'],
  cursor: stored('orders', sessionStorage),
  credentials: 'include',
  signal: new AbortController().signal,
  timeout: 45_000,
  eventMax: 1_000_000,
  fetch,
  onEvent: async ({ data }) => console.log(data.title),
  onGap: ({ reason, asked, resumed }: Gap) => [reason, asked, resumed].map((text) => text.length),
  onWithheld: ({ id, reason }) => console.log(id, reason),
  onState: (state) => console.log(describe(state)),
}

function describe(state: State): string {
  if (state.name === 'open') return state.resumed ? 'resumed' : 'open'
  if (state.name === 'waiting') return `${state.retryIn} ${state.status} ${state.problem?.detail} ${state.error}`
  return state.name satisfies 'connecting' | 'closed'
}

export async function use(): Promise<void> {
  const stream: Stream<Movie> = subscribe<Movie>('https://hooks.example.com', all)
  for await (const event of stream) {
    const { id, topic, type, time, source, data, datacontenttype } = event
    console.log(id, topic, type, time, source, data.title, datacontenttype, event['stripeversion'])
  }
  const position: string | undefined = stream.cursor
  console.log(position, describe(stream.state))
  stream.close()
  subscribe('/', { topics: 'a', token: 'text', cursor: kept })
  minified('/')
  subscribe('/', { topics: undefined, token: undefined, since: undefined })
}

export function Component(): string {
  const { events, state, gaps } = useTopic<Movie>('/', { topics: 'movie', max: 20 })
  const newest: HookrillEvent<Movie> | undefined = events.at(-1)
  return `${newest?.data.title} ${describe(state)} ${gaps[0]?.reason}`
}

export function mistakes(): void {
  // @ts-expect-error: it is `topics`
  subscribe('/', { topic: 'a' })
  // @ts-expect-error: an address is needed
  subscribe()
  // @ts-expect-error: `unknown` has to be looked at first
  subscribe('/', { onEvent: ({ data }) => data.title })
  // @ts-expect-error: nobody else says what a stream is doing
  subscribe('/').state = { name: 'closed' }
  // @ts-expect-error: a list of types
  subscribe('/', { types: 'push' })
  // @ts-expect-error: `max` is the hook's
  subscribe('/', { max: 5 })
  // @ts-expect-error: only where it waits
  if (subscribe('/').state.name === 'open') subscribe('/').state.retryIn
}

'use client'
// A React hook over one subscription.
//
// Invariants: rendering has no effects; a component that is mounted twice in a
// row (StrictMode) goes on where it was; on a server nothing is subscribed to.

import { useEffect, useMemo, useRef, useSyncExternalStore } from 'react'
import { subscribe } from './index.js'
import type { CursorStore, Gap, HookrillEvent, Options, State } from './index.js'

/** What a component sees of a stream. */
export interface TopicView<T = unknown> {
  /** The newest `max`, in their order: the newest is the last. */
  events: readonly HookrillEvent<T>[]
  state: State
  /** The newest `max`, in their order. */
  gaps: readonly Gap[]
}

/** What `useTopic` takes beside what `subscribe` does. */
export interface TopicOptions<T = unknown> extends Options<T> {
  /** How many events and gaps are kept; 100. */
  max?: number | undefined
}

const EVENTS_MAX = 100
const BEFORE: TopicView<never> = { events: [], state: { name: 'connecting' }, gaps: [] }
const IDLE: TopicView<never> = { ...BEFORE, state: { name: 'closed' } }

/**
 * Subscribes while the component is mounted. Other `topics`, `types`, `since`,
 * `last`, `credentials`, `max` or `url` begin anew; functions may be others at
 * each render, and the last ones count. An empty list of topics subscribes to
 * nothing.
 */
export function useTopic<T = unknown>(url: string, options: TopicOptions<T> = {}): TopicView<T> {
  const { topics, types, since, last, credentials, max } = options
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })
  const asked = JSON.stringify([url, topics, types, since, last, credentials, max])
  const store = useMemo(() => new TopicStore<T>(url, options, () => latest.current), [asked])
  return useSyncExternalStore(store.subscribe, store.view, before)
}

function before(): TopicView<never> {
  return BEFORE
}

/** What was heard, and those who are told of it. */
class TopicStore<T> {
  readonly #url: string
  readonly #max: number
  readonly #latest: () => TopicOptions<T>
  /** What was rendered last, and what will be. */
  #view: TopicView<T>
  #next: TopicView<T>
  #cursor: string | undefined

  constructor(url: string, { topics, max = EVENTS_MAX }: TopicOptions<T>, latest: () => TopicOptions<T>) {
    this.#url = url
    this.#max = max
    this.#latest = latest
    this.#view = this.#next = topics?.length === 0 ? IDLE : BEFORE
  }

  readonly view = (): TopicView<T> => this.#view

  readonly subscribe = (tell: () => void): (() => void) => {
    if (this.#view === IDLE) return () => {}
    this.#view = this.#next = { ...this.#next, state: BEFORE.state }
    let mounted = true
    let timer: ReturnType<typeof setTimeout> | undefined
    const show = () => {
      timer = undefined
      this.#view = this.#next
      tell()
    }
    const change = (what: Partial<TopicView<T>>) => {
      this.#next = { ...this.#next, ...what }
      // Those that came together are rendered once.
      if (mounted) timer ??= setTimeout(show)
    }
    const stream = subscribe<T>(this.#url, { ...this.#latest(), ...this.#options(change) })
    return () => {
      mounted = false
      clearTimeout(timer)
      stream.close()
    }
  }

  /** Options that call those of the last render. */
  #options(change: (what: Partial<TopicView<T>>) => void): Options<T> {
    const latest = this.#latest
    const { token, cursor = this.#memory() } = latest()
    return {
      cursor,
      token: typeof token === 'function' ? (signal) => tokenOf(latest(), signal) : token,
      onEvent: async (event) => {
        await latest().onEvent?.(event)
        change({ events: this.#newest(this.#next.events, event) })
      },
      onGap: async (gap) => {
        await latest().onGap?.(gap)
        change({ gaps: this.#newest(this.#next.gaps, gap) })
      },
      onWithheld: (withheld) => latest().onWithheld?.(withheld),
      onState: (state) => {
        change({ state })
        latest().onState?.(state)
      },
    }
  }

  #newest<V>(kept: readonly V[], one: V): V[] {
    const all = [...kept, one]
    return all.slice(Math.max(0, all.length - this.#max))
  }

  /** Where a component that is mounted once more goes on. */
  #memory(): CursorStore {
    return {
      get: () => this.#cursor,
      set: (cursor) => {
        this.#cursor = cursor
      },
    }
  }
}

function tokenOf<T>({ token }: TopicOptions<T>, signal: AbortSignal) {
  return typeof token === 'function' ? token(signal) : token
}

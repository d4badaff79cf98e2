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

/**
 * Subscribes while the component is mounted. Other `topics`, `types`, `since`,
 * `last`, `credentials`, `max` or `url` begin anew; functions may be others at
 * each render, and the last ones count. An empty list of topics subscribes to
 * nothing.
 */
export function useTopic<T = unknown>(url: string, options: TopicOptions<T> = {}): TopicView<T> {
  const { topics, types, since, last, credentials, max = EVENTS_MAX } = options
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })
  const asked = JSON.stringify([url, topics, types, since, last, credentials, max])
  const store = useMemo(() => new TopicStore<T>(url, max, () => latest.current), [asked])
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
  #view: TopicView<T> = BEFORE
  #next: TopicView<T> = BEFORE
  #cursor: string | undefined

  constructor(url: string, max: number, latest: () => TopicOptions<T>) {
    this.#url = url
    this.#max = max
    this.#latest = latest
  }

  readonly view = (): TopicView<T> => this.#view

  readonly subscribe = (tell: () => void): (() => void) => {
    const options = this.#latest()
    if (options.topics?.length === 0) return () => {}
    // A burst of events is rendered once.
    let timer: ReturnType<typeof setTimeout> | undefined
    const change = (change: Partial<TopicView<T>>) => {
      this.#next = { ...this.#next, ...change }
      timer ??= setTimeout(() => {
        timer = undefined
        this.#view = this.#next
        tell()
      })
    }
    const stream = subscribe<T>(this.#url, { ...options, ...this.#callbacks(change) })
    return () => {
      clearTimeout(timer)
      stream.close()
    }
  }

  #callbacks(change: (change: Partial<TopicView<T>>) => void): Options<T> {
    const latest = this.#latest
    const newest = <V>(kept: readonly V[], one: V) => [...kept, one].slice(-this.#max)
    const { token, cursor = this.#memory() } = latest()
    return {
      cursor,
      // The last one counts, which may get a fresher session.
      token: typeof token === 'function' ? (signal) => call(latest().token, signal) : token,
      onEvent: async (event) => {
        await latest().onEvent?.(event)
        change({ events: newest(this.#next.events, event) })
      },
      onGap: async (gap) => {
        await latest().onGap?.(gap)
        change({ gaps: newest(this.#next.gaps, gap) })
      },
      onWithheld: (withheld) => latest().onWithheld?.(withheld),
      onState: (state) => {
        change({ state })
        latest().onState?.(state)
      },
    }
  }

  /** Where a component that is mounted once more goes on. */
  #memory(): CursorStore {
    return { get: () => this.#cursor, set: (cursor) => void (this.#cursor = cursor) }
  }
}

function call(token: Options['token'], signal: AbortSignal) {
  return typeof token === 'function' ? token(signal) : token
}

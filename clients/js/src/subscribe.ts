// One subscription, over as many connections as it takes.
//
// Invariants: one event is with the consumer at a time, and nothing is read
// from the network meanwhile; the cursor only moves behind what the consumer
// is done with; after `close` there are no timers, listeners or connections.

import { readEvent } from './event.js'
import { type Message, Parser } from './sse.js'
import type { HookrillEvent, Options, Problem, State, Stream, Why } from './types.js'

const EVENT_STREAM = 'text/event-stream'
const CURSOR = /^[a-z0-9]{1,16}-\d{1,20}$/
const EVENT_MAX = 2 ** 24
const TIMEOUT_MS = 45_000
/** How long to wait before the server has said anything about it. */
const RETRY_MS = 1000
/** The longest that a server can ask a client to wait. */
const ASKED_MS_MAX = 3_600_000
/** The longest that chance adds to that. */
const SPREAD_MS_MAX = 30_000
/** A connection that is renewed sooner than this would be so in circles. */
const RENEWAL_MS_MIN = 1000
/** What timers can take; beyond it they fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** When a page may have slept: its timers stood still meanwhile. */
const WAKINGS = ['pageshow', 'visibilitychange']

/** The end of a connection that another one follows without a wait. */
const AT_ONCE = new Error('the connection is renewed')

type Reader = ReadableStreamDefaultReader<Uint8Array>

/** An event on its way to an iterator. */
interface Offer<T> {
  event: HookrillEvent<T>
  done: () => void
}

/** Why a connection ended, and how long the answer asked to wait. */
type Ending = Why & { after?: number }

/**
 * Subscribes to the gateway at `url`, until the stream is closed; `/` is where
 * the page comes from. Events go to `onEvent`, or else to whoever iterates over
 * the stream. Nothing that the network or the gateway does ends it.
 *
 * @throws TypeError where `url` is none, or `topics` is an empty list.
 */
export function subscribe<T = unknown>(url: string, options: Options<T> = {}): Stream<T> {
  return new Subscription<T>(address(url, options), options)
}

function address<T>(url: string, { topics, types }: Options<T>): URL {
  const names = topics === undefined ? [] : [topics].flat()
  // Without a name the gateway would give everything.
  if (topics !== undefined && !names.length) throw new TypeError('topics: there are none')
  const to = new URL(url, globalThis.location?.href)
  to.pathname = to.pathname.replace(/\/*$/, '/events')
  to.searchParams.set('format', 'cloudevents')
  for (const name of names) to.searchParams.append('topic', name)
  if (types) to.searchParams.set('types', types.join())
  return to
}

/** Shows an error as one that nobody caught, which it is. */
function report(error: unknown): void {
  queueMicrotask(() => {
    throw error
  })
}

class Subscription<T> implements Stream<T> {
  state: State = { name: 'connecting' }
  cursor: string | undefined

  readonly #address: URL
  readonly #options: Options<T>
  #attempt = new AbortController()
  #events: AsyncGenerator<HookrillEvent<T>> | undefined
  #offer: Offer<T> | undefined
  #take: ((offer?: Offer<T>) => void) | undefined
  #wake: (() => void) | undefined
  #token: string | undefined
  #retry = RETRY_MS
  /** Connections since one that went well. */
  #failures = 0
  /** When the timer that runs has to have fired. */
  #due = Infinity

  constructor(to: URL, options: Options<T>) {
    this.#address = to
    this.#options = options
    options.signal?.addEventListener('abort', this.close)
    globalThis.addEventListener?.('online', this.#reconnect)
    for (const name of WAKINGS) globalThis.addEventListener?.(name, this.#wakeUp)
    // Whoever subscribes has the stream before anything is called.
    queueMicrotask(() => this.#run())
  }

  readonly close = (): void => {
    if (this.#isClosed) return
    this.#options.signal?.removeEventListener('abort', this.close)
    globalThis.removeEventListener?.('online', this.#reconnect)
    for (const name of WAKINGS) globalThis.removeEventListener?.(name, this.#wakeUp)
    this.#show({ name: 'closed' })
    this.#attempt.abort()
    this.#wake?.()
    this.#take?.()
  }

  [Symbol.asyncIterator](): AsyncGenerator<HookrillEvent<T>> {
    if (this.#options.onEvent) throw new TypeError('onEvent takes the events already')
    return (this.#events ??= this.#iterate())
  }

  get #isClosed(): boolean {
    return this.state.name === 'closed'
  }

  async *#iterate(): AsyncGenerator<HookrillEvent<T>> {
    try {
      while (!this.#isClosed) {
        const offer = this.#offer ?? (await this.#offered())
        this.#offer = undefined
        if (!offer || this.#isClosed) return
        yield offer.event
        offer.done()
      }
    } finally {
      this.close()
    }
  }

  #offered(): Promise<Offer<T> | undefined> {
    return new Promise((take) => {
      this.#take = take
    })
  }

  async #run(): Promise<void> {
    if (this.#options.signal?.aborted) this.close()
    this.#seek(await this.#kept())
    while (!this.#isClosed) {
      const began = Date.now()
      this.#attempt = new AbortController()
      const ending = await this.#connect().catch((error): Ending | undefined => {
        const atOnce = error === AT_ONCE && Date.now() - began > RENEWAL_MS_MIN
        return atOnce ? undefined : { error }
      })
      this.#attempt.abort()
      if (ending && !this.#isClosed) await this.#wait(ending)
    }
  }

  async #kept(): Promise<string | null | undefined> {
    try {
      return await this.#options.cursor?.get()
    } catch (error) {
      report(error)
      return undefined
    }
  }

  /** Takes a position, unless the gateway would refuse it for ever. */
  #seek(cursor: string | null | undefined): boolean {
    if (!cursor || cursor === this.cursor || !CURSOR.test(cursor)) return false
    this.cursor = cursor
    return true
  }

  /** One connection; says why to wait before the next, if there is a reason. */
  async #connect(): Promise<Ending | undefined> {
    this.#show({ name: 'connecting' })
    this.#attempt.signal.throwIfAborted()
    const token = this.#options.token
    const renewable = typeof token === 'function'
    const fresh = !this.#token
    this.#token ||= await this.#until(renewable ? token(this.#attempt.signal) : token)
    const { status, headers, body } = await this.#until(this.#request())
    const reader = body?.getReader()
    if (status === 200) {
      if (reader && headers.get('Content-Type')?.startsWith(EVENT_STREAM)) return this.#read(reader)
      // Such as the page of a Wi-Fi that wants a login first.
      throw new TypeError(`${headers.get('Content-Type')} is not ${EVENT_STREAM}`)
    }
    if (renewable && (status === 401 || status === 403)) {
      this.#token = undefined
      // One that was good before has ended; nobody has refused the next.
      if (!fresh) return undefined
    }
    const problem = reader && (await this.#problem(reader))
    return { status, ...(problem && { problem }), after: waitAsked(headers.get('Retry-After')) }
  }

  #request(): Promise<Response> {
    const { since, last, credentials, fetch = globalThis.fetch } = this.#options
    const headers = new Headers({ Accept: EVENT_STREAM })
    const to = new URL(this.#address)
    if (this.cursor) headers.set('Last-Event-ID', this.cursor)
    else if (since) to.searchParams.set('since', since)
    else if (last) to.searchParams.set('last', `${last}`)
    if (this.#token) this.#authorize(headers, this.#token)
    const { signal } = this.#attempt
    // Else Firefox lets a second tab wait 20 s for the first one's stream to end,
    // to read the same address out of its cache.
    return fetch(to, { headers, signal, cache: 'no-store', ...(credentials && { credentials }) })
  }

  #authorize(headers: Headers, token: string): void {
    // What can't stand in a header, such as an error's page, is not kept.
    this.#token = undefined
    headers.set('Authorization', `Bearer ${token}`)
    this.#token = token
  }

  async #problem(reader: Reader): Promise<Problem | undefined> {
    try {
      // It is short; a long one is not worth waiting for.
      const { value } = await this.#until(reader.read())
      return problemIn(new TextDecoder().decode(value))
    } catch {
      return undefined
    }
  }

  async #read(reader: Reader): Promise<Ending> {
    const parser = new Parser(this.#options.eventMax ?? EVENT_MAX)
    const resumed = !!this.cursor
    let messages = 0
    try {
      for (;;) {
        const { done, value } = await this.#until(reader.read())
        if (done) return { status: 200 }
        for (const message of parser.feed(value)) {
          // In place of a stream: the parser has how long.
          if (message.type === 'hookrill.wait') {
            const problem = problemIn(message.data)
            return { status: 200, ...(problem?.detail && { problem }) }
          }
          // A gap comes behind the cursor that was asked for.
          const gap = message.type === 'hookrill.gap'
          if (!messages || gap) this.#show({ name: 'open', resumed: resumed && !gap })
          this.#attempt.signal.throwIfAborted()
          await this.#consume(message)
          // The first one only says where the stream begins.
          if (messages++) this.#failures = 0
        }
      }
    } finally {
      this.#retry = parser.retry ?? this.#retry
    }
  }

  async #consume({ id, type, data, long }: Message): Promise<void> {
    const { onGap, onWithheld } = this.#options
    if (long) {
      await this.#call(onWithheld, { id, reason: 'too_long' })
    } else if (type === 'hookrill.gap') {
      await this.#call(onGap, JSON.parse(data))
    } else if (type === 'hookrill.withheld') {
      await this.#call(onWithheld, { id, ...JSON.parse(data) })
    } else if (type === 'hookrill.expiring') {
      void this.#renew()
    } else if (!type.startsWith('hookrill.')) {
      await this.#give(readEvent(data))
    }
    if (this.#seek(id)) await this.#keep(id)
  }

  /** Brings an event to the consumer; resolves when it is done with it. */
  #give(event: HookrillEvent<T>): Promise<void> {
    const { onEvent } = this.#options
    if (onEvent) return this.#call(onEvent, event)
    return new Promise((done) => {
      this.#offer = { event, done }
      this.#take?.(this.#offer)
    })
  }

  /** Calls what the user gave. What it throws is shown, and ends the connection. */
  async #call<V>(callback: ((value: V) => unknown) | undefined, value: V): Promise<void> {
    try {
      await callback?.(value)
    } catch (error) {
      report(error)
      throw error
    }
  }

  async #keep(cursor: string): Promise<void> {
    try {
      await this.#options.cursor?.set(cursor)
    } catch (error) {
      report(error)
    }
  }

  /** Gets another token while events go on, and connects anew with it. */
  async #renew(): Promise<void> {
    const { token } = this.#options
    const { signal } = this.#attempt
    if (typeof token !== 'function') return
    try {
      const renewed = await this.#until(token(signal))
      if (!renewed || renewed === this.#token) return
      this.#token = renewed
      this.#reconnect()
    } catch {
      // The old one is good for some seconds yet; then the gateway says 401.
    }
  }

  readonly #reconnect = (): void => {
    this.#attempt.abort(AT_ONCE)
    this.#wake?.()
  }

  /** What should be over by the clock is over, though its timer slept. */
  readonly #wakeUp = (): void => {
    if (Date.now() > this.#due) this.#reconnect()
  }

  /** Waits for `work` as long as a connection may be silent, and is wanted. */
  #until<V>(work: V | Promise<V>): Promise<V> {
    const attempt = this.#attempt
    const { timeout = TIMEOUT_MS } = this.#options
    let timer: ReturnType<typeof setTimeout>
    let stop: () => void
    return new Promise<V>((resolve, reject) => {
      const { signal } = attempt
      stop = () => reject(signal.reason)
      signal.addEventListener('abort', stop)
      if (signal.aborted) stop()
      const silent = () => attempt.abort(new Error(`nothing came for ${timeout} ms`))
      timer = setTimeout(silent, Math.min(timeout, TIMER_MS_MAX))
      this.#due = Date.now() + timeout
      Promise.resolve(work).then(resolve, reject)
    }).finally(() => {
      clearTimeout(timer)
      this.#due = Infinity
      attempt.signal.removeEventListener('abort', stop)
    })
  }

  async #wait({ after = 0, ...why }: Ending): Promise<void> {
    const asked = Math.min(Math.max(this.#retry, after), ASKED_MS_MAX)
    const spread = Math.min(RETRY_MS * 2 ** this.#failures++, SPREAD_MS_MAX)
    const retryIn = Math.round(asked + Math.random() * spread)
    this.#show({ name: 'waiting', retryIn, ...why })
    if (this.#isClosed) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, retryIn)
      this.#due = Date.now() + retryIn
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #show(state: State): void {
    if (this.#isClosed) return
    this.state = state
    try {
      this.#options.onState?.(state)
    } catch (error) {
      report(error)
    }
  }
}

function problemIn(text: string): Problem | undefined {
  try {
    const problem = JSON.parse(text)
    return typeof problem === 'object' && problem ? problem : undefined
  } catch {
    return undefined
  }
}

/** In milliseconds: HTTP writes seconds, or a date (RFC 9110, 10.2.3). */
function waitAsked(retryAfter: string | null): number {
  if (!retryAfter) return 0
  const ms = Number(retryAfter) * 1000
  return (Number.isNaN(ms) ? Date.parse(retryAfter) - Date.now() : ms) || 0
}

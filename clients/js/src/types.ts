/** An event: a CloudEvent 1.0, as the gateway says it. */
export interface HookrillEvent<T = unknown> {
  /** The event's cursor. */
  id: string
  /** The address that it was posted to. */
  source: string
  specversion: string
  type: string
  topic: string
  /** When the gateway took it, as RFC 3339 writes times. */
  time: string
  datacontenttype: string
  /** Parsed where it is JSON, else text; bytes where it is neither. */
  data: T
  /** Extension attributes: headers that the topic shows. */
  [attribute: string]: unknown
}

/** History that was asked for and can't be given. */
export interface Gap {
  /**
   * `retention`: it was deleted; `epoch`: the cursor is another journal's;
   * `unknown`: the cursor is ahead of the journal; `damaged`: it can't be read from
   * the gateway's disk, or was lost there.
   */
  reason: 'epoch' | 'retention' | 'unknown' | 'damaged'
  /** The cursor that was asked to continue from. */
  asked: string
  /** The position just before what follows. */
  resumed: string
}

/** An event that is there and is not shown. */
export interface Withheld {
  /** Its cursor. */
  id: string
  /**
   * Why: `not_json` and others are the gateway's; `too_long` is the client's,
   * where an event is longer than `eventMax`.
   */
  reason: string
}

/** What the gateway says when it refuses (RFC 9457), or puts a stream off (`detail` alone). */
export interface Problem {
  type?: string
  title?: string
  status?: number
  detail?: string
}

/** Why a stream waits before it connects again. */
export interface Why {
  /** What it was answered; 200 where a stream ended or was put off. */
  status?: number
  /** What the gateway said, where it refused or put the stream off. */
  problem?: Problem
  /** What was thrown: by the network, the token's function, or a callback. */
  error?: unknown
}

/** What a stream is doing. */
export type State =
  | { name: 'connecting' }
  /** `resumed`: it goes on behind a cursor, with nothing missing. */
  | { name: 'open'; resumed: boolean }
  /** `retryIn`: in so many milliseconds it connects again. */
  | ({ name: 'waiting'; retryIn: number } & Why)
  | { name: 'closed' }

/** Where the position is kept. */
export interface CursorStore {
  get(): string | null | undefined | Promise<string | null | undefined>
  /** The next event waits for it. */
  set(cursor: string): void | Promise<void>
}

/** A token, or where to get one; `signal` is aborted when it is not needed. */
export type Token =
  | string
  | ((signal: AbortSignal) => string | undefined | Promise<string | undefined>)

/** What a subscription may say. */
export interface Options<T = unknown> {
  /** One, or at most 64; without it, everything that the token covers. */
  topics?: string | readonly string[] | undefined
  /** A function is asked again whenever the gateway wants another one. */
  token?: Token | undefined
  /** Where to begin while no cursor is kept: `earliest`, or after a cursor. */
  since?: string | undefined
  /** While no cursor is kept: begin with the newest so many, at most 1,000. */
  last?: number | undefined
  /** Only these types of events. */
  types?: readonly string[] | undefined
  /** Where the position is kept; in memory, if not given. */
  cursor?: CursorStore | undefined
  /** As for `fetch`: `include` sends the cookie `hookrill_token`. */
  credentials?: RequestCredentials | undefined
  /** Closes the stream. */
  signal?: AbortSignal | undefined
  /** After so many milliseconds without a byte a stream is dead; 45,000. */
  timeout?: number | undefined
  /** The most characters of one event; 16 Mi. */
  eventMax?: number | undefined
  /** In place of the global one. */
  fetch?: typeof globalThis.fetch | undefined
  /** Takes each event; the next one waits for its promise. */
  onEvent?: ((event: HookrillEvent<T>) => unknown) | undefined
  onGap?: ((gap: Gap) => unknown) | undefined
  onWithheld?: ((withheld: Withheld) => unknown) | undefined
  onState?: ((state: State) => void) | undefined
}

/** A subscription, which lasts until it is closed. */
export interface Stream<T = unknown> extends AsyncIterable<HookrillEvent<T>> {
  readonly state: State
  /** The position behind all that was consumed. */
  readonly cursor: string | undefined
  /** Ends it for good; nothing is called after that but `onState`. */
  close(): void
}

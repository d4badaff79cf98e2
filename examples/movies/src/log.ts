// What the page knows: the newest movies, the gaps between them, and how the
// connection is. Pure: time comes with what happened.
//
// Invariant: at most ITEMS_MAX items, newest first, no movie twice.

import type { Gap, HookrillEvent, State } from '@hookrill/client'
import { movieOf, type Movie } from './movie.ts'

export const ITEMS_MAX = 100

/** `earlier`: before the page was opened; `missed`: while it was cut off. */
export type Arrival = 'earlier' | 'missed' | 'live'

export interface MovieItem {
  kind: 'movie'
  id: string
  movie: Movie
  time: Date | undefined
  arrival: Arrival
}

export interface GapItem {
  kind: 'gap'
  id: string
  gap: Gap
}

export type Item = MovieItem | GapItem

export interface Log {
  items: Item[]
  /** Items that were dropped since the list was full. */
  dropped: number
  /** Movies that came during the last outage, until it is history. */
  missed: number
  totals: Totals
  connection: Connection
}

/** What came since the page was opened. */
export interface Totals {
  live: number
  missed: number
  gaps: number
}

export interface Connection {
  state: State
  /** When the state began, in milliseconds. */
  since: number
  /** Whether a stream was open before this one. */
  again: boolean
  /** What went wrong last, until a stream is open again. */
  trouble: Extract<State, { name: 'waiting' }> | undefined
}

export type Happened =
  | { type: 'state'; state: State; at: number }
  | { type: 'event'; event: HookrillEvent }
  | { type: 'gap'; gap: Gap }

export const EMPTY: Log = {
  items: [],
  dropped: 0,
  missed: 0,
  totals: { live: 0, missed: 0, gaps: 0 },
  connection: { state: { name: 'connecting' }, since: 0, again: false, trouble: undefined },
}

export function next(log: Log, happened: Happened): Log {
  switch (happened.type) {
    case 'state':
      return withState(log, happened.state, happened.at)
    case 'event':
      return withMovie(log, happened.event)
    case 'gap':
      return withGap(log, happened.gap)
  }
}

function withState(log: Log, state: State, at: number): Log {
  const before = log.connection
  const wasOpen = before.state.name === 'open'
  // A gap is told of in an open stream, which began when it began.
  if (wasOpen && state.name === 'open') return log
  const again = before.again || wasOpen
  const trouble =
    state.name === 'waiting' ? state : state.name === 'connecting' ? before.trouble : undefined
  const missed = state.name === 'open' || state.name === 'closed' ? 0 : log.missed
  return { ...log, missed, connection: { state, since: at, again, trouble } }
}

function withMovie(log: Log, event: HookrillEvent): Log {
  const arrival = arrivalOf(log.connection, event)
  const time = timeOf(event)
  const item: MovieItem = { kind: 'movie', id: event.id, movie: movieOf(event.data), time, arrival }
  const longer = withItem(log, item)
  // After a pause the movie in hand may come once more.
  if (longer === log || arrival === 'earlier') return longer
  const totals = { ...log.totals, [arrival]: log.totals[arrival] + 1 }
  return { ...longer, totals, missed: log.missed + Number(arrival === 'missed') }
}

function withGap(log: Log, gap: Gap): Log {
  const longer = withItem(log, { kind: 'gap', id: `gap ${gap.resumed}`, gap })
  if (longer === log) return log
  return { ...longer, totals: { ...log.totals, gaps: log.totals.gaps + 1 } }
}

function withItem(log: Log, item: Item): Log {
  if (log.items.some(({ id }) => id === item.id)) return log
  const items = [item, ...log.items.slice(0, ITEMS_MAX - 1)]
  const dropped = log.dropped + log.items.length + 1 - items.length
  return { ...log, items, dropped }
}

/**
 * What was there before the stream was open is history; when it is not the
 * first stream, it is what was missed. The gateway's clock says when it came,
 * this device's when the stream was open: where one of them is wrong by
 * seconds, so are the marks of those seconds, and no movie is lost.
 */
function arrivalOf({ state, since, again }: Connection, event: HookrillEvent): Arrival {
  const came = timeOf(event)?.getTime() ?? since
  if (state.name !== 'open' || came >= since) return 'live'
  return again ? 'missed' : 'earlier'
}

function timeOf(event: HookrillEvent): Date | undefined {
  const time = new Date(event.time)
  return Number.isNaN(time.getTime()) ? undefined : time
}

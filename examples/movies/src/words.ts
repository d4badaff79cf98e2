// What the page says of its connection, in plain words.

import type { Gap } from '@hookrill/client'
import type { Connection, Totals } from './log.ts'

export interface Words {
  headline: string
  detail: string
}

/**
 * The same words from the first failure until the stream is open again: a
 * screen reader reads each change aloud, and attempts come every few seconds.
 */
export function connectionWords(connection: Connection, origin: string): Words {
  const { state, trouble } = connection
  if (state.name === 'open') return LIVE
  if (state.name === 'closed') return PAUSED
  if (trouble === undefined) return CONNECTING
  const isBarred = trouble.status === 401 || trouble.status === 403
  const headline = isBarred ? 'Not let in' : connection.again ? 'Cut off' : 'Not connected'
  const then = connection.again ? BEHIND : 'The page tries again by itself.'
  return { headline, detail: `${cause(trouble.status, connection, origin)} ${then}` }
}

const LIVE: Words = { headline: 'Live', detail: 'New movies show up by themselves.' }

const CONNECTING: Words = { headline: 'Connecting', detail: 'Asking the gateway for its movies.' }

const PAUSED: Words = {
  headline: 'Paused',
  detail: 'The gateway keeps what comes meanwhile. Go on, and it shows up here.',
}

const BEHIND = 'The page tries again by itself, and goes on behind the last movie you saw.'

function cause(status: number | undefined, { again }: Connection, origin: string): string {
  switch (status) {
    // A browser does not tell a page whether nobody answered, or whether the
    // answer was for others; and a gateway that stops ends its streams first.
    case undefined:
    case 200:
      return again
        ? 'The gateway is out of reach.'
        : `The gateway is out of reach. Does it run, and do its cors_origins name ${origin}?`
    case 401:
      return 'The gateway asks for a token. Without one, the topic has to be public.'
    case 403:
      return 'The token does not cover this topic.'
    case 404:
      return 'This gateway knows no topic “movie”.'
    case 429:
      return 'The gateway has too many listeners right now.'
    default:
      return status >= 500
        ? `The gateway, or what stands before it, is out of order (${status}).`
        : `The gateway refused (${status}).`
  }
}

export function missedWords(missed: number): string {
  return `${count(missed)} came while you were away.`
}

export function gapWords({ reason }: Gap): Words {
  return { headline: 'Movies may be missing here', detail: GAPS.get(reason) ?? GAP }
}

const GAP = 'The gateway cannot give all that came since the last movie you saw.'

const GAPS = new Map<string, string>([
  [
    'retention',
    'You were away longer than the gateway keeps movies. What it had already deleted cannot be shown; what it still has follows above.',
  ],
  [
    'epoch',
    'The gateway has a new journal, so it cannot tell what you have seen. It begins again with the oldest movie that it has.',
  ],
  [
    'unknown',
    'The gateway has lost its newest movies, perhaps since a backup was restored. From here on, all is shown.',
  ],
  [
    'damaged',
    'Some movies cannot be read from the gateway’s disk any more. All others are shown.',
  ],
])

/** What is said aloud of what came, however much at once. */
export function arrivalWords({ live, missed, gaps }: Totals, latest: string): string {
  const said = []
  if (gaps > 0) said.push('Movies may be missing.')
  if (missed > 0) said.push(missedWords(missed))
  if (live === 1) said.push(`New movie: ${latest}.`)
  if (live > 1) said.push(`${live} new movies. The latest: ${latest}.`)
  return said.join(' ')
}

function count(movies: number): string {
  return movies === 1 ? '1 movie' : `${movies} movies`
}

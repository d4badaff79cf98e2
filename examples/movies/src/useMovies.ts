// The topic `movie` of a gateway, for as long as the page is there.

import { useEffect, useReducer, useState } from 'react'
import { subscribe, type CursorStore } from '@hookrill/client'
import { EMPTY, ITEMS_MAX, next, type Log } from './log.ts'

export interface Movies {
  log: Log
  pause(): void
  goOn(): void
  /** Connects at once instead of when it is time. */
  retry(): void
}

export function useMovies(gateway: string): Movies {
  const [log, happen] = useReducer(next, EMPTY)
  const [paused, setPaused] = useState(false)
  const [attempt, setAttempt] = useState(0)
  // Outlives a pause, so that what comes meanwhile is shown behind it; not a
  // reload, which shows the newest movies anyway.
  const [cursor] = useState(memory)

  useEffect(() => {
    if (paused) return
    const stream = subscribe(gateway, {
      topics: 'movie',
      last: ITEMS_MAX,
      cursor,
      onEvent: (event) => happen({ type: 'event', event }),
      onGap: (gap) => happen({ type: 'gap', gap }),
      onState: (state) => {
        // Whoever closes it says so: another one may follow at once.
        if (state.name !== 'closed') happen({ type: 'state', state, at: Date.now() })
      },
    })
    return () => stream.close()
  }, [gateway, cursor, paused, attempt])

  return {
    log,
    pause() {
      setPaused(true)
      happen({ type: 'state', state: { name: 'closed' }, at: Date.now() })
    },
    goOn: () => setPaused(false),
    retry: () => setAttempt(attempt + 1),
  }
}

function memory(): CursorStore {
  let cursor: string | undefined
  return {
    get: () => cursor,
    set: (next) => {
      cursor = next
    },
  }
}

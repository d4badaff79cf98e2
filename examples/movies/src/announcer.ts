// Says aloud what came, without flooding whoever listens: what comes together
// is one sentence, and there is one every few seconds at most.
//
// Invariant: remembers a few numbers and one title, however many come.

import type { Totals } from './log.ts'
import { arrivalWords } from './words.ts'

/** What comes within this time is said together. */
export const GATHER_MS = 1000
/** From one sentence to the next, so that each is heard out. */
export const APART_MS = 6000

export interface Announcer {
  /** How much came so far, and the title of the latest movie. */
  came(totals: Totals, latest: string): void
  stop(): void
}

export function announcer(say: (words: string) => void): Announcer {
  let said: Totals = { live: 0, missed: 0, gaps: 0 }
  let known = said
  let title = ''
  let timer: ReturnType<typeof setTimeout> | undefined

  const news = (): Totals => ({
    live: known.live - said.live,
    missed: known.missed - said.missed,
    gaps: known.gaps - said.gaps,
  })
  const isNews = () => Object.values(news()).some((count) => count > 0)
  const speak = () => {
    timer = undefined
    if (!isNews()) return
    say(arrivalWords(news(), title))
    said = known
    timer = setTimeout(speak, APART_MS)
  }
  return {
    came(totals, latest) {
      known = totals
      title = latest
      if (isNews()) timer ??= setTimeout(speak, GATHER_MS)
    },
    stop() {
      clearTimeout(timer)
      timer = undefined
    },
  }
}

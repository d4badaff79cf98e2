import { useEffect, useState } from 'react'
import { announcer } from './announcer.ts'
import { ConnectionPanel } from './ConnectionPanel.tsx'
import { List } from './List.tsx'
import type { Log } from './log.ts'
import { useMovies } from './useMovies.ts'

interface Props {
  gateway: string
  /** The command that sends a movie. */
  command: string
}

export function Page({ gateway, command }: Props) {
  const movies = useMovies(gateway)
  const { log } = movies
  return (
    <>
      <header>
        <h1>Movies</h1>
        <p>
          Whatever is posted to <code>/ingest/movie</code> shows up here, live.
        </p>
      </header>
      <main>
        <ConnectionPanel movies={movies} />
        <List items={log.items} dropped={log.dropped} />
        <section aria-labelledby="send" className="send">
          <h2 id="send">Send one yourself</h2>
          <p>In a terminal:</p>
          <pre>
            <code>{command}</code>
          </pre>
        </section>
      </main>
      <footer>
        Listens to <code>{gateway}/events/movie</code>
      </footer>
      <Announcements log={log} />
    </>
  )
}

/** What a screen reader says of movies that come; nobody sees it. */
function Announcements({ log }: { log: Log }) {
  const [words, setWords] = useState('')
  const [voice] = useState(() => announcer(setWords))
  const latest = log.items.find((item) => item.kind === 'movie')?.movie.title ?? ''
  useEffect(() => voice.came(log.totals, latest), [voice, log.totals, latest])
  useEffect(() => () => voice.stop(), [voice])
  return (
    <p className="unseen" aria-live="polite" data-announcement>
      {words}
    </p>
  )
}

import { useEffect, useLayoutEffect, useRef, useState, type RefObject } from 'react'
import type { Connection } from './log.ts'
import type { Movies } from './useMovies.ts'
import { connectionWords, missedWords } from './words.ts'

export function ConnectionPanel({ movies }: { movies: Movies }) {
  const { connection, missed } = movies.log
  const { headline, detail } = connectionWords(connection, location.origin)
  const panel = useRef<HTMLElement>(null)
  return (
    <section
      ref={panel}
      tabIndex={-1}
      className="connection"
      aria-labelledby="connection"
      data-state={connection.state.name}
      data-trouble={connection.trouble !== undefined}
    >
      <h2 id="connection" className="unseen">
        Connection
      </h2>
      <span className="lamp" aria-hidden="true" />
      <div className="words">
        <p role="status" aria-atomic="true">
          <strong>{headline}.</strong> {detail}
        </p>
        <NextAttempt connection={connection} />
        {/* Said aloud by the announcements, together with what follows. */}
        {missed > 0 && (
          <p className="missed" data-missed={missed}>
            {missedWords(missed)}
          </p>
        )}
      </div>
      <Buttons movies={movies} panel={panel} />
    </section>
  )
}

interface ButtonsProps {
  movies: Movies
  panel: RefObject<HTMLElement | null>
}

function Buttons({ movies, panel }: ButtonsProps) {
  const { state, trouble } = movies.log.connection
  const isPaused = state.name === 'closed'
  return (
    <div className="buttons">
      {trouble && <TryNow retry={movies.retry} next={panel} />}
      {/* One button, so that whoever pressed it can press it again. */}
      <button onClick={isPaused ? movies.goOn : movies.pause}>
        {isPaused ? 'Go on' : 'Pause'}
      </button>
    </div>
  )
}

interface TryNowProps {
  retry(): void
  /**
   * What has the focus when this has worked, and is gone. Not another button:
   * whoever presses once more would pause what has just begun.
   */
  next: RefObject<HTMLElement | null>
}

function TryNow({ retry, next }: TryNowProps) {
  const own = useRef<HTMLButtonElement>(null)
  useLayoutEffect(() => {
    const button = own.current
    return () => {
      if (document.activeElement !== button) return
      // While one develops, React also runs this for buttons that stay.
      queueMicrotask(() => button?.isConnected || next.current?.focus())
    }
  }, [next])
  return (
    <button ref={own} onClick={retry}>
      Try now
    </button>
  )
}

/** A countdown for the eye; read aloud, it would drown everything else. */
function NextAttempt({ connection: { state, since, trouble } }: { connection: Connection }) {
  const due = state.name === 'waiting' ? since + state.retryIn : undefined
  const seconds = useSecondsUntil(due)
  if (!trouble) return null
  return (
    <p className="attempt" aria-hidden="true">
      {due === undefined || seconds <= 0 ? 'Trying now …' : `Next attempt in ${seconds} s`}
    </p>
  )
}

function useSecondsUntil(due: number | undefined): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    if (due === undefined) return
    const tick = () => setNow(Date.now())
    tick()
    const timer = setInterval(tick, 250)
    return () => clearInterval(timer)
  }, [due])
  return due === undefined ? 0 : Math.ceil((due - now) / 1000)
}

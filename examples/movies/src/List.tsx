import { memo } from 'react'
import { ITEMS_MAX, type GapItem, type Item, type MovieItem } from './log.ts'
import { gapWords } from './words.ts'

interface Props {
  items: Item[]
  dropped: number
}

export function List({ items, dropped }: Props) {
  return (
    <section aria-labelledby="list">
      <h2 id="list">Newest first</h2>
      {items.length === 0 && <p className="empty">No movies yet.</p>}
      {/* Safari forgets that a list without bullets is one. */}
      <ol role="list" aria-labelledby="list">
        {items.map((item) =>
          item.kind === 'movie' ? (
            <Card key={item.id} item={item} />
          ) : (
            <Missing key={item.id} item={item} />
          ),
        )}
      </ol>
      {dropped > 0 && <p className="dropped">Older ones are not shown: these are the newest {ITEMS_MAX}.</p>}
    </section>
  )
}

const Card = memo(function Card({ item }: { item: MovieItem }) {
  const { movie, time, arrival } = item
  return (
    <li className="card" data-kind="movie" data-arrival={arrival} data-id={item.id}>
      <h3 dir="auto">{movie.title}</h3>
      {movie.byline && (
        <p className="byline" dir="auto">
          {movie.byline}
        </p>
      )}
      {movie.fields.length > 0 && (
        <dl>
          {movie.fields.map(({ name, text }, index) => (
            <div key={index}>
              <dt dir="auto">{name}</dt>
              <dd dir="auto">{text}</dd>
            </div>
          ))}
        </dl>
      )}
      {movie.more > 0 && <p className="more">and {movie.more} more</p>}
      <p className="foot">
        {time && <time dateTime={time.toISOString()}>{shown(time)}</time>}
        {arrival === 'missed' && <span className="mark">While you were away</span>}
      </p>
    </li>
  )
})

const Missing = memo(function Missing({ item }: { item: GapItem }) {
  const { headline, detail } = gapWords(item.gap)
  return (
    <li className="gap" data-kind="gap" data-reason={item.gap.reason}>
      <strong>{headline}.</strong> {detail}
    </li>
  )
})

/** The time, and the day where it is not today. */
function shown(time: Date): string {
  const isToday = time.toDateString() === new Date().toDateString()
  return isToday ? time.toLocaleTimeString() : time.toLocaleString()
}

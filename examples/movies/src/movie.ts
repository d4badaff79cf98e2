// What a card shows of a body. Whoever holds the secret can post anything, so
// this takes anything: an object, a list, a number, text, bytes, nothing.
//
// Invariant: a card is small, whatever came. Nothing here makes HTML: React
// writes texts as texts.

export interface Movie {
  title: string
  /** What stands below the title: the year and who directed. */
  byline: string
  fields: Field[]
  /** Fields that are not shown. */
  more: number
}

export interface Field {
  name: string
  text: string
}

export const TEXT_MAX = 200
export const NAME_MAX = 40
export const FIELDS_MAX = 8
/** Items of a list that are spelled out. */
const LISTED_MAX = 20

const TITLES = ['title', 'name', 'movie']
const YEARS = ['year', 'released']
const DIRECTORS = ['director', 'directors', 'directed_by']

export function movieOf(data: unknown): Movie {
  if (!isRecord(data)) return { title: plain(data), byline: '', fields: [], more: 0 }
  const left = new Map(Object.entries(data))
  const title = take(left, TITLES) ?? 'Untitled'
  const year = take(left, YEARS)
  const director = take(left, DIRECTORS)
  const byline = [year, director && `directed by ${director}`].filter(Boolean).join(', ')
  const fields = [...left].slice(0, FIELDS_MAX).map(([name, value]) => ({
    name: cut(name.replaceAll('_', ' ').trim() || 'no name', NAME_MAX),
    text: plain(value),
  }))
  return { title, byline: capital(byline), fields, more: left.size - fields.length }
}

/** The first of these keys that holds something to read, taken out. */
function take(left: Map<string, unknown>, names: string[]): string | undefined {
  const name = names.find((name) => isReadable(left.get(name)))
  if (name === undefined) return undefined
  const text = plain(left.get(name))
  left.delete(name)
  return text
}

function isReadable(value: unknown): boolean {
  if (typeof value === 'string') return value.trim() !== ''
  if (Array.isArray(value)) return value.length > 0 && value.every(isReadable)
  return typeof value === 'number'
}

function plain(value: unknown): string {
  if (typeof value === 'string') return cut(value.trim() || 'Empty text', TEXT_MAX)
  if (value === null || value === undefined) return 'Nothing'
  if (value instanceof Uint8Array) return `${value.byteLength} bytes that are not text`
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) {
    return cut(value.slice(0, LISTED_MAX).map(String).join(', ') || 'Nothing', TEXT_MAX)
  }
  return typeof value === 'object' ? cut(json(value), TEXT_MAX) : String(value)
}

/** JSON.parse reads lists in lists in lists that JSON.stringify cannot write. */
function json(value: object): string {
  try {
    return JSON.stringify(value)
  } catch {
    return 'Something deeply nested'
  }
}

/** At most `max` characters. By code points, so that no emoji is halved. */
function cut(text: string, max: number): string {
  // No slice of code units that long holds fewer than `max` code points.
  const points = [...text.slice(0, 2 * max + 1)]
  return points.length <= max ? text : points.slice(0, max - 1).join('').trimEnd() + '…'
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function isRecord(data: unknown): data is Record<string, unknown> {
  const isObject = typeof data === 'object' && data !== null
  return isObject && !Array.isArray(data) && !(data instanceof Uint8Array)
}

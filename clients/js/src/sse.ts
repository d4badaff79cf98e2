// Reads Server-Sent Events as they come (WHATWG HTML, 9.2.5 and 9.2.6).
//
// Invariants: it does not matter where the bytes were cut into chunks; an
// event has at most `max` characters, and what is longer is dropped as it comes.

/** What a blank line ends, where there is data. */
export interface Message {
  /** The last id that was said, here or before; empty if none was. */
  id: string
  type: string
  data: string
  /** Whether it was longer than it may be; then its data is empty. */
  long: boolean
}

// What breaks off in the middle of a line becomes a comment, so that nobody
// takes the rest of it for a field.
const COMMENT = ':'

/** The field's name and value; the name of a comment is empty. */
function split(line: string): [string, string] {
  const colon = line.indexOf(':')
  if (colon < 0) return [line, '']
  return [line.slice(0, colon), line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1))]
}

export class Parser {
  /** What the server last asked to wait before a reconnect, in milliseconds. */
  retry: number | undefined

  // It takes a byte order mark off, and keeps what is cut within a character.
  readonly #decoder = new TextDecoder()
  readonly #max: number
  #line = ''
  #afterCr = false
  #id = ''
  #type = ''
  #data = ''
  #long = false

  constructor(max: number) {
    this.#max = max
  }

  /** The messages that end in this chunk. To be read to the end. */
  *feed(chunk: Uint8Array): Generator<Message> {
    let text = this.#decoder.decode(chunk, { stream: true })
    if (!text) return
    if (this.#afterCr && text[0] === '\n') text = text.slice(1)
    this.#afterCr = text.endsWith('\r')
    const lines = text.split(/\r\n|\r|\n/)
    lines[0] = this.#line + lines[0]
    this.#line = lines.pop() ?? ''
    for (const line of lines) {
      if (!line) {
        if (this.#data) yield this.#message()
        this.#type = ''
      } else if (!this.#isDropped(line)) this.#field(line)
    }
    if (this.#isDropped(this.#line)) this.#line = COMMENT
  }

  /** Where a line is too much, only that there was an event is kept of it. */
  #isDropped(line: string): boolean {
    if (this.#data.length + line.length <= this.#max) return false
    if (line[0] !== COMMENT) {
      this.#long = true
      this.#data = '\n'
    }
    return true
  }

  #field(line: string): void {
    const [name, value] = split(line)
    if (name === 'data') {
      if (!this.#long) this.#data += `${value}\n`
    } else if (name === 'event') {
      this.#type = value
    } else if (name === 'id') {
      if (!value.includes('\0')) this.#id = value
    } else if (name === 'retry' && /^\d+$/.test(value)) {
      this.retry = Number(value)
    }
  }

  #message(): Message {
    const message = {
      id: this.#id,
      type: this.#type || 'message',
      data: this.#data.slice(0, -1),
      long: this.#long,
    }
    this.#data = ''
    this.#long = false
    return message
  }
}

// The parser, by the WHATWG's text, wherever the bytes are cut.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Parser } from '../dist/sse.js'

const MAX = 1_000_000
const bytes = (text) => new TextEncoder().encode(text)

function parse(chunks, max = MAX) {
  const parser = new Parser(max)
  const messages = chunks.flatMap((chunk) => [...parser.feed(chunk)])
  return { messages, retry: parser.retry }
}

const parsed = (text) =>
  parse([bytes(text)]).messages.map(({ id, type, data }) => ({ id, type, data }))
const message = (data, id = '', type = 'message') => ({ id, type, data })

// What a stream says, after the text: over the whole of it at once.
function reference(text) {
  let [id, type, data, retry] = ['', '', [], undefined]
  const messages = []
  const lines = text.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n').split('\n')
  // What no line end follows is not processed.
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      if (data.length) messages.push({ id, type: type || 'message', data: data.join('\n'), long: false })
      ;[type, data] = ['', []]
      continue
    }
    const at = line.includes(':') ? line.indexOf(':') : line.length
    const value = line.slice(at + 1).replace(/^ /, '')
    const field = line.slice(0, at)
    if (field === 'data') data.push(value)
    if (field === 'event') type = value
    if (field === 'id' && !value.includes('\0')) id = value
    if (field === 'retry' && /^[0-9]+$/.test(value)) retry = Number(value)
  }
  return { messages, retry }
}

for (const [claim, text, messages] of [
  ['lines of data are joined', 'data: a\ndata: b\n\n', [message('a\nb')]],
  ['a CR ends a line', 'data: a\rdata: b\r\r', [message('a\nb')]],
  ['CRLF is one end', 'data: a\r\ndata: b\r\n\r\n', [message('a\nb')]],
  ['ends may be mixed', 'data: a\n\rdata: b\r\r\n', [message('a'), message('b')]],
  ['a byte order mark is taken off', '\ufeffdata: a\n\n', [message('a')]],
  ['only at the beginning', 'data: a\n\n\ufeffdata: b\n\n', [message('a')]],
  ['only one', '\ufeff\ufeffdata: b\n\n', []],
  ['one space is taken off', 'data:  a\ndata:b\n\n', [message(' a\nb')]],
  ['a tab is not', 'data:\ta\n\n', [message('\ta')]],
  ['a name alone is an empty value', 'data\ndata\n\n', [message('\n')]],
  ['empty data is data', 'data:\n\n', [message('')]],
  ['no data fires nothing', 'event: x\nid: 1\n\n', []],
  ['an id stays', 'id: 1\n\ndata: a\n\nid: 2\ndata: b\n\ndata: c\n\n', [
    message('a', '1'), message('b', '2'), message('c', '2')]],
  ['an empty id is one', 'id: 1\ndata: a\n\nid\ndata: b\n\n', [message('a', '1'), message('b')]],
  ['an id with NUL is ignored', 'id: 1\nid: 2\0\ndata: a\n\n', [message('a', '1')]],
  ['a type counts once', 'event: x\ndata: a\n\ndata: b\n\n', [message('a', '', 'x'), message('b')]],
  ['a type without data is forgotten', 'event: x\n\ndata: b\n\n', [message('b')]],
  ['comments are not heard', ':\n: a\n:data: a\ndata: b\n\n', [message('b')]],
  ['fields are named exactly', 'Data: a\n data: a\ndatas: a\ndata : a\n\n', []],
  ['a colon may be in a value', 'data: a: b\n\n', [message('a: b')]],
  ['what is cut at the end is discarded', 'data: a\n\ndata: b\n', [message('a')]],
  ['a lone surrogate is no trouble', 'data: \ud800\n\n', [message('\ufffd')]],
]) {
  test(claim, () => assert.deepEqual(parsed(text), messages))
}

test('a wait is made of digits', () => {
  for (const [value, retry] of [['15', 15], ['0', 0], ['1.5', undefined], ['-1', undefined],
    ['1e3', undefined], ['0x1', undefined], ['', undefined], ['1 ', undefined], ['١', undefined]]) {
    assert.equal(parse([bytes(`retry: ${value}\n`)]).retry, retry, value)
  }
  assert.equal(parse([bytes('retry: 5\nretry: x\n')]).retry, 5)
})

const ALL_OF_IT =
  '\ufeffretry: 7\r\n\r\n: comment é\revent: Grüße\r\ndata: 💡\rdata: \ufeff\n\nid: e-1\r\n' +
  'data\r\ndata: a\u2028b\u0085c\r\r\n\nid: 2\0\nid:é\ndata: {"a":\t"€"}\n\n\r\rdata: cut'

test('it does not matter where bytes are cut', () => {
  const whole = bytes(ALL_OF_IT)
  const expected = reference(ALL_OF_IT)
  assert.equal(expected.messages.length, 3)
  assert.deepEqual(parse([whole]), expected)
  assert.deepEqual(parse([...whole].map((byte) => Uint8Array.of(byte))), expected)
  for (let one = 0; one <= whole.length; one += 1) {
    for (let other = one; other <= whole.length; other += 1) {
      const chunks = [whole.slice(0, one), whole.slice(one, other), whole.slice(other)]
      assert.deepEqual(parse(chunks), expected, `cut at ${one} and ${other}`)
    }
  }
})

// The same at each run, so that what fails can be looked at.
function* dice(seed) {
  for (;;) {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    yield (max) => (seed >> 8) % max
  }
}

test('any text means what the whole of it means', () => {
  const PIECES = ['data', 'id', 'event', 'retry', ':', ': ', ' ', '\r', '\n', '\r\n', '\n\n', 'a',
    '7', '\0', 'é', '💡', '\ufeff', 'data: x\n\n']
  const throws = dice(7)
  const roll = (max) => throws.next().value(max)
  for (let round = 0; round < 20_000; round += 1) {
    const text = Array.from({ length: roll(24) }, () => PIECES[roll(PIECES.length)]).join('')
    const whole = bytes(text)
    const chunks = []
    for (let at = 0; at < whole.length; ) {
      const end = at + 1 + roll(6)
      chunks.push(whole.slice(at, end))
      at = end
    }
    assert.deepEqual(parse(chunks), reference(text), JSON.stringify(text))
  }
})

test('bytes that are no UTF-8 are replaced, and nothing else', () => {
  const chunks = [bytes('data: a'), Uint8Array.of(0xff, 0xe2, 0x82), bytes('b\n\n')]
  assert.equal(parse(chunks).messages[0].data, 'a\ufffd\ufffdb')
})

test('an event that is too long is dropped as it comes, and those around it are not', () => {
  const long = 'x'.repeat(30)
  for (const middle of [
    `data: ${long}\n`, `data: ${'y'.repeat(15)}\n`.repeat(2), `data: ${long}data: a\n`,
    `data: a\ndata: ${long}\ndata: b\n`, `data${long}:a\ndata: b\n`,
  ]) {
    const text = `id: 1\ndata: before\n\nid: 2\n${middle}\nid: 3\ndata: behind\n\n`
    for (const size of [1, 3, 7, 1000]) {
      const whole = bytes(text)
      const chunks = []
      for (let at = 0; at < whole.length; at += size) chunks.push(whole.slice(at, at + size))
      const { messages } = parse(chunks, 20)
      assert.deepEqual(messages.map(({ id, data, long }) => [id, data, long]), [
        ['1', 'before', false], ['2', '', true], ['3', 'behind', false],
      ], `${middle} by ${size}`)
    }
  }
})

test('a long comment is no event, and takes no room', () => {
  const parser = new Parser(20)
  const chunks = [bytes('data: a\n:'), ...Array(100).fill(bytes('x'.repeat(15))), bytes('\n\n')]
  const messages = chunks.flatMap((chunk) => [...parser.feed(chunk)])
  assert.deepEqual(messages, [{ ...message('a'), long: false }])
})

test('an event of the longest size is whole', () => {
  const value = 'x'.repeat(20)
  // A line counts with its name until it ends.
  assert.deepEqual(parse([bytes(`data: ${value}\n\n`)], 26).messages[0].data, value)
})

test('a long event takes time in proportion to its length', () => {
  // With a search from its beginning at each chunk this takes minutes.
  const chunk = bytes('x'.repeat(1000))
  const parser = new Parser(2 ** 26)
  const first = [...parser.feed(bytes('data: '))]
  for (let count = 0; count < 20_000; count += 1) first.push(...parser.feed(chunk))
  const [{ data }] = [...first, ...parser.feed(bytes('\n\n'))]
  assert.equal(data.length, 20_000_000)
})

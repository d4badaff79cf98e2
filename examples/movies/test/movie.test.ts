import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FIELDS_MAX, movieOf, NAME_MAX, TEXT_MAX } from '../src/movie.ts'

test('a movie has its title, its year and who directed it', () => {
  const movie = movieOf({ year: 1995, title: ' Heat ', director: 'Michael Mann', minutes: 170 })
  assert.deepEqual(movie, {
    title: 'Heat',
    byline: '1995, directed by Michael Mann',
    fields: [{ name: 'minutes', text: '170' }],
    more: 0,
  })
})

test('whatever else comes is a card as well', () => {
  const bytes = new Uint8Array([255, 0])
  const titles = [
    ['text', 'text'],
    ['  ', 'Empty text'],
    [7, '7'],
    [false, 'false'],
    [null, 'Nothing'],
    [undefined, 'Nothing'],
    [[], 'Nothing'],
    [['a', 1, true], 'a, 1, true'],
    [[{ a: 1 }], '[{"a":1}]'],
    [bytes, '2 bytes that are not text'],
    [{}, 'Untitled'],
    [{ title: null, name: '' }, 'Untitled'],
    [{ title: { en: 'Heat' }, name: 'By its name' }, 'By its name'],
    [{ __proto__: null, title: 'Bare' }, 'Bare'],
    [JSON.parse('{"__proto__":{"title":"Hidden"},"toString":1}'), 'Untitled'],
  ] as const
  for (const [data, title] of titles) assert.equal(movieOf(data).title, title)
})

test('a list of directors is spelled out, and one alone begins with a capital', () => {
  const movie = movieOf({ title: 'Fargo', directors: ['Joel Coen', 'Ethan Coen'] })
  assert.equal(movie.byline, 'Directed by Joel Coen, Ethan Coen')
})

test('HTML stays the text that it is', () => {
  const html = '<img src=x onerror=alert(1)>'
  assert.equal(movieOf({ title: html }).title, html)
})

test('a card is small, whatever comes', () => {
  const long = 'x'.repeat(1_000_000)
  const data = Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`${n} ${long.slice(0, 99)}`, long]))
  const movie = movieOf({ title: long, year: long, director: [long], ...data })
  assert.equal(movie.title.length, TEXT_MAX)
  assert.ok(movie.byline.length < 3 * TEXT_MAX)
  assert.equal(movie.fields.length, FIELDS_MAX)
  assert.equal(movie.more, 1000 - FIELDS_MAX)
  for (const { name, text } of movie.fields) {
    assert.ok(name.length <= NAME_MAX)
    assert.ok(text.length <= TEXT_MAX)
  }
})

test('what is cut is cut between characters', () => {
  const { title } = movieOf({ title: '🎬'.repeat(TEXT_MAX + 1) })
  assert.equal(title, '🎬'.repeat(TEXT_MAX - 1) + '…')
  assert.equal(movieOf({ title: '🎬'.repeat(TEXT_MAX) }).title, '🎬'.repeat(TEXT_MAX))
})

test('lists in lists in lists harm nobody', () => {
  const deep = JSON.parse('['.repeat(200_000) + ']'.repeat(200_000))
  assert.equal(movieOf({ title: 'Deep', deep }).fields[0]?.text, 'Something deeply nested')
  assert.equal(movieOf(deep).title, 'Something deeply nested')
})

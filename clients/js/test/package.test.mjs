// What is published: its size, its files, its types.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'

const SIZE_MAX = 3000
const here = fileURLToPath(new URL('..', import.meta.url))
const read = (path) => readFile(`${here}/${path}`, 'utf8')
const run = (program, ...args) => promisify(execFile)(program, args, { cwd: here })

test(`the main entry has at most ${SIZE_MAX} bytes, minified and compressed`, async (t) => {
  const size = gzipSync(await read('dist/hookrill.min.js')).length
  t.diagnostic(`${size} bytes`)
  assert.ok(size <= SIZE_MAX, `${size}`)
})

test('that one file is all there is to it', async () => {
  const minified = await read('dist/hookrill.min.js')
  assert.doesNotMatch(minified, /\bimport\b|\brequire\b|sourceMappingURL/)
  const { stored, subscribe } = await import('../dist/hookrill.min.js')
  assert.deepEqual([typeof stored, typeof subscribe], ['function', 'function'])
})

test('the package depends on nothing but, where it is used, React', async () => {
  const { dependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(await read('package.json'))
  assert.equal(dependencies, undefined)
  assert.deepEqual(Object.keys(peerDependencies), ['react'])
  assert.equal(peerDependenciesMeta.react.optional, true)
  for (const file of await readdir(`${here}/dist`)) {
    const imports = [...(await read(`dist/${file}`)).matchAll(/\bfrom '([^'.][^']*)'/g)]
    assert.deepEqual(imports.map(([, name]) => name), file === 'react.js' ? ['react'] : [], file)
  }
})

test('frameworks are told that the hook is for clients', async () => {
  assert.match(await read('dist/react.js'), /^'use client'/)
})

test('what is published is what is used', async () => {
  // It was built just now, and others are reading it.
  const { stdout } = await run('npm', 'pack', '--dry-run', '--json', '--ignore-scripts')
  const [{ files, name }] = JSON.parse(stdout)
  const modules = ['event', 'index', 'react', 'sse', 'stored', 'subscribe', 'types']
  const built = modules.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`])
  assert.equal(name, '@hookrill/client')
  assert.deepEqual(files.map(({ path }) => path).sort(), [
    'LICENSE-APACHE', 'LICENSE-MIT', 'README.md', ...built, 'dist/hookrill.min.js', 'package.json',
  ].sort())
})

test('every entry is there, with its types', async () => {
  const { exports, types } = JSON.parse(await read('package.json'))
  const paths = Object.values(exports).flatMap((entry) => (entry.default ? Object.values(entry) : [entry]))
  assert.equal(paths.length, 7)
  for (const path of [...paths, types]) assert.ok(await read(path), path)
  const main = await import('@hookrill/client')
  assert.deepEqual(Object.keys(main), ['stored', 'subscribe'])
  assert.deepEqual(Object.keys(await import('@hookrill/client/react')), ['useTopic'])
})

test('the licences are those of the project', async () => {
  for (const licence of ['LICENSE-APACHE', 'LICENSE-MIT']) {
    assert.equal(await read(licence), await read(`../../${licence}`))
  }
})

for (const [resolution, ...how] of [
  ['NodeNext'],
  ['bundler', '--module', 'preserve', '--moduleResolution', 'bundler'],
]) {
  test(`what users write has its types (${resolution})`, async () => {
    const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
    const checked = run(process.execPath, tsc, '--project', 'test/types', ...how)
    await checked.catch(({ stdout }) => assert.fail(stdout))
  })
}

test('the code in the README can be read', async () => {
  const blocks = [...(await read('README.md')).matchAll(/```(?:js|tsx?)\n(.*?)```/gs)]
  assert.ok(blocks.length >= 3)
  const { transform } = await import('esbuild')
  for (const [, code] of blocks) await transform(code, { loader: 'tsx', format: 'esm' })
})

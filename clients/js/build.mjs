// Builds dist/: the modules with their types, and the main entry once more as
// one minified file, for a page without a bundler.

import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { buildSync } from 'esbuild'

const here = import.meta.dirname ?? new URL('.', import.meta.url).pathname
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')

// What is not built any more must not be published.
rmSync(`${here}/dist`, { recursive: true, force: true })
execFileSync(process.execPath, [tsc, '--project', here], { stdio: 'inherit' })
buildSync({
  absWorkingDir: here,
  entryPoints: ['src/index.ts'],
  outfile: 'dist/hookrill.min.js',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
})

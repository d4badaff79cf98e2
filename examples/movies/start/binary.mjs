// Which Hookrill runs: the one that HOOKRILL_BINARY names, else this
// repository's, built by cargo.

import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Failure } from './failure.mjs'

/** @returns {Promise<{ path: string, shown: string }>} `shown` can be pasted. */
export async function program(say) {
  const named = process.env.HOOKRILL_BINARY
  const path = named ? executable(named) : await build(say)
  const near = relative(process.cwd(), path)
  const shown = near.startsWith('../../target/') ? near : path
  return { path, shown: /^[\w./-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", `'\\''`)}'` }
}

function executable(named) {
  // npm runs this in the example's folder, whoever called it from elsewhere.
  const path = resolve(process.env.INIT_CWD ?? '.', named)
  try {
    accessSync(path, constants.X_OK)
  } catch {
    throw new Failure(`HOOKRILL_BINARY names ${path}, which is no program.`)
  }
  return path
}

async function build(say) {
  say('Building Hookrill; the first time takes some minutes.')
  const args = ['build', '--release', '--bin', 'hookrill', '--manifest-path', '../../Cargo.toml']
  // Not `cargo run`, which would stand between this and the gateway's signals.
  const cargo = spawn('cargo', [...args, '--message-format=json-render-diagnostics'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  // Ctrl-C reaches both; what ends this alone has to end cargo too.
  process.once('exit', () => cargo.kill())
  let path
  createInterface({ input: cargo.stdout }).on('line', (line) => {
    path = JSON.parse(line).executable ?? path
  })
  const status = await new Promise((resolve, reject) => {
    cargo.on('error', reject)
    cargo.on('close', resolve)
  }).catch((error) => {
    if (error.code !== 'ENOENT') throw error
    throw new Failure(
      'cargo is missing. Install Rust (rustup.rs), or name a Hookrill that you have: HOOKRILL_BINARY=… npm start',
    )
  })
  if (status !== 0 || path === undefined) throw new Failure('Hookrill was not built; cargo says why above.')
  return path
}

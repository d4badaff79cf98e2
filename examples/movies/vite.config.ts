// Where the page is served from while one works on it, and what it is built of.

import { fileURLToPath } from 'node:url'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The package's source, so that a fresh clone has nothing to build first. An
// app of your own installs the packed @hookrill/client and has no such line,
// nor `paths` in tsconfig.json.
const client = fileURLToPath(new URL('../../clients/js/src/index.ts', import.meta.url))

// Another port would be another origin, which the gateway does not know.
const address = { host: '127.0.0.1', port: 5173, strictPort: true }

export default defineConfig({
  // The built page works in any folder of any server.
  base: './',
  plugins: [react()],
  resolve: { alias: { '@hookrill/client': client } },
  server: address,
  preview: address,
})

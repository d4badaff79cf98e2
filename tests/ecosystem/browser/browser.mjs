// Debian's Chromium by its DevTools protocol, Debian's Firefox by WebDriver
// BiDi. Both start with nothing of anybody's, and ask nobody but the pages'
// servers.

import puppeteer from 'puppeteer-core'

const isRoot = process.getuid() === 0

const CHROMIUM = [
  // Chromium refuses to be root's with its sandbox.
  ...(isRoot ? ['--no-sandbox'] : []),
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1',
]

const LAUNCHES = {
  chromium: { browser: 'chrome', executablePath: '/usr/bin/chromium', args: CHROMIUM },
  firefox: { browser: 'firefox', executablePath: '/usr/bin/firefox-esr' },
}

export function launch(name, folder) {
  const { PATH, LANG = 'C.UTF-8' } = process.env
  return puppeteer.launch({
    ...LAUNCHES[name],
    headless: true,
    userDataDir: folder,
    // The certificate of the proxy before the gateway is its own.
    acceptInsecureCerts: true,
    env: { PATH, LANG, HOME: folder, TMPDIR: folder, MOZ_CRASHREPORTER_DISABLE: '1' },
  })
}

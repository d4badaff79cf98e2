// Where the gateway is: what the address bar says, else what the page was
// built with, else where `hookrill serve` listens.

const DEFAULT = 'http://127.0.0.1:8080'

/** @throws Error where it is no address of a gateway. */
export function gatewayOf(search: string, built: string | undefined): string {
  const written = new URLSearchParams(search).get('gateway') || built || DEFAULT
  const url = URL.canParse(written) ? new URL(written) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new Error(`“${written}” is no address of a gateway; one looks like ${DEFAULT}`)
  }
  return url.href.replace(/\/$/, '')
}

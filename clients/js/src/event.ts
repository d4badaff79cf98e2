// From the gateway's JSON to an event.

import type { HookrillEvent } from './types.js'

/** Reads an event in CloudEvents' JSON format; throws where it is none. */
export function readEvent<T>(json: string): HookrillEvent<T> {
  const { data_base64: base64, ...event } = JSON.parse(json)
  if (base64 !== undefined) event.data = readBytes(base64, event.datacontenttype)
  return event
}

// JSON comes this way too where SSE could not carry it to the byte.
function readBytes(base64: string, type: string): unknown {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))
  if (!/[/+]json *(;|$)/i.test(type)) return bytes
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return bytes
  }
}

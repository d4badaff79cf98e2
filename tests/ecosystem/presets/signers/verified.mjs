// One delivery, verified: accepted as it is by somebody else's verifier, and
// refused by it with one byte of body, signature or signed timestamp changed.
//
// Invariant: a line is printed only after its checks held; the first that does
// not ends the program, so that no preset rests on a check that was not made.

import { createHmac } from 'node:crypto'

export const PUBLIC_URL = 'https://hooks.example.com'

/** `hmac('sha256', secret, 'hex', part, part …)` */
export const hmac = (hash, secret, encoding, ...parts) =>
  parts.reduce((mac, part) => mac.update(part), createHmac(hash, secret)).digest(encoding)

const seen = new Set()
export const presets = () => seen

/**
 * Verifies a delivery and prints its line.
 *
 * `accepts(request)` is the foreign verifier: true, or nothing at all, is yes;
 * false and an exception are no. `request` has the `headers` in lower case, the
 * `body` as text, its `bytes`, the `url` and the `method`.
 * `signature` names the headers whose change must be refused, and `timestamp`
 * the header that carries a signed time (`[header, pattern]` where it is part
 * of one). `inBody` is for those whose signature is there. Where the SDK `signs`
 * and has no verifier, there is nothing to ask.
 */
export async function verified(delivery, { accepts, signature = [], timestamp, inBody = false } = {}) {
  const whole = {
    role: accepts ? 'verifies' : 'signs',
    public_url: null,
    method: 'POST',
    target: `/ingest/${delivery.preset}`,
    ...delivery,
    body: Buffer.from(delivery.body),
  }
  if (accepts) {
    if (signature.length === 0 && !inBody) throw new Error(`${whole.preset}: which header is the signature?`)
    await holds(whole, accepts, [].concat(signature), timestamp)
  }
  print(whole)
}

/** Prints a line whose facts were checked by the caller, or that has none. */
export function print({ preset, provider, by, role, secret, public_url = null, method = 'POST', target = `/ingest/${preset}`, headers, body, at_ms = Date.now(), expect, handshake }) {
  seen.add(preset)
  const line = {
    preset, provider, by, role, secret, public_url, method, target, headers,
    body_base64: Buffer.from(body).toString('base64'), at_ms,
    expect: { dedup_id: null, event_type: null, ...expect },
    ...(handshake && { handshake }),
  }
  process.stdout.write(JSON.stringify(line) + '\n')
}

async function holds(delivery, accepts, signature, timestamp) {
  const { preset, headers, body } = delivery
  const says = async (changed) => {
    const { headers, body, public_url, target, method } = { ...delivery, ...changed }
    try {
      const answer = await accepts({
        headers: Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])),
        body: body.toString(),
        bytes: body,
        url: (public_url ?? PUBLIC_URL) + target,
        method,
      })
      return answer !== false
    } catch {
      return false
    }
  }
  const must = async (yes, what, changed) => {
    if ((await says(changed)) !== yes) throw new Error(`${preset}: the foreign verifier must ${yes ? 'accept' : 'refuse'} ${what}`)
  }
  const header = (names, change) => {
    const lower = names.map((name) => name.toLowerCase())
    return { headers: headers.map(([name, value]) => [name, lower.includes(name.toLowerCase()) ? change(value) : value]) }
  }
  await must(true, 'the delivery', {})
  if (body.length > 0) await must(false, 'another body', { body: otherBody(body) })
  if (signature.length > 0) await must(false, 'other signatures', header(signature, otherSignature))
  if (timestamp) {
    const [name, pattern = /.+/] = [].concat(timestamp)
    await must(false, 'another timestamp', header([name], (value) => value.replace(pattern, otherDigit)))
  }
  // The last refusal may have left something behind in the verifier.
  await must(true, 'the delivery again', {})
}

/** One letter changed, near the end, where a body of JSON has its last text. */
function otherBody(body) {
  const changed = Buffer.from(body)
  const at = changed.findLastIndex((byte) => byte >= 0x61 && byte <= 0x79)
  changed[at < 0 ? changed.length - 1 : at] += 1
  return changed
}

/** One character changed in the middle of each long run of hex or base64. */
const otherSignature = (value) =>
  value.replace(/[0-9A-Za-z+/_-]{20,}/g, (run) => {
    const at = run.length >> 1
    return run.slice(0, at) + (run[at] === '1' ? '2' : '1') + run.slice(at + 1)
  })

/** The last digit changed, which keeps a timestamp fresh. */
const otherDigit = (text) => text.replace(/\d(?=\D*$)/, (digit) => (Number(digit) + 1) % 10)

// Prints deliveries, one JSON object a line, signed or checked by packages that
// nobody of this project wrote. With signers.py it is the evidence for the presets:
// one without a line here, there or in vectors.json is not shipped.
//
// A line is a whole delivery, made at the time of the run:
//
//   preset, provider    whose it is
//   by                  package, version and function, or a page of documentation
//   role                signs: the package made the signature
//                       verifies: Node's crypto made it, and the package accepted it
//                       token: nothing is signed; a token goes where the line shows
//                       vector: the values stand in the provider's documentation
//   secret              as a user writes it into Hookrill's configuration
//   public_url, target  the sender's URL is one after the other; null where none is signed
//   method, headers, body_base64, at_ms
//   expect              dedup_id and event_type, null where the provider has none
//   handshake           where there is one: the status, headers and body to answer with
//                       (JSON means the same in another order), and the verify_token
//                       that Meta's has beside the secret
//
// What was accepted was also refused with one byte of body, signature and signed
// timestamp changed; a check that does not hold ends the program with its name.
//
//   npm ci && node signers.mjs | node check.mjs
//
// signers/load.mjs says how a verifier is loaded out of an SDK whose own
// dependencies are not installed, and lock.mjs why they are not.

const FILES = ['body', 'timestamped', 'standard-webhooks', 'n8n', 'nuxt-and-tern', 'keys', 'tokens', 'handshakes']
const HELPERS = ['zoomAnswer']

for (const file of FILES) {
  const made = await import(`./signers/${file}.mjs`)
  for (const [name, provider] of Object.entries(made)) {
    if (!HELPERS.includes(name)) await provider()
  }
}
// Some SDKs leave timers behind.
process.exit(0)

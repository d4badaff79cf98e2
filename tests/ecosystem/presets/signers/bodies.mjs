// Bodies that providers send. Each ends in a text, where a byte can be changed
// and the body stays JSON; `again` lays the same out differently.

/** Not ASCII, escaped and not, with what JSON leaves as it is in a text. */
export const HARD = 'Zoë \u2028 </script> "quoted" \\ 🪝 tail'

export const json = (value, space) => JSON.stringify({ ...value, note: HARD }, null, space)
/** For verifiers that write the JSON anew before they look at it. */
export const plain = (value) => JSON.stringify({ ...value, note: 'tail' })

export const seconds = () => Math.floor(Date.now() / 1000)
let count = 0
/** Another id at each call, the same in each run. */
export const id = (prefix = '') => `${prefix}${String(++count).padStart(12, '0')}`
export const uuid = () => `00000000-0000-4000-8000-${id()}`
export const JSON_TYPE = ['Content-Type', 'application/json']

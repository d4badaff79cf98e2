// Keeps a cursor where a reload of the page finds it.

import type { CursorStore } from './types.js'

type KeyValue = Pick<Storage, 'getItem' | 'setItem'>

/**
 * Keeps the position under `key`, in `localStorage` if nothing else is given.
 * Where that can't be used, it is as if nothing had been kept: it is missing
 * in workers, throws where a browser forbids it, and may be full.
 */
export function stored(key: string, storage?: KeyValue): CursorStore {
  const use = <V>(how: (storage: KeyValue) => V): V | undefined => {
    try {
      return how(storage ?? localStorage)
    } catch {
      return undefined
    }
  }
  return {
    get: () => use((storage) => storage.getItem(key)),
    set: (cursor) => use((storage) => storage.setItem(key, cursor)),
  }
}

export { stored } from './stored.js'
export { subscribe } from './subscribe.js'
export type {
  CursorStore,
  Gap,
  HookrillEvent,
  Options,
  Problem,
  State,
  Stream,
  Token,
  Why,
  Withheld,
} from './types.js'

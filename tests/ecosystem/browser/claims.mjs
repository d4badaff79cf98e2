// All that is claimed, by its name.

export * from './claims/live.mjs'
export * from './claims/movies.mjs'
export * from './claims/outage.mjs'
export * from './claims/origin.mjs'
export * from './claims/tabs.mjs'
export * from './claims/token.mjs'

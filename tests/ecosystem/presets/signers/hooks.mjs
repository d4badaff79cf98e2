// Answers for what ES modules of node_modules import and nobody installed.
//
// nuxt-webhook-validators reads requests through `h3` and its secrets through
// Nuxt's `#imports`: both are nuxt.mjs here. The rest is `inert`.

const NUXT = ['h3', '#imports']

export async function resolve(name, context, next) {
  if (!context.parentURL?.includes('/node_modules/')) return next(name, context)
  if (NUXT.includes(name)) return { url: new URL('./nuxt.mjs', import.meta.url).href, shortCircuit: true }
  return next(name, context)
}

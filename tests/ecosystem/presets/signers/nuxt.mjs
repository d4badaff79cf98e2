// What nuxt-webhook-validators takes from its server: a request's headers and
// body as they came, and the secrets that a site configures.

export const secrets = {}
export const useRuntimeConfig = () => ({ webhook: secrets })
export const getRequestHeaders = ({ req }) => Object.fromEntries(req.headers)
export const getRequestHeader = ({ req }, name) => req.headers.get(name)
export const getRequestIP = () => '127.0.0.1'
export const readRawBody = ({ req }) => req.clone().text()
export const createError = ({ message }) => new Error(message)

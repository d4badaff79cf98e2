interface ImportMetaEnv {
  /** Where the gateway is; `?gateway=` goes before it. */
  readonly VITE_GATEWAY?: string
  /** The command that sends a movie, as the page shows it. */
  readonly VITE_SEND?: string
}

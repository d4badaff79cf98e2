import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Page } from './Page.tsx'
import { gatewayOf } from './gateway.ts'
import './style.css'

function render(root: HTMLElement): void {
  try {
    const gateway = gatewayOf(location.search, import.meta.env.VITE_GATEWAY)
    const command = import.meta.env.VITE_SEND ?? SEND
    createRoot(root).render(
      <StrictMode>
        <Page gateway={gateway} command={command} />
      </StrictMode>,
    )
  } catch (error) {
    root.textContent = error instanceof Error ? error.message : String(error)
  }
}

const SEND = `hookrill send movie '{"title":"Heat","year":1995,"director":"Michael Mann"}'`

const root = document.getElementById('page')
if (root) render(root)

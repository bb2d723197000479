/** What several pages are made of. @module */
import { type ComponentChildren, type Context, createContext, type JSX } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import type { Hex } from '#protocol/bytes.ts'
import type { ExplorerConfig } from '../config.ts'
import { short } from '../format.ts'
import type { Reader } from '../reader.ts'
import type { Step, StepState, Verdict } from '../steps.ts'

/** Where a page reads from. */
export type Sources = { readonly config: ExplorerConfig; readonly reader: Reader }

/** Makes the fragment for a path. */
export const Linking: Context<(path: string) => string> = createContext((path: string) => `#${path}`)

export function Fact({
  name,
  hint,
  children,
}: {
  readonly name: string
  readonly hint?: string | undefined
  readonly children: ComponentChildren
}): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {children}
        {hint !== undefined && <span class="hint">{hint}</span>}
      </dd>
    </div>
  )
}

export function EnclaveLink({ enclave }: { readonly enclave: Hex }): JSX.Element {
  const link = useContext(Linking)
  return (
    <a class="mono" href={link(`/enclave/${enclave}`)} title={enclave}>
      {short(enclave)}
    </a>
  )
}

export function BatchLink({ batch }: { readonly batch: bigint }): JSX.Element {
  const link = useContext(Linking)
  return <a href={link(`/batch/${batch}`)}>Batch {String(batch)}</a>
}

export function DevelopmentMark(): JSX.Element {
  return (
    <span class="mark" title="No hardware stands behind it">
      development
    </span>
  )
}

const WORDS: Readonly<Record<StepState, string>> = {
  passed: 'Passed',
  failed: 'FAILED',
  open: 'Open',
  skipped: 'Skipped',
}
const SIGNS: Readonly<Record<StepState, string>> = { passed: '✓', failed: '✗', open: '…', skipped: '–' }

export function Steps({ steps }: { readonly steps: readonly Step[] }): JSX.Element {
  return (
    <ol class="steps">
      {steps.map(({ name, title, state, says }) => (
        <li key={name} class={state} data-step={name} data-state={state}>
          <span class="sign" aria-hidden="true">
            {SIGNS[state]}
          </span>
          <div>
            <h3>
              {title} <span class="state">{WORDS[state]}</span>
            </h3>
            <p>{says}</p>
          </div>
        </li>
      ))}
    </ol>
  )
}

export function VerdictLine({ verdict }: { readonly verdict: Verdict | undefined }): JSX.Element {
  return (
    <p class={`verdict ${verdict?.state ?? ''}`} role="status" aria-live="polite" data-verdict={verdict?.state}>
      {verdict?.says}
    </p>
  )
}

export function Complaint({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return (
    <p class="warning" role="alert">
      {children}
    </p>
  )
}

/** What `load` answers, once: code that only some visits need. */
export function useLoaded<T extends object>(load: () => Promise<T>): T | 'failed' | undefined {
  const [loaded, setLoaded] = useState<T | 'failed'>()
  useEffect(() => {
    let isCurrent = true
    load().then(
      (value) => isCurrent && setLoaded(value),
      () => isCurrent && setLoaded('failed'),
    )
    return () => {
      isCurrent = false
    }
  }, [load])
  return loaded
}

/** Hands the person a file. */
export function saveFile(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}

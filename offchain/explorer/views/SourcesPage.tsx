/** Where the explorer reads from, and where it should read from instead: kept in the address, so that a link says it too. @module */
import type { JSX } from 'preact'
import { useId } from 'preact/hooks'
import { toJson } from '#protocol/wire/json.ts'
import { type ExplorerConfig, OVERRIDES, type OverrideName } from '../config.ts'
import { linkTo } from '../route.ts'
import { Complaint } from './parts.tsx'

const LABELS: Readonly<Record<OverrideName, string>> = {
  rpc: 'RPC endpoint of the chain',
  aggregator: 'Aggregator',
  relay: 'Relay (for evidence; may be left out)',
  deployment: 'Deployment: the JSON that sealpath deploy wrote',
}

export function SourcesPage({
  config,
  complaint,
  overrides,
}: {
  readonly config: ExplorerConfig | undefined
  readonly complaint: string | undefined
  readonly overrides: URLSearchParams
}): JSX.Element {
  const names = Object.keys(OVERRIDES) as OverrideName[]
  return (
    <>
      <h1>Sources</h1>
      <p class="quiet">
        There is no server behind this page. What you enter here goes into its address and nowhere else; a field left as
        it is keeps this site’s own.
      </p>
      {complaint !== undefined && <Complaint>{complaint}</Complaint>}
      <form onSubmit={(event) => apply(event, config, overrides)}>
        {names.map((name) => (
          <Field key={name} name={name} value={overrides.get(name) ?? textOf(config, name)} />
        ))}
        <div class="buttons">
          <button type="submit">Read from these</button>
          <a href="#/">This site’s own</a>
        </div>
      </form>
    </>
  )
}

function Field({ name, value }: { readonly name: OverrideName; readonly value: string }): JSX.Element {
  const id = useId()
  return (
    <p class="field">
      <label for={id}>{LABELS[name]}</label>
      {name === 'deployment' ? (
        <textarea id={id} name={name} rows={8} spellcheck={false} defaultValue={value} />
      ) : (
        <input id={id} name={name} type="url" defaultValue={value} required={name !== 'relay'} />
      )}
    </p>
  )
}

function apply(event: SubmitEvent, config: ExplorerConfig | undefined, overrides: URLSearchParams): void {
  event.preventDefault()
  if (!(event.currentTarget instanceof HTMLFormElement)) return
  const form = new FormData(event.currentTarget)
  const next = new URLSearchParams()
  for (const name of Object.keys(OVERRIDES) as OverrideName[]) {
    const value = String(form.get(name) ?? '').trim()
    const isOwn = !overrides.has(name) && value === textOf(config, name)
    if (value !== '' && !isOwn) next.set(name, name === 'deployment' ? withoutSpace(value) : value)
  }
  location.hash = linkTo('/', next)
}

function textOf(config: ExplorerConfig | undefined, name: OverrideName): string {
  const value = config?.[OVERRIDES[name]]
  if (value === undefined) return ''
  return typeof value === 'string' ? value : toJson(value, 2)
}

/** Shorter in an address; what is no JSON stays as it is, for the page to complain about. */
function withoutSpace(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    // The page says what is wrong with it.
    return text
  }
}

/** The layers of one exchange side by side; on a narrow screen one below the other. @module */
import type { JSX } from 'preact'
import { useContext } from 'preact/hooks'
import type { ChatExchange } from '../chat/exchange.ts'
import { type Entry, KNOWN_FROM, type Layer, layersOf } from '../chat/layers.ts'
import { Linking } from './parts.tsx'

export function LayersView({ exchange }: { readonly exchange: ChatExchange }): JSX.Element {
  return (
    <div class="layers">
      {layersOf(exchange, location.origin).map((layer) => (
        <LayerColumn key={layer.name} layer={layer} />
      ))}
    </div>
  )
}

function LayerColumn({ layer: { name, title, entries, never } }: { readonly layer: Layer }): JSX.Element {
  const id = `layer-${name}`
  return (
    <section class="layer" aria-labelledby={id} data-layer={name}>
      <h3 id={id}>{title}</h3>
      {entries.length === 0 ? (
        <p class="quiet">Nothing so far.</p>
      ) : (
        <dl>
          {entries.map((entry) => (
            <EntryView key={entry.id} entry={entry} />
          ))}
        </dl>
      )}
      <p class="never">{never}</p>
    </section>
  )
}

function EntryView({
  entry: { id, name, lines, note, form, from, link: path },
}: {
  readonly entry: Entry
}): JSX.Element {
  const link = useContext(Linking)
  return (
    <div data-entry={id}>
      <dt>{name}</dt>
      <dd class={form}>
        {lines.map((line, i) => (
          <span key={i} class="line">
            {path === undefined ? line : <a href={link(path)}>{line}</a>}
          </span>
        ))}
        {note !== undefined && <span class="hint">{note}</span>}
        <span class="from">from {KNOWN_FROM[from]}</span>
      </dd>
    </div>
  )
}

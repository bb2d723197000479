/** The network at a glance: who serves, what settled, what was earned. @module */
import type { JSX } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import { type LiveEnclave, readLiveEnclaves } from '#chain/registry.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { count, opg, short, time } from '../format.ts'
import { type History, type SettledBatch, totalsOf } from '../history.ts'
import type { Freshness } from '../live.ts'
import { Chart } from './Chart.tsx'
import { BatchLink, Complaint, DevelopmentMark, EnclaveLink, Fact, Linking, type Sources } from './parts.tsx'
import { useHistory, usePoints } from './useHistory.ts'

type Live = { readonly gateways: readonly LiveEnclave[]; readonly issuers: readonly LiveEnclave[] }

const BATCHES_SHOWN = 10
const REGISTRY_MS = 30_000

export function NetworkPage({ sources }: { readonly sources: Sources }): JSX.Element {
  const live = useLive(sources)
  const { history, freshness } = useHistory(sources)
  const points = usePoints(sources, history)
  const link = useContext(Linking)
  if (live === 'failed' || (history === undefined && freshness === 'stale')) {
    return (
      <>
        <h1>Network</h1>
        <Complaint>
          The chain could not be read at {new URL(sources.config.rpcUrl).host}: check the endpoint and the contracts
          under Sources.
        </Complaint>
      </>
    )
  }
  const totals = history && totalsOf(history.batches)
  return (
    <>
      <h1>Network</h1>
      <p class="quiet" role="status" aria-live="polite">
        {saysOf(history, freshness)}
      </p>
      <dl class="facts">
        <Fact name="Live gateways">{live === undefined ? '…' : count(live.gateways.length)}</Fact>
        <Fact name="Live issuers">{live === undefined ? '…' : count(live.issuers.length)}</Fact>
        <Fact name="Receipts settled">{totals === undefined ? '…' : count(totals.receipts)}</Fact>
        <Fact name="Earned" hint="as gateways signed">
          {totals === undefined ? '…' : opg(totals.fees)}
        </Fact>
      </dl>
      <p class="call">
        Have a receipt? <a href={link('/receipt')}>Check it here</a>: everything is verified in your browser.
      </p>
      <section aria-labelledby="growth">
        <h2 id="growth">Receipts settled over time</h2>
        {points !== undefined && points.length > 0 ? (
          <Chart title="Receipts settled" points={points} />
        ) : (
          <p class="quiet">{history === undefined ? 'Reading events' : 'Nothing has settled yet.'}</p>
        )}
      </section>
      <section aria-labelledby="batches">
        <h2 id="batches">Latest batches</h2>
        <ul class="rows">
          {(history?.batches ?? [])
            .slice(-BATCHES_SHOWN)
            .toReversed()
            .map((batch) => (
              <BatchRow key={String(batch.batch)} batch={batch} />
            ))}
        </ul>
      </section>
      <section aria-labelledby="enclaves">
        <h2 id="enclaves">Live enclaves</h2>
        <ul class="rows">
          {live?.gateways.map((entry) => (
            <EnclaveRow key={entry.enclave} kind="gateway" entry={entry} />
          ))}
          {live?.issuers.map((entry) => (
            <EnclaveRow key={entry.enclave} kind="issuer" entry={entry} />
          ))}
        </ul>
      </section>
    </>
  )
}

function BatchRow({ batch }: { readonly batch: SettledBatch }): JSX.Element {
  return (
    <li>
      <BatchLink batch={batch.batch} />
      <span>
        {batch.heads.length} {batch.heads.length === 1 ? 'head' : 'heads'}
      </span>
      <span>block {count(batch.block)}</span>
      <span class="mono quiet" title={batch.root}>
        {short(batch.root)}
      </span>
    </li>
  )
}

function EnclaveRow({
  kind,
  entry,
}: {
  readonly kind: 'gateway' | 'issuer'
  readonly entry: LiveEnclave
}): JSX.Element {
  return (
    <li>
      <EnclaveLink enclave={entry.enclave} />
      <span>
        {kind} {entry.isDevelopment && <DevelopmentMark />}
      </span>
      <span>until {time(entry.endsAt)}</span>
      <span class="mono quiet" title={entry.measurement}>
        {short(entry.measurement)}
      </span>
    </li>
  )
}

function saysOf(history: History | undefined, freshness: Freshness | undefined): string {
  if (history === undefined) return 'Reading the chain'
  const since = history.isComplete
    ? ''
    : ` Events are shown from block ${count(history.fromBlock)} on, as far back as the endpoint answers.`
  const how = {
    live: 'Live: the aggregator says when something settles, the chain says what.',
    polled: 'The aggregator’s stream does not answer: the chain is asked now and then.',
    stale: 'The chain does not answer just now: this may be old.',
  }[freshness ?? 'polled']
  return `${how}${since}`
}

function useLive({ reader, config }: Sources): Live | 'failed' | undefined {
  const [live, setLive] = useState<Live | 'failed'>()
  useEffect(() => {
    let isCurrent = true
    const read = async (): Promise<void> => {
      const { registry } = config.deployment
      try {
        const [gateways, issuers] = await Promise.all([
          readLiveEnclaves(reader, registry, ENCLAVE_ROLE.gateway),
          readLiveEnclaves(reader, registry, ENCLAVE_ROLE.issuer),
        ])
        if (isCurrent) setLive({ gateways, issuers })
      } catch {
        // What was read before stays.
        if (isCurrent) setLive((before) => before ?? 'failed')
      }
    }
    void read()
    const timer = setInterval(() => void read(), REGISTRY_MS)
    return () => {
      isCurrent = false
      clearInterval(timer)
    }
  }, [reader, config])
  return live
}

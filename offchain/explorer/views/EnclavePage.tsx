/** One enclave: what it is measured as, who operates it, its keys, its log, its earnings, and the verdict on its evidence. @module */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Hex } from '#protocol/bytes.ts'
import { type EnclaveView, readEnclave } from '../enclave.ts'
import { count, opg, time } from '../format.ts'
import { totalsOf } from '../history.ts'
import { type Step, verdictOf } from '../steps.ts'
import { Chart } from './Chart.tsx'
import { BatchLink, Complaint, DevelopmentMark, Fact, type Sources, Steps, VerdictLine } from './parts.tsx'
import { useHistory, usePoints } from './useHistory.ts'

const REFRESH_MS = 15_000
const BATCHES_SHOWN = 10

export function EnclavePage({ sources, enclave }: { readonly sources: Sources; readonly enclave: Hex }): JSX.Element {
  const view = useEnclave(sources, enclave)
  return (
    <>
      <h1>Enclave</h1>
      <p class="mono id">{enclave}</p>
      {view === undefined && <p class="quiet">Reading the chain</p>}
      {view === 'failed' && <Complaint>The chain could not be read.</Complaint>}
      {view === 'unknown' && <Complaint>The registry does not know this enclave.</Complaint>}
      {typeof view === 'object' && <Shown sources={sources} view={view} />}
    </>
  )
}

function Shown({ sources, view }: { readonly sources: Sources; readonly view: EnclaveView }): JSX.Element {
  const ends = view.endsAt > view.now ? `until ${time(view.endsAt)}` : `ended ${time(view.endsAt)}`
  return (
    <>
      <dl class="facts">
        <Fact name="Role">
          {view.role} {view.isDevelopment && <DevelopmentMark />}
        </Fact>
        <Fact name="State" hint={ends}>
          <span class={view.state === 'compromised' ? 'alarm' : undefined}>{view.state}</span>
        </Fact>
        <Fact name="Bond">{view.isBonded ? 'locked' : 'released'}</Fact>
        <Fact name="Receipts settled">{count(view.settledSize)}</Fact>
      </dl>
      {view.isDevelopment && (
        <p class="warning" role="note">
          A development enclave: its evidence has the real format, but no hardware stands behind it.
        </p>
      )}
      <dl class="details">
        <Fact name="Operator">
          <span class="mono">{view.operator}</span>
        </Fact>
        <Fact name="Measurement" hint={view.isApproved ? 'approved now' : 'not approved any more'}>
          <span class="mono">{view.measurement}</span>
        </Fact>
      </dl>
      {view.role === 'gateway' && <Earnings view={view} />}
      {view.role === 'gateway' && <Growth sources={sources} enclave={view.enclave} />}
      <section aria-labelledby="keys">
        <h2 id="keys">Key configurations</h2>
        <ul class="rows">
          {view.keyConfigs.map(({ hash, activeFrom, expiresAt }) => (
            <li key={hash}>
              <span class="mono full">{hash}</span>
              <span>{keyState(view.now, activeFrom, expiresAt)}</span>
              <span class="quiet">
                {time(activeFrom)} to {time(expiresAt)}
              </span>
            </li>
          ))}
        </ul>
      </section>
      <Evidence sources={sources} view={view} />
    </>
  )
}

function Earnings({ view }: { readonly view: EnclaveView }): JSX.Element {
  return (
    <section aria-labelledby="earnings">
      <h2 id="earnings">Earnings</h2>
      <dl class="facts">
        <Fact name="Earned" hint="signed by this enclave">
          {opg(view.earned)}
        </Fact>
        <Fact name="Cleared" hint="signed by issuers">
          {opg(view.cleared)}
        </Fact>
        <Fact name="Credited" hint="the smaller of both, so far">
          {opg(view.credited)}
        </Fact>
        <Fact name="Operator’s share">{opg(view.share)}</Fact>
      </dl>
    </section>
  )
}

function Growth({ sources, enclave }: { readonly sources: Sources; readonly enclave: Hex }): JSX.Element {
  const { history } = useHistory(sources)
  const points = usePoints(sources, history, enclave)
  const batches = (history?.batches ?? []).filter(({ heads }) => heads.some((head) => head.enclave === enclave))
  return (
    <section aria-labelledby="log">
      <h2 id="log">Its log, as settled</h2>
      {points !== undefined && points.length > 0 ? (
        <Chart title="Receipts in its log" points={points} />
      ) : (
        <p class="quiet">{history === undefined ? 'Reading events' : 'Nothing has settled yet.'}</p>
      )}
      <ul class="rows">
        {batches
          .slice(-BATCHES_SHOWN)
          .toReversed()
          .map((batch) => (
            <li key={String(batch.batch)}>
              <BatchLink batch={batch.batch} />
              <span>up to receipt {count(totalsOf([batch], enclave).receipts)}</span>
              <span>block {count(batch.block)}</span>
            </li>
          ))}
      </ul>
    </section>
  )
}

type Verified = { readonly steps: readonly Step[] } | { readonly note: string }

function Evidence({ sources, view }: { readonly sources: Sources; readonly view: EnclaveView }): JSX.Element {
  const [verified, setVerified] = useState<Verified>()
  // The registry's numbers change with every block; the document is asked for until it is there.
  useEffect(() => {
    let isCurrent = true
    let timer: ReturnType<typeof setTimeout> | undefined
    const read = async (): Promise<void> => {
      const result = await verifyEvidence(sources, view)
      if (!isCurrent) return
      setVerified(result)
      // A relay that did not answer, or did not lead there, may a moment later.
      if ('note' in result && sources.config.relayUrl !== undefined) timer = setTimeout(() => void read(), REFRESH_MS)
    }
    void read()
    return () => {
      isCurrent = false
      clearTimeout(timer)
    }
  }, [sources, view.enclave])
  return (
    <section aria-labelledby="evidence">
      <h2 id="evidence">Evidence</h2>
      {verified === undefined && <p class="quiet">Asking the relay</p>}
      {verified !== undefined && 'note' in verified && <p class="quiet">{verified.note}</p>}
      {verified !== undefined && 'steps' in verified && (
        <>
          <VerdictLine verdict={verdictOf('The evidence', verified.steps)} />
          <Steps steps={verified.steps} />
        </>
      )}
    </section>
  )
}

async function verifyEvidence({ reader, config }: Sources, view: EnclaveView): Promise<Verified> {
  const { relayUrl, deployment } = config
  if (relayUrl === undefined) return { note: 'No relay is named under Sources: evidence is fetched through one.' }
  try {
    const { examineEvidence, fetchEvidence } = await import('../evidence.ts')
    const served = await fetchEvidence(relayUrl, view.enclave)
    if (served === undefined) return { note: `The relay ${new URL(relayUrl).host} does not lead to this enclave.` }
    const now = BigInt(Math.floor(Date.now() / 1000))
    return { steps: await examineEvidence({ reader, deployment }, view, served, now) }
  } catch {
    // A relay or an endpoint that does not answer says nothing of the enclave.
    return { note: `The evidence could not be fetched through ${new URL(relayUrl).host}.` }
  }
}

function useEnclave({ reader, config }: Sources, enclave: Hex): EnclaveView | 'unknown' | 'failed' | undefined {
  const [view, setView] = useState<EnclaveView | 'unknown' | 'failed'>()
  useEffect(() => {
    let isCurrent = true
    const read = async (): Promise<void> => {
      try {
        const answer = await readEnclave(reader, config.deployment, enclave)
        if (isCurrent) setView(answer ?? 'unknown')
      } catch {
        // What was read before stays.
        if (isCurrent) setView((before) => before ?? 'failed')
      }
    }
    void read()
    const timer = setInterval(() => void read(), REFRESH_MS)
    return () => {
      isCurrent = false
      clearInterval(timer)
    }
  }, [reader, config, enclave])
  return view
}

function keyState(now: number, activeFrom: number, expiresAt: number): string {
  if (expiresAt <= now) return 'expired'
  return activeFrom > now ? 'not live yet' : 'live'
}

/** One batch: its heads, its root, its transaction, and whether the heads give what the chain stores. @module */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { examineBatch, fetchBatch, type ShownBatch } from '../batch.ts'
import { count, opg } from '../format.ts'
import { readHistory } from '../history.ts'
import { type Step, verdictOf } from '../steps.ts'
import { Complaint, EnclaveLink, Fact, type Sources, Steps, VerdictLine } from './parts.tsx'

type Found = { readonly batch: ShownBatch; readonly steps: readonly Step[] } | 'unknown' | 'failed' | undefined

export function BatchPage({ sources, batch }: { readonly sources: Sources; readonly batch: bigint }): JSX.Element {
  const [found, setFound] = useState<Found>()
  useEffect(() => {
    let isCurrent = true
    const read = async (): Promise<void> => {
      const result = await findBatch(sources, batch)
      if (isCurrent) setFound(result)
    }
    void read()
    return () => {
      isCurrent = false
    }
  }, [sources, batch])
  return (
    <>
      <h1>Batch {String(batch)}</h1>
      {found === undefined && <p class="quiet">Reading the chain</p>}
      {found === 'failed' && <Complaint>Neither the chain nor the aggregator could be read.</Complaint>}
      {found === 'unknown' && <Complaint>No batch of this number has settled.</Complaint>}
      {typeof found === 'object' && <Shown batch={found.batch} steps={found.steps} />}
    </>
  )
}

function Shown({ batch, steps }: { readonly batch: ShownBatch; readonly steps: readonly Step[] }): JSX.Element {
  return (
    <>
      <VerdictLine verdict={verdictOf('The batch', steps)} />
      <Steps steps={steps} />
      <dl class="details">
        <Fact name="Root">
          <span class="mono">{batch.root}</span>
        </Fact>
        <Fact name="Transaction">
          <span class="mono">{batch.transaction}</span>
        </Fact>
        <Fact name="Block">{count(batch.block)}</Fact>
        {batch.settler !== undefined && (
          <Fact name="Settled by">
            <span class="mono">{batch.settler}</span>
          </Fact>
        )}
      </dl>
      <section aria-labelledby="heads">
        <h2 id="heads">{batch.heads.length === 1 ? 'Its head' : `Its ${batch.heads.length} heads`}</h2>
        <ul class="rows">
          {batch.heads.map(({ enclave, size, root, fees }) => (
            <li key={`${enclave}${size}${root}`}>
              <EnclaveLink enclave={enclave} />
              <span>
                {count(size)} {size === 1n ? 'receipt' : 'receipts'}
              </span>
              {fees !== undefined && <span>{fees === 0n ? 'log head' : `earned ${opg(fees)}`}</span>}
              <span class="mono quiet full">{root}</span>
            </li>
          ))}
        </ul>
      </section>
    </>
  )
}

/** From the chain's events; of a batch that is older than what the endpoint answers, the aggregator's word, which the check then judges. */
async function findBatch({ reader, config }: Sources, number: bigint): Promise<Found> {
  const { settlement, fromBlock } = config.deployment
  try {
    const { batches, isComplete } = await readHistory(reader, settlement, fromBlock)
    const batch =
      batches.find((each) => each.batch === number) ??
      (isComplete ? undefined : await fetchBatch(config.aggregatorUrl, number))
    if (batch === undefined) return 'unknown'
    return { batch, steps: await examineBatch(reader, settlement, batch) }
  } catch {
    // The page says that it could not be read.
    return 'failed'
  }
}

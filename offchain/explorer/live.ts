/**
 * Keeps a history fresh: the aggregator's stream says that something happened, the chain says what. Without the stream the chain is asked now and then.
 * @module
 */
import type { ExplorerConfig } from './config.ts'
import { continueHistory, type History, readHistory } from './history.ts'
import type { Reader } from './reader.ts'

/** How fresh what is shown is kept: told by the aggregator's stream, asked for, or not at all as the chain does not answer. */
export type Freshness = 'live' | 'polled' | 'stale'

const POLL_MS = 15_000
/** Several events that come at once are one reading. */
const GATHER_MS = 250

/** Reads the history, tells `onHistory` of it and of each change, until the function it answers is called. */
export function followHistory(
  { reader, config }: { readonly reader: Reader; readonly config: ExplorerConfig },
  onHistory: (history: History) => void,
  onFreshness: (freshness: Freshness) => void,
): () => void {
  const { settlement, fromBlock } = config.deployment
  const stream = new EventSource(new URL('/v1/settlements', config.aggregatorUrl))
  let history: History | undefined
  let isReading = false
  let isWanted = false
  let isEnded = false
  let timer: ReturnType<typeof setTimeout> | undefined

  const read = async (): Promise<void> => {
    isWanted = isReading
    if (isReading || isEnded) return
    isReading = true
    try {
      const before = history
      history =
        before === undefined
          ? await readHistory(reader, settlement, fromBlock)
          : await continueHistory(reader, settlement, before)
      if (isEnded) return
      if (before === undefined || identityOf(before) !== identityOf(history)) onHistory(history)
      onFreshness(stream.readyState === EventSource.OPEN ? 'live' : 'polled')
    } catch {
      // The endpoint is asked again, and until then what is shown says that it is old.
      if (!isEnded) onFreshness('stale')
    } finally {
      isReading = false
      if (isWanted && !isEnded) readSoon()
    }
  }
  const readSoon = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => void read(), GATHER_MS)
  }
  const readAll = (): void => {
    history = undefined
    readSoon()
  }
  stream.addEventListener('settled', readSoon)
  stream.addEventListener('withdrawn', readAll)
  stream.addEventListener('open', readSoon)
  const polling = setInterval(() => void read(), POLL_MS)
  void read()
  return () => {
    isEnded = true
    stream.close()
    clearTimeout(timer)
    clearInterval(polling)
  }
}

/** Changes when what is shown would change: every batch is one transaction, and a reorganisation changes the newest ones. */
function identityOf({ batches, fromBlock }: History): string {
  return [fromBlock, ...batches.map(({ transaction }) => transaction)].join()
}

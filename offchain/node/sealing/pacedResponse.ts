/** From an inner response that may take its time to an encapsulated response that does not show it: one full chunk a tick. @module */
import { concatBytes } from '#protocol/bytes.ts'
import { encodeContentChunk, encodeEnd, encodeResponseHead } from '#protocol/sealing/binaryHttp.ts'
import type { ChunkedResponseSealer } from '#protocol/sealing/chunkSealing.ts'
import type { Pace } from './answerShape.ts'
import { Cells, FILLER_BYTES_OVER } from './cells.ts'
import type { ExchangeLifetime } from './exchangeLifetime.ts'
import { type InnerResponse, internalError } from './innerResponse.ts'
import { readTrailers } from './sealedResponse.ts'

/** Bytes that a body may be ahead of its reader before it has to wait. */
const QUEUE_BYTES_MAX = 262_144

/**
 * The sealed stream of a response that is not there yet. From now on one chunk of `CHUNK_BYTES_SEND` plaintext bytes leaves every tick, whatever
 * becomes of `answer`, until all of it has left and the number of chunks is a class (`cellClass`). Until the head is known chunks are informational
 * responses, behind it what the response's `filler` makes, behind the end zeros. When a body or its trailers fail behind the head, the stream ends at the
 * next tick without its final chunk; what fails before is answered with 500. `onFault` gets both while the client is there.
 */
export function sealPaced(
  sealer: ChunkedResponseSealer<Uint8Array>,
  answer: Promise<InnerResponse>,
  pace: Pace,
  lifetime: ExchangeLifetime,
  onFault: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const cells = new Cells()
  const ticks = new Ticks(pace.tickMs)
  const reader = new ReaderWatch(pace, () => lifetime.leave())
  const stop = (): void => {
    reader.end()
    cells.stop()
  }
  lifetime.onLeave(stop)
  let hasFailed = false
  let isCancelled = false
  const fail = (error: unknown): void => {
    if (!lifetime.hasLeft) onFault(error)
    hasFailed = true
    lifetime.stop()
  }
  fillCells(cells, answer, lifetime, stop, onFault).catch(fail)

  function close(controller: ReadableStreamDefaultController<Uint8Array>): void {
    stop()
    lifetime.end()
    // A cancelled stream is closed already.
    if (!isCancelled) controller.close()
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        reader.asks()
        cells.ask()
        await ticks.next()
        if (hasFailed || lifetime.hasLeft) return close(controller)
        try {
          const { plaintext, isFinal } = cells.take()
          controller.enqueue(isFinal ? sealer.final(plaintext) : sealer.chunk(plaintext))
          if (isFinal) close(controller)
          else reader.got()
        } catch (error) {
          fail(error)
          close(controller)
        }
      },
      cancel() {
        isCancelled = true
        lifetime.leave()
      },
    },
    // Nothing is sealed ahead of the reader.
    { highWaterMark: 0 },
  )
}

/** Puts `answer` into `cells` as it comes. Rejects when it fails behind its head. `stop` is called when the client leaves. */
async function fillCells(
  cells: Cells,
  answer: Promise<InnerResponse>,
  lifetime: ExchangeLifetime,
  stop: () => void,
  onFault: (error: unknown) => void,
): Promise<void> {
  const { response, head, end } = await beginResponse(answer, lifetime).catch((error: unknown) => {
    if (!lifetime.hasLeft) onFault(error)
    const response = internalError()
    return { response, head: encodeResponseHead(response), end: encodeEnd() }
  })
  const { body, filler } = response
  if (body instanceof Uint8Array) {
    cells.putWhole(concatBytes(head, encodeContentChunk(body), end))
    await cells.untilAtMost(0)
    return response.release?.()
  }
  if (filler === undefined) throw new TypeError('expected filler for a body that comes piece by piece')
  const iterator = body[Symbol.asyncIterator]()
  lifetime.onLeave(() => {
    stop()
    return iterator.return?.()
  })
  cells.open(head, filler)
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
    cells.put(encodeContentChunk(next.value))
    // Asked first, because waiting for nothing costs as much as all the rest that is done for a piece.
    if (cells.bytes > QUEUE_BYTES_MAX) await cells.untilAtMost(QUEUE_BYTES_MAX)
    if (lifetime.hasLeft) return
  }
  // The trailers are a receipt: nobody acts as though the body had been delivered while the reader has not taken all of it.
  await cells.untilAtMost(FILLER_BYTES_OVER)
  cells.end(encodeEnd(await readTrailers(response, lifetime)))
}

type Begun = { readonly response: InnerResponse; readonly head: Uint8Array; readonly end: Uint8Array }

/** Rejects with what can still be answered: a handler's failure, a head that is not valid, the trailers of a whole body. */
async function beginResponse(answer: Promise<InnerResponse>, lifetime: ExchangeLifetime): Promise<Begun> {
  const response = await answer
  const isWhole = response.body instanceof Uint8Array
  try {
    const head = encodeResponseHead(response)
    return { response, head, end: encodeEnd(isWhole ? await readTrailers(response, lifetime) : []) }
  } catch (error) {
    if (isWhole) response.release?.()
    throw error
  }
}

/** A steady beat that begins one period from now. Ticks missed while the reader was slow are left out, not made up for. */
class Ticks {
  readonly #periodMs: number
  #dueAt = performance.now()

  constructor(periodMs: number) {
    this.#periodMs = periodMs
  }

  async next(): Promise<void> {
    const now = performance.now()
    this.#dueAt = Math.max(this.#dueAt + this.#periodMs, now)
    await new Promise((resolve) => setTimeout(resolve, this.#dueAt - now))
  }
}

/** Notices a reader who takes nothing, or too long for all of it. */
class ReaderWatch {
  readonly #total: NodeJS.Timeout
  /** One timer for all chunks, wound up anew for each. */
  readonly #silence: NodeJS.Timeout
  #isAsking = false
  #hasEnded = false

  constructor({ readerTimeoutMs, deliveryMsMax }: Pace, onTooSlow: () => void) {
    this.#total = setTimeout(onTooSlow, deliveryMsMax)
    this.#silence = setTimeout(() => {
      if (!this.#isAsking) onTooSlow()
    }, readerTimeoutMs)
  }

  /** The reader waits for us. */
  asks(): void {
    this.#isAsking = true
  }

  /** We wait for the reader. */
  got(): void {
    this.#isAsking = false
    // Winding up a timer that was cleared would start it again.
    if (!this.#hasEnded) this.#silence.refresh()
  }

  end(): void {
    this.#hasEnded = true
    clearTimeout(this.#total)
    clearTimeout(this.#silence)
  }
}

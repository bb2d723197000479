/** Any answer as cells, and the answer that a reader of Binary HTTP finds in them. @module */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUtf8 } from '#protocol/bytes.ts'
import { encodeContentChunk, encodeEnd, encodeResponseHead } from '#protocol/sealing/binaryHttp.ts'
import { BinaryHttpDecoder, type BinaryHttpEvent } from '#protocol/sealing/binaryHttpDecoder.ts'
import { cellClass, FillerStripper, fillerComment } from '#protocol/shape.ts'
import { type Cell, Cells, FILLER_BYTES_OVER } from './cells.ts'

const HEAD = { status: 200, headers: [['content-type', 'text/event-stream']] } as const
const TRAILERS = [['receipt', 'r'.repeat(700)]] as const
const CELL_BYTES = 4_096

/** An event of exactly `length` bytes, at least 9. */
function event(length: number): Uint8Array {
  return encodeUtf8(`data: ${'x'.repeat(length - 8)}\n\n`)
}

type Read = { informational: number; status: number; body: Uint8Array; trailers: unknown }

function read(cells: readonly Cell[]): Read {
  const decoder = new BinaryHttpDecoder('response')
  const stripper = new FillerStripper()
  const events: BinaryHttpEvent[] = []
  for (const { plaintext } of cells) {
    expect(plaintext).toHaveLength(CELL_BYTES)
    events.push(...decoder.push(plaintext.slice()))
  }
  events.push(...decoder.end())
  const heads = events.filter((found) => found.type === 'response')
  expect(heads).toHaveLength(1)
  return {
    informational: events.filter((found) => found.type === 'informational').length,
    status: heads[0]?.status ?? 0,
    body: concatBytes(...events.flatMap((found) => (found.type === 'content' ? [stripper.push(found.bytes)] : []))),
    trailers: events.find((found) => found.type === 'trailers')?.trailers,
  }
}

/** Cells to the final one. */
function drain(cells: Cells, taken: Cell[]): Cell[] {
  while (taken.at(-1)?.isFinal !== true) taken.push(cells.take())
  return taken
}

describe('a stream', () => {
  it('is found in its cells, whenever its head, its events and its end come', () => {
    // A number is an event of so many bytes; undefined is a tick.
    const step = fc.oneof(
      fc.constant(undefined),
      fc.integer({ min: 9, max: 300 }),
      fc.integer({ min: CELL_BYTES - 90, max: CELL_BYTES + 20 }),
      fc.integer({ min: 9, max: 3 * CELL_BYTES }),
    )
    fc.assert(
      fc.property(fc.nat(20), fc.array(step, { maxLength: 40 }), fc.nat(6), (early, steps, late) => {
        const cells = new Cells()
        const taken: Cell[] = []
        for (let i = 0; i < early; i++) taken.push(cells.take())
        cells.open(encodeResponseHead(HEAD), fillerComment)
        for (const bytes of steps) {
          if (bytes === undefined) taken.push(cells.take())
          else cells.put(encodeContentChunk(event(bytes)))
        }
        for (let i = 0; i < late; i++) taken.push(cells.take())
        cells.end(encodeEnd(TRAILERS))
        drain(cells, taken)
        expect(taken).toHaveLength(cellClass(taken.length))
        const found = read(taken)
        expect([found.informational, found.status, found.trailers]).toEqual([early, 200, TRAILERS])
        const body = concatBytes(...steps.flatMap((bytes) => (bytes === undefined ? [] : [event(bytes)])))
        expect(Buffer.compare(found.body, body)).toBe(0)
      }),
      { seed: 20_261_121, numRuns: 200 },
    )
  })

  it('is filled exactly, whatever room is left in a cell', () => {
    // Head and chunk lengths included, events of these lengths leave from no byte to 99.
    for (let length = CELL_BYTES - 150; length <= CELL_BYTES; length++) {
      const cells = new Cells()
      cells.open(encodeResponseHead(HEAD), fillerComment)
      cells.put(encodeContentChunk(event(length)))
      const taken = [cells.take()]
      cells.put(encodeContentChunk(event(50)))
      taken.push(cells.take(), cells.take())
      expect(cells.bytes).toBeLessThanOrEqual(FILLER_BYTES_OVER)
      cells.end(encodeEnd())
      expect(read(drain(cells, taken)).body).toEqual(concatBytes(event(length), event(50)))
    }
  })

  it('makes its writer wait until the reader asks for more, and no longer once nobody does', async () => {
    const cells = new Cells()
    cells.open(encodeResponseHead(HEAD), fillerComment)
    cells.put(encodeContentChunk(new Uint8Array(2 * CELL_BYTES)))
    let has = false
    const waiting = cells.untilAtMost(CELL_BYTES + 100).then(() => {
      has = true
    })
    cells.take()
    await Promise.resolve()
    expect(has).toBe(false)
    cells.ask()
    await waiting
    const stopped = cells.untilAtMost(0)
    cells.stop()
    await stopped
    await cells.untilAtMost(0)
  })
})

describe('a message that is whole', () => {
  const message = (body: Uint8Array) =>
    concatBytes(encodeResponseHead(HEAD), encodeContentChunk(body), encodeEnd(TRAILERS))

  it.each([
    [0, 0, 8],
    [0, 30_000, 8],
    [0, 33_000, 16],
    [3, 0, 8],
    [8, 0, 16],
    [12, 20_000, 32],
    [1_200, 100, 2_048],
  ])('behind %s cells and of %s bytes takes %s cells', (early, bodyBytes, count) => {
    const cells = new Cells()
    const taken: Cell[] = []
    for (let i = 0; i < early; i++) taken.push(cells.take())
    const body = new Uint8Array(bodyBytes).fill(0x78)
    cells.putWhole(message(body))
    expect(drain(cells, taken)).toHaveLength(count)
    const found = read(taken)
    expect([found.informational, found.trailers]).toEqual([early, TRAILERS])
    expect(Buffer.compare(found.body, body)).toBe(0)
  })
})

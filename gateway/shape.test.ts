/** Cells on the wire, and the body that is left when the client removes their filler. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CONTENT_BYTES_PER_CHUNK } from '#node/sealing/sealedResponse.ts'
import { decodeUtf8, encodeUtf8, joinBytes } from '#protocol/bytes.ts'
import { cellClass, FillerStripper, fillerComment, PADDING_MODES, parsePaddingMode } from '#protocol/shape.ts'
import { shapeEvents } from './shape.ts'

const CELL = CONTENT_BYTES_PER_CHUNK
const rejections: unknown[] = []
const onRejection = (reason: unknown): void => void rejections.push(reason)

beforeEach(() => {
  rejections.length = 0
  process.on('unhandledRejection', onRejection)
})

afterEach(async () => {
  vi.useRealTimers()
  await sleep(1)
  process.off('unhandledRejection', onRejection)
  expect(rejections).toEqual([])
})

/** An event of exactly `length` bytes, at least 9. */
function event(length: number): Uint8Array {
  return encodeUtf8(`data: ${'x'.repeat(length - 8)}\n\n`)
}

async function* source(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) yield piece
}

/** A piece at a time, each only when the reader is waiting for it. */
async function* slowSource(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    await new Promise((resolve) => setImmediate(resolve))
    yield piece
  }
}

async function collect(cells: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = []
  for await (const cell of cells) all.push(cell)
  return all
}

/** Strips a stream that arrives in pieces of `pieceBytes`. */
function strip(stream: Uint8Array, pieceBytes = stream.length): Uint8Array {
  const stripper = new FillerStripper()
  const kept: Uint8Array[] = []
  for (let i = 0; i < stream.length; i += pieceBytes) kept.push(stripper.push(stream.subarray(i, i + pieceBytes)))
  return joinBytes(kept)
}

/** A pause on the global timer, which may be a fake one. */
function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Runs a reading on fake time, so that ticks cost none. */
async function onFakeTime<T>(run: () => Promise<T>, stepMs = 50): Promise<T> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] })
  let isDone = false
  const result = run().finally(() => {
    isDone = true
  })
  result.catch(() => undefined)
  while (!isDone) await vi.advanceTimersByTimeAsync(stepMs)
  vi.useRealTimers()
  return result
}

describe('balanced', () => {
  test('undoes the filling for events of every length around the end of a cell', async () => {
    for (let length = CELL - 6; length <= CELL + 6; length++) {
      for (const next of [9, 40, CELL - 9, CELL]) {
        const events = [event(length), event(next), event(9)]
        for (const from of [source, slowSource]) {
          const cells = await collect(shapeEvents(from(events), 'balanced'))
          expect(cells.every((cell) => cell.length === CELL)).toBe(true)
          expect(decodeUtf8(strip(joinBytes(cells)))).toBe(decodeUtf8(joinBytes(events)))
        }
      }
    }
  })

  test('undoes the filling of any sequence of events, in whatever pieces it arrives', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 9, max: 300 }), fc.integer({ min: CELL - 20, max: 2 * CELL + 20 })), {
          minLength: 1,
          maxLength: 25,
        }),
        fc.integer({ min: 1, max: 9_000 }),
        fc.boolean(),
        async (lengths, pieceBytes, isSlow) => {
          const events = lengths.map(event)
          const cells = await collect(shapeEvents(isSlow ? slowSource(events) : source(events), 'balanced'))
          expect(cells.every((cell) => cell.length === CELL)).toBe(true)
          expect(Buffer.compare(strip(joinBytes(cells), pieceBytes), joinBytes(events))).toBe(0)
        },
      ),
      { seed: 20_261_121, numRuns: 60 },
    )
  })

  test('sends no cell while there is nothing to say', async () => {
    const events = [event(20), event(30)]
    expect(await collect(shapeEvents(slowSource(events), 'balanced'))).toHaveLength(2)
    expect(await collect(shapeEvents(source([]), 'balanced'))).toEqual([])
  })
})

describe('balanced cells that follow one another', () => {
  /** The events at the milliseconds named, and then the end after `endMs`. Answers each cell's bytes of events and the time at which it came. */
  function timesOf(
    schedule: readonly (readonly [atMs: number, bytes: number])[],
    endMs: number,
  ): Promise<[number, number][]> {
    return onFakeTime(async () => {
      const begun = performance.now()
      const now = (): number => performance.now() - begun
      async function* scheduled(): AsyncGenerator<Uint8Array> {
        for (const [atMs, bytes] of schedule) {
          if (atMs > now()) await wait(atMs - now())
          yield event(bytes)
        }
        if (endMs > now()) await wait(endMs - now())
      }
      const times: [number, number][] = []
      for await (const cell of shapeEvents(scheduled(), 'balanced')) times.push([now(), strip(cell).length])
      return times
    }, 1)
  }

  test('leave at once while they are the first two: a role, and the first token', async () => {
    expect(
      await timesOf(
        [
          [0, 50],
          [1, 60],
          [2, 70],
        ],
        500,
      ),
    ).toEqual([
      [0, 50],
      [1, 60],
      [11, 70],
    ])
  })

  test('share what comes within ten milliseconds', async () => {
    const events = Array.from({ length: 40 }, (_, i) => [i, 20] as const)
    const times = await timesOf(events, 500)
    expect(times.slice(0, 2)).toEqual([
      [0, 20],
      [1, 20],
    ])
    // Ten events each, and in the last what was left.
    expect(times.slice(2).map(([atMs]) => atMs)).toEqual([11, 21, 31, 41])
    expect(times.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(40 * 20)
  })

  test('do not wait when they are full', async () => {
    const times = await timesOf(
      [
        [0, 50],
        [1, 50],
        [3, 2_000],
        [5, 2_094],
        [6, 3 * CELL],
      ],
      500,
    )
    expect(times).toEqual([
      [0, 50],
      [1, 50],
      [5, CELL],
      [6, CELL],
      [6, CELL],
      [6, CELL],
    ])
  })

  test('do not wait after a silence', async () => {
    expect(
      await timesOf(
        [
          [0, 50],
          [1, 50],
          [100, 50],
          [101, 50],
          [200, 50],
        ],
        500,
      ),
    ).toEqual([
      [0, 50],
      [1, 50],
      [100, 50],
      [110, 50],
      [200, 50],
    ])
  })

  test('do not wait for the end either', async () => {
    expect(
      await timesOf(
        [
          [0, 50],
          [1, 50],
          [3, 70],
        ],
        4,
      ),
    ).toEqual([
      [0, 50],
      [1, 50],
      [4, 70],
    ])
  })

  test('do not keep a failure waiting', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 3; i++) {
        yield event(100)
        await wait(1)
      }
      throw new Error('upstream cut')
    }
    const failedAt = await onFakeTime(async () => {
      const begun = performance.now()
      await collect(shapeEvents(failing(), 'balanced')).catch(() => undefined)
      return performance.now() - begun
    }, 1)
    expect(failedAt).toBe(3)
  })
})

test.each(['off', 'private'] as const)('passes events through unchanged when %s', async (mode) => {
  const events = [event(20), event(CELL + 1)]
  expect(await collect(shapeEvents(source(events), mode))).toEqual(events)
})

describe('the reader of cells', () => {
  test('sees the failure of the source', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield event(100)
      throw new Error('upstream cut')
    }
    const reading = onFakeTime(() => collect(shapeEvents(failing(), 'balanced')))
    await expect(reading).rejects.toThrow('upstream cut')
  })

  test('stops the source by stopping', async () => {
    let isStopped = false
    let produced = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          await new Promise((resolve) => setImmediate(resolve))
          produced++
          yield event(100)
        }
      } finally {
        isStopped = true
      }
    }
    for await (const _cell of shapeEvents(endless(), 'balanced')) break
    expect(isStopped).toBe(true)
    const before = produced
    await sleep(5)
    expect(produced).toBe(before)
  })

  test.each([
    [262_144, true],
    [262_145, false],
  ])('lets the source go on behind %i bytes that wait: %s', async (bytes, isAsked) => {
    const taken = Promise.withResolvers<void>()
    let isAskedForMore = false
    async function* ahead(): AsyncGenerator<Uint8Array> {
      yield event(CELL)
      await taken.promise
      yield event(bytes)
      isAskedForMore = true
    }
    const cells = shapeEvents(ahead(), 'balanced')[Symbol.asyncIterator]()
    await cells.next()
    taken.resolve()
    await sleep(1)
    expect(isAskedForMore).toBe(isAsked)
    await cells.return?.()
  })

  test('holds the source back by being slow', async () => {
    let produced = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        produced += CELL
        yield event(CELL)
      }
    }
    const cells = shapeEvents(endless(), 'balanced')[Symbol.asyncIterator]()
    await cells.next()
    await sleep(5)
    const ahead = produced
    expect(ahead).toBeLessThan(262_144 + 3 * CELL)
    await sleep(5)
    expect(produced).toBe(ahead)
    await cells.next()
    await sleep(5)
    expect(produced).toBe(ahead + CELL)
    await cells.return?.()
  })
})

test('makes filler of every length that a comment can have', () => {
  for (let length = 2; length < 50; length++) {
    const comment = decodeUtf8(fillerComment(length))
    expect(comment).toMatch(/^:\.*\n$/)
    expect(comment).toHaveLength(length)
  }
})

test('strips comments only at the start of a line', () => {
  const body = 'data: a:b\n\n'
  expect(decodeUtf8(strip(encodeUtf8(`:x\n${body}:\n:::\n${body}`), 1))).toBe(`${body}${body}`)
})

test('reads the mode from the field, and is private when the field names none', () => {
  for (const mode of PADDING_MODES) expect(parsePaddingMode(mode)).toBe(mode)
  for (const value of [undefined, '', 'OFF', 'none']) expect(parsePaddingMode(value)).toBe('private')
})

test('rounds cells up to the next power of two, at least eight', () => {
  expect([0, 1, 8, 9, 16, 17, 1_025].map(cellClass)).toEqual([8, 8, 8, 16, 16, 32, 2_048])
})

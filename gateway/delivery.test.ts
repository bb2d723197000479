/** Streams and readers who are slow, stop, or never begin. @module */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { DeliveryError, watchDelivery } from './delivery.ts'

type Calls = { timeouts: number; stops: number; ended: number }

function deliver(
  options: { readerTimeoutSeconds?: number; secondsMax?: number; fails?: boolean; pieces?: number } = {},
) {
  const calls: Calls = { timeouts: 0, stops: 0, ended: 0 }
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for (let i = 0; i < (options.pieces ?? 3); i++) yield Uint8Array.of(i)
      if (options.fails === true) throw new RangeError('the source failed')
    } finally {
      calls.ended++
    }
  }
  const watched = watchDelivery(source(), {
    readerTimeoutSeconds: options.readerTimeoutSeconds ?? 60,
    secondsMax: options.secondsMax ?? 60,
    onTimeout: () => calls.timeouts++,
    onStopped: async () => {
      calls.stops++
    },
  })
  return { iterator: watched[Symbol.asyncIterator](), calls }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1_000)

describe('watchDelivery', () => {
  it('passes everything on and has nobody stopped at a regular end', async () => {
    const { iterator, calls } = deliver()
    const got: unknown[] = []
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) got.push(next.value[0])
    expect(got).toEqual([0, 1, 2])
    expect(calls).toEqual({ timeouts: 0, stops: 0, ended: 1 })
  })

  it('says once that a reader left, even one who had everything but the end of the exchange', async () => {
    const { iterator, calls } = deliver({ pieces: 1 })
    await iterator.next()
    await iterator.next()
    await iterator.return?.()
    await iterator.return?.()
    expect(calls).toEqual({ timeouts: 0, stops: 1, ended: 1 })
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  it('says that a reader left who never began', async () => {
    const { iterator, calls } = deliver()
    await iterator.return?.()
    expect(calls).toEqual({ timeouts: 0, stops: 1, ended: 0 })
  })

  it('gives up a reader who takes nothing for too long, and tells one who comes back', async () => {
    const { iterator, calls } = deliver({ readerTimeoutSeconds: 30 })
    await pass(29.999)
    await iterator.next()
    await pass(29.999)
    await iterator.next()
    expect(calls).toEqual({ timeouts: 0, stops: 0, ended: 0 })
    await pass(30)
    expect(calls).toEqual({ timeouts: 1, stops: 1, ended: 1 })
    await expect(iterator.next()).rejects.toBeInstanceOf(DeliveryError)
    await expect(iterator.next()).rejects.toMatchObject({ code: 'TOO_SLOW' })
    await iterator.return?.()
    expect(calls.stops).toBe(1)
  })

  it('gives up a reader who takes longer than all of it may take', async () => {
    const { iterator, calls } = deliver({ readerTimeoutSeconds: 30, secondsMax: 100, pieces: 100 })
    for (let i = 0; i < 4; i++) {
      await iterator.next()
      await pass(24.999)
    }
    expect(calls.timeouts).toBe(0)
    await iterator.next()
    await pass(0.004)
    expect(calls).toMatchObject({ timeouts: 1, stops: 1 })
    await expect(iterator.next()).rejects.toMatchObject({ code: 'TOO_SLOW' })
  })

  it('lets go when the source fails, and passes the failure on', async () => {
    const { iterator, calls } = deliver({ pieces: 0, fails: true })
    await expect(iterator.next()).rejects.toThrow('the source failed')
    expect(calls).toEqual({ timeouts: 0, stops: 1, ended: 1 })
  })

  it('watches no more once it is over', async () => {
    const { iterator, calls } = deliver({ pieces: 0 })
    await iterator.next()
    await pass(1_000)
    expect(calls.timeouts).toBe(0)
  })
})

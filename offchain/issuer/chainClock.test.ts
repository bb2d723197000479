/** The issuer's clock: the chain's time, carried on by the monotonic clock, never back. @module */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { type ChainClock, openChainClock } from './chainClock.ts'

const SILENT = { info: () => {}, warn: () => {}, error: () => {} }
const POLL_MS = 2

let clock: ChainClock | undefined
afterEach(() => clock?.close())

function scripted() {
  const state = { seconds: 1_000, monotonic: 0, reads: 0, isAway: false }
  const chain = {
    time: async () => {
      state.reads++
      if (state.isAway) throw new Error('no answer')
      return state.seconds
    },
  }
  const open = async () => {
    clock = await openChainClock(chain, POLL_MS, SILENT, () => state.monotonic)
    return clock
  }
  const nextRead = async () => {
    const before = state.reads
    // The second reading from now on began after the change.
    while (state.reads < before + 2) await sleep(1)
    await sleep(1)
  }
  return { state, open, nextRead }
}

describe('the chain clock', () => {
  it('goes on between blocks as this machine measures', async () => {
    const { state, open, nextRead } = scripted()
    const { now } = await open()
    expect(now()).toBe(1_000)
    state.monotonic = 2_500
    await nextRead()
    expect(now()).toBe(1_002.5)
  })

  it('follows a newer block and never an older one', async () => {
    const { state, open, nextRead } = scripted()
    const { now } = await open()
    state.seconds = 5_000
    await nextRead()
    expect(now()).toBe(5_000)
    state.seconds = 1
    state.monotonic = 1_000
    await nextRead()
    expect(now()).toBe(5_001)
  })

  it('goes on while the chain is away, and cannot begin without it', async () => {
    const { state, open, nextRead } = scripted()
    const { now } = await open()
    state.isAway = true
    state.monotonic = 3_000
    await nextRead()
    expect(now()).toBe(1_003)
    await expect(openChainClock({ time: () => Promise.reject(new Error('no answer')) }, 1, SILENT)).rejects.toThrow(
      'no answer',
    )
  })
})

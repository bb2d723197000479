import { beforeEach, expect, it } from 'vitest'
import type { GatewayKey } from '#protocol/sealing/exchange.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'
import { generateGatewayKey } from './keyRing.ts'
import { createNodeSuites } from './nodeSuites.ts'
import { ReplayMemory } from './replayMemory.ts'

const WINDOW_MS = 60_000
const START_MS = 1_700_000_000_000
const enc = (n: number): Uint8Array => Uint8Array.of(n, n >> 8)

let key: GatewayKey
let nowMs: number
let memory: ReplayMemory

beforeEach(async () => {
  key = await generateGatewayKey(createNodeSuites(), 1, KEM_X25519)
  nowMs = START_MS
  memory = new ReplayMemory(() => nowMs, { windowSeconds: 60, entriesPerKeyMax: 10 })
})

it('admits an enc once, with or without a date', () => {
  expect(memory.admit(key, enc(1), undefined)).toBe('fresh')
  expect(memory.admit(key, enc(1), undefined)).toBe('replayed')
  expect(memory.admit(key, enc(1), START_MS)).toBe('replayed')
  expect(memory.admit(key, enc(2), START_MS)).toBe('fresh')
  expect(memory.admit(key, enc(2), undefined)).toBe('replayed')
})

it('remembers per key', async () => {
  const other = await generateGatewayKey(createNodeSuites(), 1, KEM_X25519)
  expect(memory.admit(key, enc(1), undefined)).toBe('fresh')
  expect(memory.admit(other, enc(1), undefined)).toBe('fresh')
})

it('admits a date inside the window, its ends included, and none outside', () => {
  expect(memory.admit(key, enc(1), START_MS - WINDOW_MS)).toBe('fresh')
  expect(memory.admit(key, enc(2), START_MS + WINDOW_MS)).toBe('fresh')
  expect(memory.admit(key, enc(3), START_MS - WINDOW_MS - 1)).toBe('outside-window')
  expect(memory.admit(key, enc(3), START_MS + WINDOW_MS + 1)).toBe('outside-window')
  expect(memory.admit(key, enc(3), Number.NaN)).toBe('outside-window')
  expect(memory.admit(key, enc(3), START_MS)).toBe('fresh')
})

it('never admits a dated request twice, at whatever times it comes', () => {
  for (let firstMs = -WINDOW_MS; firstMs <= WINDOW_MS; firstMs += 7_000) {
    memory = new ReplayMemory(() => nowMs, { windowSeconds: 60, entriesPerKeyMax: 1000 })
    const dateMs = START_MS
    nowMs = START_MS + firstMs
    expect(memory.admit(key, enc(1), dateMs)).not.toBe('outside-window')
    for (let i = 2; nowMs < START_MS + 4 * WINDOW_MS; i++) {
      nowMs += 5_000
      expect(memory.admit(key, enc(i), nowMs)).toBe('fresh')
      expect(memory.admit(key, enc(1), dateMs)).not.toBe('fresh')
    }
  }
})

it('forgets dated requests after some windows and undated ones never', () => {
  for (let i = 0; i < 10; i++) expect(memory.admit(key, enc(i), START_MS)).toBe('fresh')
  expect(memory.admit(key, enc(100), undefined)).toBe('fresh')
  expect(memory.admit(key, enc(10), START_MS)).toBe('full')
  nowMs += 5 * WINDOW_MS
  expect(memory.admit(key, enc(10), nowMs)).toBe('fresh')
  expect(memory.admit(key, enc(100), undefined)).toBe('replayed')
})

it('refuses what it has no room to remember; undated requests cannot crowd out dated ones', () => {
  for (let i = 0; i < 10; i++) expect(memory.admit(key, enc(i), undefined)).toBe('fresh')
  expect(memory.admit(key, enc(10), undefined)).toBe('full')
  expect(memory.admit(key, enc(10), START_MS)).toBe('fresh')
  expect(memory.admit(key, enc(3), undefined)).toBe('replayed')
})

it('remembers 500,000 requests of a key unless told otherwise, and no more', () => {
  memory = new ReplayMemory(() => nowMs)
  const four = (i: number): Uint8Array => Uint8Array.of(i, i >> 8, i >> 16, i >> 24)
  const verdicts = new Set<string>()
  for (let i = 0; i < 500_000; i++) verdicts.add(memory.admit(key, four(i), undefined))
  expect([...verdicts]).toEqual(['fresh'])
  expect(memory.admit(key, four(500_000), undefined)).toBe('full')
})

it('does not admit again what it forgot when the clock is set back', () => {
  expect(memory.admit(key, enc(1), START_MS)).toBe('fresh')
  nowMs += 10 * WINDOW_MS
  expect(memory.admit(key, enc(2), nowMs)).toBe('fresh')
  nowMs = START_MS
  expect(memory.admit(key, enc(1), START_MS)).toBe('outside-window')
})

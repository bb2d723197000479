import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Hex, joinBytes } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { WireError } from '#protocol/wire/json.ts'
import { EnclaveOutbox, openOutboxes } from './outbox.ts'

const ENCLAVE: Hex = `0x${'ab'.repeat(20)}`
const LEAVES = Array.from({ length: 20 }, (_, i) => keccak256(Uint8Array.of(i)))

let folder = ''
let opened: EnclaveOutbox[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-outbox-'))
  opened = []
})

afterEach(() => {
  for (const outbox of opened) outbox.close()
  rmSync(folder, { recursive: true })
})

function open(): EnclaveOutbox {
  const outbox = new EnclaveOutbox(folder, ENCLAVE)
  opened.push(outbox)
  return outbox
}

function leaves(from: number, to: number): Uint8Array {
  return joinBytes(LEAVES.slice(from, to))
}

function headOf(size: number, enclave = ENCLAVE): EarningsHeadMessage {
  const hash: Hex = `0x${'cd'.repeat(32)}`
  return { enclave, size: BigInt(size), root: hash, fees: BigInt(2 * size), signature: { r: hash, vs: hash } }
}

function fileOf(name: string): string {
  return join(folder, ENCLAVE, name)
}

test('keeps leaves, head and delivery marks over a restart', () => {
  const outbox = open()
  outbox.store(0, leaves(0, 5), headOf(5))
  outbox.store(5, leaves(5, 9), headOf(9))
  outbox.noteDelivered('http://a', 9)
  outbox.noteDelivered('http://b', 5)
  const again = open()
  expect(again.size).toBe(9)
  expect(again.head).toEqual(headOf(9))
  expect(again.read(0, 9)).toEqual(leaves(0, 9))
  expect(again.read(3, 4)).toEqual(leaves(3, 4))
  expect([again.deliveredTo('http://a'), again.deliveredTo('http://b'), again.deliveredTo('http://c')]).toEqual([
    9, 5, 0,
  ])
})

test('begins empty', () => {
  const outbox = open()
  expect([outbox.size, outbox.head, outbox.deliveredTo('http://a')]).toEqual([0, undefined, 0])
  expect(openOutboxes(join(folder, 'fresh')).size).toBe(0)
})

test.each(Array.from({ length: 32 }, (_, i) => i))('cuts off what a crash left of a leaf: %s bytes', (torn) => {
  const outbox = open()
  outbox.store(0, leaves(0, 4), undefined)
  if (torn > 0) appendFileSync(fileOf('leaves.bin'), new Uint8Array(torn).fill(0xee))
  const again = open()
  expect(again.size).toBe(4)
  again.store(4, leaves(4, 6), headOf(6))
  expect(open().read(0, 6)).toEqual(leaves(0, 6))
  expect(readFileSync(fileOf('leaves.bin'))).toHaveLength(6 * 32)
})

test('goes on from what a crash left of the last delivery', () => {
  open().store(0, leaves(0, 4), undefined)
  truncateSync(fileOf('leaves.bin'), 3 * 32 + 7)
  const again = open()
  expect(again.size).toBe(3)
  again.store(3, leaves(3, 8), headOf(8))
  expect(open().read(0, 8)).toEqual(leaves(0, 8))
})

test('writes over what a full disk left behind while it ran', () => {
  const outbox = open()
  outbox.store(0, leaves(0, 2), undefined)
  appendFileSync(fileOf('leaves.bin'), new Uint8Array(45).fill(0xee))
  outbox.store(2, leaves(2, 6), headOf(6))
  expect(open().read(0, 6)).toEqual(leaves(0, 6))
})

test('notes a head only when its leaves are all here', () => {
  const outbox = open()
  outbox.store(0, leaves(0, 4), headOf(6))
  expect(outbox.head).toBeUndefined()
  outbox.store(4, leaves(4, 6), headOf(6))
  expect(outbox.head).toEqual(headOf(6))
})

test('notes the head of leaves that a crash left without it', () => {
  const outbox = open()
  outbox.store(0, leaves(0, 4), undefined)
  outbox.store(4, new Uint8Array(), headOf(4))
  expect(open().head).toEqual(headOf(4))
})

test('never goes back to an older head', () => {
  const outbox = open()
  outbox.store(0, leaves(0, 6), headOf(6))
  outbox.store(6, leaves(6, 8), headOf(5))
  expect([outbox.size, outbox.head]).toEqual([8, headOf(6)])
})

test('takes leaves again that it has, and stores only the new ones', () => {
  const outbox = open()
  outbox.store(0, leaves(0, 6), undefined)
  outbox.store(2, leaves(2, 5), undefined)
  expect(outbox.size).toBe(6)
  outbox.store(4, leaves(4, 9), headOf(9))
  expect(outbox.read(0, 9)).toEqual(leaves(0, 9))
})

test.each([
  ['leaves after a gap', 3, leaves(0, 1), undefined],
  ['leaves that are not whole', 2, new Uint8Array(33), undefined],
  ['the head of another enclave', 2, leaves(2, 3), headOf(3, `0x${'12'.repeat(20)}`)],
])('refuses %s and stores nothing of it', (_what, from, bytes, head) => {
  const outbox = open()
  outbox.store(0, leaves(0, 2), headOf(2))
  expect(() => outbox.store(from, bytes, head)).toThrow(RangeError)
  expect([outbox.size, outbox.head]).toEqual([2, headOf(2)])
  expect(readFileSync(fileOf('leaves.bin'))).toHaveLength(64)
})

test('ignores a replacement that a crash left unfinished', () => {
  open().store(0, leaves(0, 2), headOf(2))
  writeFileSync(fileOf('head.json.new'), '{"enclave":"0x')
  expect(open().head).toEqual(headOf(2))
})

test('does not take a damaged head for none', () => {
  open().store(0, leaves(0, 2), headOf(2))
  writeFileSync(fileOf('head.json'), '{}')
  expect(() => open()).toThrow(WireError)
})

test('finds the outboxes of earlier enclaves again, and nothing else', () => {
  open().store(0, leaves(0, 2), headOf(2))
  mkdirSync(join(folder, 'lost+found'))
  const found = openOutboxes(folder)
  for (const outbox of found.values()) opened.push(outbox)
  expect([...found.keys()]).toEqual([ENCLAVE])
  expect(found.get(ENCLAVE)?.size).toBe(2)
})

test('keeps a head for each half of a delivery, so that whoever lost everything gets all of it in parts', () => {
  const leavesMax = 6
  const reopen = () => {
    const outbox = new EnclaveOutbox(folder, ENCLAVE, leavesMax)
    opened.push(outbox)
    return outbox
  }
  const outbox = reopen()
  for (let size = 1; size <= 20; size++) outbox.store(size - 1, leaves(size - 1, size), headOf(size))
  for (const each of [outbox, reopen()]) {
    for (let lost = 0; lost < 20; lost++) {
      const parts: number[] = []
      for (let from = lost; from < 20; from = parts.at(-1) ?? 20) {
        const head = each.headFrom(from)
        expect(head, `from ${from}`).toBeDefined()
        expect(Number(head?.size) - from).toBeLessThanOrEqual(leavesMax)
        parts.push(Number(head?.size))
      }
      expect(parts.at(-1)).toBe(20)
      // Few more than the fewest: each goes on by at least half a delivery.
      expect(parts.length).toBeLessThanOrEqual(Math.ceil((20 - lost) / (leavesMax / 2)))
    }
    expect(each.headFrom(20)).toBeUndefined()
  }
})

test('keeps the newest head only of what one delivery holds', () => {
  const outbox = open()
  outbox.store(0, leaves(0, 5), headOf(5))
  outbox.store(5, leaves(5, 20), headOf(20))
  expect(outbox.headFrom(0)).toEqual(headOf(20))
  expect(() => readFileSync(fileOf('heads.json'))).toThrow()
})

test('does not deliver what no head reaches', () => {
  const outbox = new EnclaveOutbox(folder, ENCLAVE, 4)
  opened.push(outbox)
  outbox.store(0, leaves(0, 20), headOf(20))
  expect(outbox.headFrom(0)).toBeUndefined()
  expect(outbox.headFrom(16)).toEqual(headOf(20))
})

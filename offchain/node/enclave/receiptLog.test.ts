import { expect, test } from 'vitest'
import { encodeUint, equalBytes, fromHex, joinBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { appendLeaves, createRows, rootAt } from '#protocol/log/rows.ts'
import { LOG_NODE_TAG, rootFromPath } from '#protocol/log/tree.ts'
import { enclaveOfKey, isSignedByEnclave } from '#protocol/receipt/head.ts'
import { type IssuedReceipt, ReceiptLog, ReceiptLogError, type TickPolicy } from './receiptLog.ts'

const KEY = new Uint8Array(32).fill(9)
const ENCLAVE = enclaveOfKey(KEY)
const DOMAIN = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
const LEAVES = Array.from({ length: 100 }, (_, i) => keccak256(encodeUint(BigInt(i), 4)))

function createLog(tick: TickPolicy = { receipts: 1, seconds: 1 }, leavesKeptMax = 1_000): ReceiptLog {
  return new ReceiptLog({ enclave: ENCLAVE, privateKey: KEY, domain: DOMAIN, tick, leavesKeptMax })
}

/** Issues `count` receipts at once, each at a fee of 1 unit, beginning with the leaf at `from`. */
function issueTogether(log: ReceiptLog, from: number, count: number): Promise<IssuedReceipt[]> {
  return Promise.all(LEAVES.slice(from, from + count).map((leaf) => log.issue(leaf, 1n)))
}

function expectProven(issued: IssuedReceipt): void {
  const leaf = LEAVES[Number(issued.index)] ?? new Uint8Array()
  const path = issued.path.map((node) => fromHex(node, 32))
  const root = rootFromPath(LOG_NODE_TAG, leaf, Number(issued.index), Number(issued.head.size) - 1, path)
  expect(root && toHex(root)).toBe(issued.head.root)
  const { size, root: signedRoot, signature } = issued.head
  const signed = { head: { kind: 'log', enclave: ENCLAVE, size, root: signedRoot }, signature } as const
  expect(isSignedByEnclave(signed, DOMAIN)).toBe(true)
}

test('signs receipts that arrive together once, and proves each of them', async () => {
  const log = createLog()
  let from = 0
  for (const count of [1, 2, 7, 1, 16, 5, 31]) {
    const group = await issueTogether(log, from, count)
    expect(group.map(({ index }) => index)).toEqual(Array.from({ length: count }, (_, i) => BigInt(from + i)))
    expect(new Set(group.map(({ head }) => head.signature.r)).size).toBe(1)
    for (const issued of group) {
      expect(issued.head.size).toBe(BigInt(from + count))
      expectProven(issued)
    }
    from += count
    expect(log.size).toBe(from)
  }
})

test('signs receipts of different turns apart', async () => {
  const log = createLog()
  const first = await log.issue(LEAVES[0] ?? new Uint8Array(), 0n)
  const second = await log.issue(LEAVES[1] ?? new Uint8Array(), 0n)
  expect([first.head.size, second.head.size]).toEqual([1n, 2n])
  expect(first.head.signature).not.toEqual(second.head.signature)
})

test('makes no earnings head while nothing was earned', () => {
  const log = createLog()
  log.tick(100)
  log.tick(Number.POSITIVE_INFINITY)
  expect(log.read(0, 10)).toEqual({ leaves: new Uint8Array(), head: undefined })
  expect(log.isHandedOver).toBe(true)
})

test('makes an earnings head at the k-th receipt, or after t seconds with any', async () => {
  const log = createLog({ receipts: 3, seconds: 10 })
  const sizeAt = (seconds: number): bigint | undefined => {
    log.tick(seconds)
    return log.read(0, 100).head?.head.size
  }
  expect(sizeAt(1_000)).toBeUndefined()
  await issueTogether(log, 0, 2)
  expect(sizeAt(1_009)).toBeUndefined()
  expect(sizeAt(1_010)).toBe(2n)
  await issueTogether(log, 2, 2)
  expect(sizeAt(1_011)).toBe(2n)
  await issueTogether(log, 4, 1)
  expect(sizeAt(1_012)).toBe(5n)
  await issueTogether(log, 5, 1)
  expect(sizeAt(1_021)).toBe(5n)
  expect(sizeAt(1_022)).toBe(6n)
})

test('counts the seconds from the last tick without anything new, not from the last head', async () => {
  const log = createLog({ receipts: 100, seconds: 10 })
  log.tick(1_000)
  log.tick(5_000)
  await issueTogether(log, 0, 1)
  log.tick(5_009)
  expect(log.read(0, 1).head).toBeUndefined()
  log.tick(5_010)
  expect(log.read(0, 1).head?.head.size).toBe(1n)
})

test('adds fees up over heads, each signed over the root of all leaves so far', async () => {
  const log = createLog({ receipts: 1, seconds: 1 })
  const rows = createRows()
  let fees = 0n
  let head = log.read(0, 100).head
  for (const [i, leaf] of LEAVES.slice(0, 20).entries()) {
    await log.issue(leaf, BigInt(i))
    fees += BigInt(i)
    log.tick(i)
    appendLeaves(rows, leaf)
    const before = head
    head = log.read(0, 100).head
    if (head === undefined) throw new Error('expected a head')
    expect(head.head).toEqual({
      kind: 'earnings',
      enclave: ENCLAVE,
      size: BigInt(i + 1),
      root: toHex(rootAt(rows, i + 1)),
      fees,
    })
    expect(isSignedByEnclave(head, DOMAIN)).toBe(true)
    expect(before === undefined || (before.head.size < head.head.size && before.head.fees <= head.head.fees)).toBe(true)
    // A tick without anything new leaves the head alone.
    log.tick(1_000_000 + i)
    expect(log.read(0, 100).head).toBe(head)
  }
})

test('hands over the leaves below the newest earnings head only, in pages', async () => {
  const log = createLog({ receipts: 1, seconds: 1 })
  await issueTogether(log, 0, 10)
  log.tick(1)
  await issueTogether(log, 10, 5)
  expect(equalBytes(log.read(0, 100).leaves, joinBytes(LEAVES.slice(0, 10)))).toBe(true)
  expect(equalBytes(log.read(4, 3).leaves, joinBytes(LEAVES.slice(4, 7)))).toBe(true)
  expect(log.read(10, 100).leaves).toHaveLength(0)
  expect(log.read(12, 100).leaves).toHaveLength(0)
  expect(log.read(1_000, 100).leaves).toHaveLength(0)
  expect(log.read(0, 0).leaves).toHaveLength(0)
})

test('forgets what was acknowledged, and nothing that no earnings head covers', async () => {
  const log = createLog({ receipts: 1, seconds: 1 })
  await issueTogether(log, 0, 10)
  log.acknowledge(10)
  expect(log.isHandedOver).toBe(false)
  log.tick(1)
  await issueTogether(log, 10, 2)
  log.acknowledge(4)
  expect(() => log.read(3, 10)).toThrow(expect.objectContaining({ code: 'FORGOTTEN' }))
  expect(equalBytes(log.read(4, 100).leaves, joinBytes(LEAVES.slice(4, 10)))).toBe(true)
  log.acknowledge(2)
  expect(log.read(4, 100).leaves).toHaveLength(6 * 32)
  log.acknowledge(Number.MAX_SAFE_INTEGER)
  expect(log.isHandedOver).toBe(false)
  log.tick(2)
  expect(equalBytes(log.read(10, 100).leaves, joinBytes(LEAVES.slice(10, 12)))).toBe(true)
  log.acknowledge(12)
  expect(log.isHandedOver).toBe(true)
  // What was forgotten does not matter to later proofs.
  for (const issued of await issueTogether(log, 12, 3)) expectProven(issued)
})

test('issues up to its bound and refuses one more, until some leaves are fetched', async () => {
  const log = createLog({ receipts: 1, seconds: 1 }, 5)
  await issueTogether(log, 0, 3)
  const results = await Promise.allSettled(LEAVES.slice(3, 6).map((leaf) => log.issue(leaf, 1n)))
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
  expect(log.hasRoom).toBe(false)
  await expect(log.issue(LEAVES[5] ?? new Uint8Array(), 1n)).rejects.toMatchObject({ code: 'LOG_FULL' })
  expect(log.size).toBe(5)
  log.tick(1)
  expect(log.read(0, 10).head?.head.fees).toBe(5n)
  log.acknowledge(1)
  expect(log.hasRoom).toBe(true)
  expectProven(await log.issue(LEAVES[5] ?? new Uint8Array(), 1n))
})

test('rejects a whole group when it cannot sign, and counts nothing of it', async () => {
  const log = new ReceiptLog({
    enclave: ENCLAVE,
    privateKey: new Uint8Array(32),
    domain: DOMAIN,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 10,
  })
  const results = await Promise.allSettled(LEAVES.slice(0, 2).map((leaf) => log.issue(leaf, 1n)))
  for (const result of results) {
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'SIGNING_FAILED' } })
    expect(result.status === 'rejected' && result.reason instanceof ReceiptLogError).toBe(true)
  }
  expect(log.size).toBe(0)
  expect(log.hasRoom).toBe(true)
})

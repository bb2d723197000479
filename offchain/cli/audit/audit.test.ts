import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PublicClient } from 'viem'
import { expect, it } from 'vitest'
import { Discrepancies } from '#chain/audit/discrepancy.ts'
import { readEventPages } from '#chain/audit/eventPages.ts'
import { splitFees } from '#chain/audit/feeSplit.ts'
import type { ReplayedHead } from '#chain/audit/settlementReplay.ts'
import { concatBytes, encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { EMPTY_EDGE, type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { appendLeaves, createRows, rootAt } from '#protocol/log/rows.ts'
import { auditLines, progressBar } from './auditReport.ts'
import { AuditStateError, emptyAuditRecords, openStateFile } from './auditState.ts'
import { type LeafSource, openLeafSource } from './leafSource.ts'
import { checkLogs, type LogEdges } from './logCheck.ts'

const ENCLAVE: Hex = `0x${'e1'.repeat(20)}`
const SIZE = 1_100
const LEAVES = concatBytes(...Array.from({ length: SIZE }, (_, i) => keccak256(encodeUint(BigInt(i), 8))))
const ROWS = createRows()
appendLeaves(ROWS, LEAVES)

const head = (size: number): ReplayedHead => {
  return { enclave: ENCLAVE, size: BigInt(size), root: toHex(rootAt(ROWS, size)), batch: 1n, block: 9n }
}

/** An aggregator that has the first `size` leaves, those from `wrongFrom` on wrong. */
function source(url: string, size = SIZE, wrongFrom = SIZE): LeafSource {
  const leaves = LEAVES.slice()
  leaves.fill(7, wrongFrom * 32)
  return {
    url,
    async read(_, index, width) {
      const first = index * 256
      if (first + width > size) return { ok: false, reason: 'not there' }
      return { ok: true, leaves: leaves.slice(first * 32, (first + width) * 32) }
    },
  }
}

async function check(
  sources: readonly LeafSource[],
  sizes: readonly number[],
  edges: LogEdges = new Map<Hex, LogEdge>(),
): Promise<{ found: Discrepancies; edges: LogEdges; leaves: number }> {
  const discrepancies = new Discrepancies()
  let leaves = 0
  const onLeaves = (count: number) => {
    leaves += count
  }
  await checkLogs({ sources, hash: keccak256, discrepancies, onLeaves }, edges, sizes.map(head))
  return { found: discrepancies, edges, leaves }
}

it('accepts heads at every kind of place, in any order and repeated', async () => {
  const { found, edges, leaves } = await check([source('a')], [1, 256, 255, 257, 512, 512, 700, 1_024, 1_100, 3])
  expect(found.all).toEqual([])
  expect(leaves).toBe(SIZE)
  expect(toHex(rootOfEdge(edges.get(ENCLAVE) ?? EMPTY_EDGE))).toBe(head(SIZE).root)
})

it('goes on from an edge, and reads a log again for heads that settle late', async () => {
  const { edges } = await check([source('a')], [300])
  const later = await check([source('a')], [100, 300, 900], edges)
  expect(later.found.all).toEqual([])
  expect(later.leaves).toBe(300 + 600)
  expect(edges.get(ENCLAVE)?.size).toBe(900)
  const wrong = await check([source('a', SIZE, 50)], [100], edges)
  expect(wrong.found.all).toMatchObject([{ kind: 'LOG', where: { size: 100n } }])
})

it('stops at the last right head when leaves are wrong, and takes up another aggregator there', async () => {
  const alone = await check([source('a', SIZE, 400)], [300, 500, 600])
  expect(alone.found.all).toMatchObject([
    { kind: 'LOG', where: { enclave: ENCLAVE, size: 500n, batch: 1n, block: 9n } },
  ])
  expect(alone.edges.get(ENCLAVE)?.size).toBe(300)
  const both = await check([source('a', SIZE, 400), source('b')], [300, 500, 600])
  expect(both.found.all).toMatchObject([{ kind: 'LEAVES', where: { aggregator: 'a', size: 500n } }])
  expect(both.edges.get(ENCLAVE)?.size).toBe(600)
  const neither = await check([source('a', SIZE, 400), source('b', SIZE, 450)], [300, 500])
  expect(neither.found.all).toMatchObject([{ kind: 'LOG' }])
})

it('puts a log together from aggregators that each lack a part, and says when all do', async () => {
  const pieced = await check([source('a', 520), source('b', 256), source('c')], [500, 1_000])
  expect(pieced.found.all).toEqual([])
  const lacking = await check([source('a', 520), source('b', 256)], [500, 1_000])
  expect(lacking.found.all).toMatchObject([{ kind: 'UNCHECKED', where: { size: 1_000n } }])
  expect(lacking.found.all[0]?.found).toBe('a: not there; b: not there')
})

it('says of an aggregator that cannot be reached that it does not answer', async () => {
  const read = await openLeafSource('http://127.0.0.1:9/').read(ENCLAVE, 0, 1)
  expect(read).toEqual({ ok: false, reason: 'it does not answer' })
})

it('splits fees into three parts that add up and never fall', () => {
  const shares = { settlerBps: 100n, bothBps: 600n }
  let before = splitFees(0n, shares)
  for (let credited = 1n; credited < 2_000n; credited++) {
    const split = splitFees(credited, shares)
    expect(split.operator + split.protocol + split.settler).toBe(credited)
    for (const name of ['operator', 'protocol', 'settler'] as const) {
      expect(split[name]).toBeGreaterThanOrEqual(before[name])
    }
    before = split
  }
  expect(splitFees(5n, { settlerBps: 0n, bothBps: 0n })).toEqual({ operator: 5n, protocol: 0n, settler: 0n })
})

it('reads every block once, in ranges that the endpoint answers', async () => {
  const asked: [number, number][] = []
  const client = {
    async getLogs({ fromBlock, toBlock }: { fromBlock: bigint; toBlock: bigint }) {
      if (toBlock - fromBlock >= 100n) throw new Error('too many blocks')
      asked.push([Number(fromBlock), Number(toBlock)])
      return []
    },
  } as unknown as PublicClient
  const ends: bigint[] = []
  for await (const { toBlock } of readEventPages(client, [ENCLAVE], { fromBlock: 5n, toBlock: 950n }))
    ends.push(toBlock)
  expect([asked[0]?.[0], asked.at(-1)?.[1], ends.at(-1)]).toEqual([5, 950, 950n])
  for (const [i, [from]] of asked.entries()) if (i > 0) expect(from).toBe((asked[i - 1]?.[1] ?? 0) + 1)
  const dead = { getLogs: () => Promise.reject(new Error('down')) } as unknown as PublicClient
  await expect(readEventPages(dead, [ENCLAVE], { fromBlock: 0n, toBlock: 9n }).next()).rejects.toThrow(/check --rpc$/)
})

it('keeps its state as it was, and takes no other file for one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sealpath-audit-state-'))
  try {
    const file = openStateFile(join(folder, 'state.json'))
    expect(file.load()).toBeUndefined()
    const { edges } = await check([source('a')], [300])
    const records = { ...emptyAuditRecords(), edges }
    records.settlement.withdrawn[ENCLAVE] = 12n
    records.registry.bonds[ENCLAVE] = { deposited: -1n, locked: 0n }
    const state = { chainId: 7, registryAddress: ENCLAVE, block: 8n, blockHash: head(1).root, records }
    file.save(state)
    expect(file.load()).toEqual(state)
    writeFileSync(join(folder, 'state.json'), '{"format":"sealpath-audit/2"}')
    expect(() => file.load()).toThrow(AuditStateError)
    file.remove()
    expect(file.load()).toBeUndefined()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

it('keeps the first discrepancy of a kind at a place, and prints one line for each', () => {
  const found = new Discrepancies()
  found.compare('BATCH', 'batch root', { batch: 4n, block: 7n }, '0x01', '0x02')
  found.compare('BATCH', 'what follows from it', { batch: 4n }, 1n, 2n)
  found.compare('KEYSET', 'equal', { keyset: '0x01' }, 3n, 3n)
  found.compare('TOTAL', 'a sum\nof two', {}, 3n, 4n)
  const counts = { events: 1n, batches: 2n, heads: 3n, leaves: 4n }
  const scope = { block: 9n, finalBlock: 8n, resumedAfter: 5n, counts, enclaves: 1, keysets: 0 }
  expect(auditLines({ ...scope, discrepancyCount: found.count, discrepancies: found.all })).toBe(
    `BATCH      batch root (batch 4, block 7): expected 0x01, found 0x02
TOTAL      a sum?of two: expected 3, found 4

2 discrepancies. Checked: 3 heads in 2 batches, 4 leaves, 1 enclaves, 0 keysets, 1 events up to block 9, up to block 5 by an audit before.
`,
  )
})

it('draws a bar of how many blocks are done', () => {
  const progress = { first: 100n, block: 149n, last: 199n, events: 0n, batches: 0n, heads: 2n, leaves: 3n }
  expect(progressBar(progress)).toBe(`[${'#'.repeat(12)}${'.'.repeat(12)}] 50 %  block 149  2 heads  3 leaves `)
})

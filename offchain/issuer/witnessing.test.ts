/** Witnesses that are behind by more than one delivery holds: they get the log piece by piece, each under a head of its own. @module */
import { expect, it } from 'vitest'
import { createLogger } from '#node/log.ts'
import { concatBytes, type Hex, joinBytes } from '#protocol/bytes.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { entryLeaf } from './entry.ts'
import { showLogs } from './succession.ts'
import type { Witness } from './witness.ts'
import { Witnessing } from './witnessing.ts'

const ENCLAVE: Hex = `0x${'e1'.repeat(20)}`
const ENTRIES = Array.from({ length: 23 }, (_, i) => Uint8Array.of(1, i))
const LEAVES = ENTRIES.map(entryLeaf)
/** A head for each round of three, and the last. */
const SIZES = [3, 6, 9, 12, 15, 18, 21, 23]
const LEAVES_MAX = 4
const log = createLogger('issuer', () => {})

const headOf = (size: number): EarningsHeadMessage => ({
  enclave: ENCLAVE,
  size: BigInt(size),
  root: `0x${'00'.repeat(32)}`,
  fees: 0n,
  signature: { r: `0x${'00'.repeat(32)}`, vs: `0x${'00'.repeat(32)}` },
})
const readHead = async (sizeMax: number): Promise<EarningsHeadMessage | undefined> => {
  const size = SIZES.findLast((each) => each <= sizeMax)
  return size === undefined ? undefined : headOf(size)
}

/** Takes what joins on to what it has, at most `LEAVES_MAX` leaves at once, as an aggregator does. */
class PlainWitness implements Witness {
  readonly name = 'plain'
  readonly taken: number[] = []
  leaves: Uint8Array

  constructor(held: number) {
    this.leaves = concatBytes(...LEAVES.slice(0, held))
  }

  get size(): number {
    return this.leaves.length / 32
  }

  async sizeOf(): Promise<number> {
    return this.size
  }

  async deliver({ head, from, leaves }: Parameters<Witness['deliver']>[0]): ReturnType<Witness['deliver']> {
    expect(leaves.length / 32).toBeLessThanOrEqual(LEAVES_MAX)
    expect(Number(from) + leaves.length / 32).toBe(Number(head.size))
    if (Number(from) > this.size) return { gapAt: this.size }
    this.taken.push(Number(head.size))
    this.leaves = concatBytes(this.leaves.subarray(0, Number(from) * 32), leaves)
    return { size: this.size }
  }
}

it.each([0, 2, 18, 23])('a writer catches up a witness that has %i leaves', async (held) => {
  const witness = new PlainWitness(held)
  const acknowledged = Promise.withResolvers<void>()
  const witnessing = new Witnessing({
    witnesses: [witness],
    quorum: 1,
    leavesMax: LEAVES_MAX,
    readLeaves: async (from, to) => joinBytes(LEAVES.slice(from, to)),
    readHead,
    onAcknowledged: (size) => size === 23 && acknowledged.resolve(),
    log,
  })
  witnessing.offer(headOf(23))
  await acknowledged.promise
  await witnessing.close()
  expect(witness.leaves).toEqual(concatBytes(...LEAVES))
  expect(witnessing.acknowledged).toBe(23)
})

it('a witness that asks for what it was given is told apart, and not asked for ever', async () => {
  const lines: string[] = []
  const said = Promise.withResolvers<void>()
  const witness: Witness = {
    name: 'odd',
    sizeOf: async () => 0,
    deliver: async ({ from }) => ({ gapAt: Number(from) }),
  }
  const witnessing = new Witnessing({
    witnesses: [witness],
    quorum: 1,
    leavesMax: LEAVES_MAX,
    readLeaves: async (from, to) => joinBytes(LEAVES.slice(from, to)),
    readHead,
    onAcknowledged: () => {},
    log: createLogger('issuer', (line) => {
      lines.push(line)
      said.resolve()
    }),
    retryMs: 1,
  })
  witnessing.offer(headOf(23))
  await said.promise
  await witnessing.close()
  expect(lines.join()).toContain('REFUSED')
})

it.each([0, 5, 20, 23])('a successor shows all of a log to a witness that has %i leaves of it', async (held) => {
  const witness = new PlainWitness(held)
  const store = {
    readEntries: async (_log: number, from: number, count: number) => ENTRIES.slice(from, from + count),
    readHead: (_log: number, sizeMax: number) => readHead(sizeMax),
  }
  const logs = [{ log: 1, enclave: ENCLAVE, size: 23, head: headOf(23) }] as unknown as Parameters<typeof showLogs>[1]
  const policy = { witnesses: [witness], quorum: 1, leavesMax: LEAVES_MAX }
  expect(await showLogs(store, logs, policy, log)).toBe('whole')
  expect(witness.leaves).toEqual(concatBytes(...LEAVES))
  expect(witness.taken.at(-1)).toBe(23)
})

it('a log without a head in between cannot be shown to a witness that is too far behind', async () => {
  const store = { readEntries: async () => ENTRIES, readHead: async () => undefined }
  const logs = [{ log: 1, enclave: ENCLAVE, size: 23, head: headOf(23) }] as unknown as Parameters<typeof showLogs>[1]
  const policy = { witnesses: [new PlainWitness(0)], quorum: 1, leavesMax: LEAVES_MAX }
  expect(await showLogs(store, logs, policy, log)).toBe('unreachable')
})

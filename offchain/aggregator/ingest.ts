/**
 * Takes in heads with their leaves. A log is verified by its root: one signature and one hash a leaf, however many receipts there are.
 *
 * What is acknowledged is committed. A repeat answers the same, and two deliveries of one enclave wait for each other. Heads that
 * contradict known ones are refused, and both are kept as evidence. For an issuer this is what makes its acknowledgement a witness's.
 * @module
 */
import { strict as assert } from 'node:assert'
import { isSigner } from '#node/signatures.ts'
import { concatBytes, type Hex, toHex } from '#protocol/bytes.ts'
import type { Keccak256 } from '#protocol/hash.ts'
import { EMPTY_EDGE, type LogEdge, rootOfEdge } from '#protocol/log/edge.ts'
import { hashHead, type SettlementDomain } from '#protocol/receipt/head.ts'
import type { AggregatorErrorCode, HeadDelivery } from '#protocol/wire/aggregatorApi.ts'
import { contradict, contradictionEvidence, forkEvidence } from './evidence.ts'
import { extendEdge } from './extendEdge.ts'
import { firstDifference } from './leafRuns.ts'
import type { StandingReader } from './standing.ts'
import type { Evidence, LockedLog, LogStore } from './store.ts'

export type IngestPorts = {
  readonly store: LogStore
  readonly standingOf: StandingReader
  readonly domain: SettlementDomain
  readonly hash: Keccak256
}

/** `size` counts the leaves now held for the enclave. `expectedFrom` comes with `GAP`. */
export type Ingested =
  | { readonly ok: true; readonly size: bigint }
  | {
      readonly ok: false
      readonly code: IngestRefusal
      readonly message: string
      readonly expectedFrom?: bigint
    }

export type IngestRefusal = Extract<
  AggregatorErrorCode,
  'BAD_REQUEST' | 'UNKNOWN_ENCLAVE' | 'BAD_SIGNATURE' | 'ROOT_MISMATCH' | 'GAP' | 'HEAD_BACKWARDS' | 'EQUIVOCATION'
>

const LEAF_BYTES = 32

/** Checks and stores one delivery. Throws what store and chain throw; every fault of the delivery itself is an answer. */
export async function ingest(ports: IngestPorts, delivery: HeadDelivery): Promise<Ingested> {
  const { head, from, leaves } = delivery
  const { signature, ...stated } = head
  if (head.size < from) return refuse('HEAD_BACKWARDS', 'the head ends before the leaves begin')
  if (head.size === 0n || leaves.length % LEAF_BYTES !== 0) {
    return refuse('BAD_REQUEST', 'expected a head over at least one leaf, and leaves of 32 bytes')
  }
  if (from + BigInt(leaves.length / LEAF_BYTES) !== head.size) {
    return refuse('BAD_REQUEST', 'expected exactly the leaves from `from` up to the size of the head')
  }
  if (!isSigner(hashHead({ kind: 'earnings', ...stated }, ports.domain), signature, head.enclave)) {
    return refuse('BAD_SIGNATURE', 'the enclave did not sign this head for this chain and contract')
  }
  const standing = await ports.standingOf(head.enclave)
  if (standing === 'ended' || standing === 'unknown') {
    const reason = standing === 'ended' ? 'the enclave may not settle any more' : 'the registry knows no such enclave'
    return refuse('UNKNOWN_ENCLAVE', reason)
  }
  return ports.store.withLog(head.enclave, standing, (log) => reviewDelivery(log, delivery, ports.hash))
}

async function reviewDelivery(
  log: LockedLog,
  { head, from, leaves }: HeadDelivery,
  hash: Keccak256,
): Promise<Ingested> {
  const known = await log.readHead(head.size)
  if (known !== undefined && !contradict(known, head)) return { ok: true, size: BigInt(log.edge.size) }
  const { below, above } = await log.readNeighbours(head.size)
  for (const other of [known, below, above]) {
    if (other !== undefined && contradict(other, head)) return end(log, contradictionEvidence(other, head))
  }
  if (log.isEnded) return refuse('EQUIVOCATION', 'this enclave contradicted itself before')
  const start = Number(from)
  const stop = Number(head.size)
  if (start > log.edge.size) {
    return {
      ...refuse('GAP', `expected leaves from ${log.edge.size} or before, got them from ${start}`),
      expectedFrom: BigInt(log.edge.size),
    }
  }

  const overlapEnd = Math.min(log.edge.size, stop)
  const overlap = leaves.subarray(0, (overlapEnd - start) * LEAF_BYTES)
  const difference = firstDifference(overlap, await log.readLeaves(start, overlapEnd))
  if (difference !== undefined) return reviewFork(log, { head, from, leaves }, start + difference, hash)

  if (stop <= log.edge.size) {
    const edge = extendEdge(EMPTY_EDGE, await log.readLeaves(0, stop))
    if (!hasRoot(edge, head.root, hash)) return rootMismatch()
    await log.noteHead(head)
    return { ok: true, size: BigInt(log.edge.size) }
  }
  const fresh = leaves.subarray(overlap.length)
  const edge = extendEdge(log.edge, fresh)
  if (!hasRoot(edge, head.root, hash)) return rootMismatch()
  await log.append(fresh, edge, head)
  return { ok: true, size: head.size }
}

/** Leaves differ from the known ones: evidence if the enclave signed both, and only a wrong delivery if it did not sign this one. */
async function reviewFork(
  log: LockedLog,
  { head, from, leaves }: HeadDelivery,
  index: number,
  hash: Keccak256,
): Promise<Ingested> {
  const theirs = concatBytes(await log.readLeaves(0, Number(from)), leaves)
  if (!hasRoot(extendEdge(EMPTY_EDGE, theirs), head.root, hash)) return rootMismatch()
  const newest = await log.readHead(BigInt(log.edge.size))
  assert(newest !== undefined, 'a log that is not empty ends at a head')
  const ours = await log.readLeaves(0, log.edge.size)
  return end(log, forkEvidence({ head: newest, leaves: ours }, { head, leaves: theirs }, index, hash))
}

async function end(log: LockedLog, evidence: Evidence): Promise<Ingested> {
  await log.noteEvidence(evidence)
  return refuse('EQUIVOCATION', `the enclave signed two heads that cannot both be true (${evidence.kind})`)
}

function hasRoot(edge: LogEdge, root: Hex, hash: Keccak256): boolean {
  return toHex(rootOfEdge(edge, hash)) === root
}

function rootMismatch(): Ingested {
  return refuse('ROOT_MISMATCH', 'the leaves do not lead to the root that the enclave signed')
}

function refuse(code: IngestRefusal, message: string): Ingested & { ok: false } {
  return { ok: false, code, message }
}

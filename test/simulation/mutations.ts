/**
 * Mistakes that the aggregator does not make, made at its ports: each breaks one promise, and the auditor must see it in some run. `faults` are the
 * kinds without which the mistake does no harm.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import type { SettlementChain } from '../../offchain/aggregator/chainAccess.ts'
import type { LogRole } from '../../offchain/aggregator/standing.ts'
import type { Fees } from '../../offchain/aggregator/step.ts'
import type { LockedLog, LogStore, SettlementStore } from '../../offchain/aggregator/store.ts'
import type { FindingCode } from './auditor.ts'
import type { FaultKind } from './faults.ts'
import type { Mutation, MutationParts } from './process.ts'

export type KnownMutation = {
  readonly is: string
  readonly faults: readonly FaultKind[]
  /** Any of these shows it. */
  readonly shows: readonly FindingCode[]
  readonly mutation: Mutation
}

export const MUTATIONS: readonly KnownMutation[] = [
  {
    is: 'raw bytes are stored after they were broadcast',
    faults: ['crash', 'storeOutage', 'storeAnswerLost', 'congestion'],
    shows: ['FEE_NOT_RAISED', 'SENT_TWICE', 'NONCE_REUSED'],
    mutation: { settlement: storedAfterBroadcast },
  },
  {
    is: 'the lease is not checked',
    faults: ['standstill', 'congestion', 'crash'],
    shows: ['SENT_TWICE', 'NONCE_REUSED', 'FEE_NOT_RAISED'],
    mutation: { settlement: withoutLease },
  },
  {
    is: 'a head is acknowledged before it is committed',
    faults: ['crash', 'storeOutage', 'storeAnswerLost'],
    shows: ['HEAD_LOST', 'PROOF_MISSING'],
    mutation: { logs: acknowledgedEarly },
  },
  {
    is: 'a receipt once seen is believed for ever',
    faults: ['reorganisation', 'mempoolLoss'],
    shows: ['HEAD_LOST', 'PROOF_MISSING', 'PROOF_WRONG', 'CLEARING_LOST'],
    mutation: { chain: receiptsForEver },
  },
  {
    is: 'what one account has sealed is free for another',
    faults: ['congestion'],
    shows: ['SENT_TWICE'],
    mutation: { settlement: sealedForNobody },
  },
  {
    is: 'fees are raised by a twentieth',
    faults: ['congestion', 'feeSpike'],
    shows: ['FEE_NOT_RAISED'],
    mutation: { chain: raisedTooLittle },
  },
  {
    is: 'fees are raised without a limit',
    faults: ['congestion'],
    shows: ['FEE_TOO_HIGH'],
    mutation: { chain: raisedTooMuch },
  },
  {
    is: 'what a reorganisation took back stays recorded',
    faults: ['reorganisation'],
    shows: ['HEAD_LOST', 'PROOF_MISSING', 'PROOF_WRONG', 'CLEARING_LOST'],
    mutation: { settlement: recordedForEver },
  },
  {
    is: 'evidence counts as reported before it is on chain',
    faults: ['contradiction', 'fork', 'crash', 'storeOutage', 'storeAnswerLost'],
    shows: ['EVIDENCE_UNREPORTED'],
    mutation: { settlement: reportedEarly },
  },
]

/** A gap that a crash finds sooner or later. */
const STORE_DELAY_MS = 3_000

function storedAfterBroadcast(store: SettlementStore, { chains, later }: MutationParts): SettlementStore {
  return changed(store, {
    async advance(lease, id, state, change) {
      const chain = chains.find(({ account }) => account === lease.account)
      if (change.raw !== undefined) {
        await chain?.send(change.raw)
        await new Promise<void>((done) => later(STORE_DELAY_MS, done))
      }
      await store.advance(lease, id, state, change)
    },
  })
}

function withoutLease(store: SettlementStore, { tables }: MutationParts): SettlementStore {
  const current = (account: Hex) => {
    const held = tables.leases.get(account)
    const epoch = held?.epoch ?? 1n
    tables.leases.set(account, { holder: held?.holder ?? '', epoch, endsAt: Number.POSITIVE_INFINITY })
    return { account, epoch }
  }
  return changed(store, {
    takeLease: async (account) => current(account),
    seal: (lease, sealed) => store.seal(current(lease.account), sealed),
    advance: (lease, id, state, change) => store.advance(current(lease.account), id, state, change),
  })
}

const COMMIT_DELAY_MS = 20_000

function acknowledgedEarly(store: LogStore, { later }: MutationParts): LogStore {
  return changed(store, {
    withLog: <T>(enclave: Hex, role: LogRole, work: (log: LockedLog) => Promise<T>) =>
      new Promise<T>((resolve, reject) => {
        const committed = store.withLog(enclave, role, async (log) => {
          resolve(await work(log))
          await new Promise<void>((done) => later(COMMIT_DELAY_MS, done))
        })
        // Whoever was answered does not hear of this.
        committed.catch(reject)
      }),
  })
}

function receiptsForEver(chain: SettlementChain): SettlementChain {
  const seen = new Map<Hex, Awaited<ReturnType<SettlementChain['readReceipt']>>>()
  return changed(chain, {
    async readReceipt(hash) {
      const receipt = seen.get(hash) ?? (await chain.readReceipt(hash))
      if (receipt !== undefined) seen.set(hash, receipt)
      return receipt
    },
  })
}

function sealedForNobody(store: SettlementStore, { tables }: MutationParts): SettlementStore {
  return changed(store, {
    async seal(lease, sealed) {
      const isSealed = await store.seal(lease, sealed)
      for (const { heads } of tables.logs.values()) for (const head of heads.values()) head.assigned = undefined
      return isSealed
    },
  })
}

function raisedTooLittle(chain: SettlementChain): SettlementChain {
  return raisedBy(chain, (before) => before + before / 20n)
}

function raisedTooMuch(chain: SettlementChain): SettlementChain {
  return raisedBy(chain, (before) => 3n * before)
}

/** Replacements at other fees than those asked for. */
function raisedBy(chain: SettlementChain, raise: (fee: bigint) => bigint): SettlementChain {
  const last = new Map<number, Fees>()
  return changed(chain, {
    sign(call) {
      const before = last.get(call.nonce)
      const fees = before === undefined ? call.fees : raisedFees(before, raise)
      last.set(call.nonce, fees)
      return chain.sign({ ...call, fees })
    },
  })
}

function raisedFees({ maxFeePerGas, maxPriorityFeePerGas }: Fees, raise: (fee: bigint) => bigint): Fees {
  return { maxFeePerGas: raise(maxFeePerGas), maxPriorityFeePerGas: raise(maxPriorityFeePerGas) }
}

function recordedForEver(store: SettlementStore, { tables }: MutationParts): SettlementStore {
  return changed(store, {
    record(expected, next, _from, events) {
      const batches = events.batches.filter(({ batch }) => !tables.batches.has(batch))
      return store.record(expected, next, next.block + 1n, { ...events, batches })
    },
  })
}

function reportedEarly(store: SettlementStore, { later }: MutationParts): SettlementStore {
  return changed(store, {
    async readPendingEvidence() {
      const pending = await store.readPendingEvidence()
      for (const { id } of pending) await store.markEvidence(id, 'reported')
      if (pending.length > 0) await new Promise<void>((done) => later(STORE_DELAY_MS, done))
      return pending
    },
  })
}

/** `port` with some of its members replaced. Ports that are proxies have no members to spread. */
function changed<Port extends object>(port: Port, members: Partial<Port>): Port {
  return new Proxy(port, {
    get: (target, name) => Reflect.get(members, name) ?? Reflect.get(target, name),
  })
}

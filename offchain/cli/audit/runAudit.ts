/**
 * An audit: replays what registry, settlement and vault ever said, recomputes logs and batches, and compares what the contracts answer. What is final is
 * checked first and can be kept; what came after it is checked on a copy, because it may still be taken back.
 * @module
 */
import { parseEventLogs } from 'viem'
import { type AuditedContracts, inTurns } from '#chain/audit/auditedBlock.ts'
import { compareAccounts, compareRegistry, compareTotals } from '#chain/audit/compareAccounts.ts'
import { compareKeysets, compareMoney } from '#chain/audit/compareKeysets.ts'
import { Discrepancies, type Discrepancy } from '#chain/audit/discrepancy.ts'
import { type EventPage, readEventPages } from '#chain/audit/eventPages.ts'
import { replayRegistry } from '#chain/audit/registryReplay.ts'
import {
  type ReplayedBatch,
  type ReplayedHead,
  SettlementReplay,
  type SettlementTerms,
} from '#chain/audit/settlementReplay.ts'
import { replayVault } from '#chain/audit/vaultReplay.ts'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { VaultAccess } from '#chain/vault.ts'
import { fromChain, VaultError } from '#chain/vaultErrors.ts'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { type Hex, lowerHex } from '#protocol/bytes.ts'
import { type AuditCounts, type AuditRecords, type AuditStateFile, emptyAuditRecords } from './auditState.ts'
import type { LeafSource } from './leafSource.ts'
import { checkLogs, type LogCheckPorts } from './logCheck.ts'

export type AuditOptions = {
  readonly access: VaultAccess
  /** Asked in this order for each log. */
  readonly sources: readonly LeafSource[]
  readonly state?: AuditStateFile | undefined
  /** Told of what a person should know although it is no discrepancy. */
  readonly onNotice?: (sentence: string) => void
  readonly onProgress?: (progress: AuditProgress) => void
}

/** Blocks from `first` to `last`, those up to `block` done. */
export type AuditProgress = AuditCounts & { readonly first: bigint; readonly block: bigint; readonly last: bigint }

export type AuditReport = {
  /** The block that the contracts were asked at. */
  readonly block: bigint
  readonly finalBlock: bigint | undefined
  /** From the block after which this audit read; what came before was checked by one before it. */
  readonly resumedAfter: bigint | undefined
  readonly counts: AuditCounts
  readonly enclaves: number
  readonly keysets: number
  /** How many there are: `discrepancies` has at most DISCREPANCIES_MAX. */
  readonly discrepancyCount: number
  readonly discrepancies: readonly Discrepancy[]
}

/** Heads that wait to be compared with leaves: bounds the memory. */
const HEADS_WAITING_MAX = 20_000
/** A state is saved at least so often while only pages come and no heads. */
const SAVE_MS = 30_000
/** How often newer blocks may be taken back while they are checked. */
const TAIL_ATTEMPTS = 3

/** Throws `VaultError` (`CHAIN_FAILED`), and `AuditStateError` for a state file that is none. */
export async function runAudit(options: AuditOptions): Promise<AuditReport> {
  return new Audit(options, await createBulkKeccak()).run()
}

class Audit {
  readonly #access: VaultAccess
  readonly #options: AuditOptions
  readonly #hash: LogCheckPorts['hash']

  constructor(options: AuditOptions, hash: LogCheckPorts['hash']) {
    this.#access = options.access
    this.#options = options
    this.#hash = hash
  }

  async run(): Promise<AuditReport> {
    const terms = await this.#readTerms()
    const final = await this.#readFinal()
    const begun = await this.#resume(final)
    const { fromBlock } = this.#access
    const records = begun?.records ?? emptyAuditRecords()
    const found = new Discrepancies()
    let from = begun === undefined ? fromBlock : begun.block + 1n
    if (final !== undefined && final >= from) {
      await this.#replay(records, found, terms, { fromBlock: from, toBlock: final }, this.#options.state)
      from = final + 1n
    }
    for (let attempt = 1; ; attempt++) {
      const tail = structuredClone(records)
      const later = new Discrepancies()
      later.merge(found)
      const { number, hash } = await fromChain(this.#access.client.getBlock())
      if (number >= from) await this.#replay(tail, later, terms, { fromBlock: from, toBlock: number })
      // A replay of newer blocks is short, so the endpoint still has this block's state.
      const block = { ...this.#contracts(), number }
      const beforeAnswers = later.count
      await fromChain(this.#compare(block, tail, later, terms))
      const isSame = (await fromChain(this.#access.client.getBlock({ blockNumber: number }))).hash === hash
      if (!isSame && attempt < TAIL_ATTEMPTS) continue
      if (!isSame) throw new VaultError('CHAIN_FAILED', 'the newest blocks are taken back again and again: try later')
      // What contradicts the records may be the records' fault: an endpoint may have left out an event.
      if (later.count > beforeAnswers) this.#options.state?.remove()
      return {
        block: number,
        finalBlock: final,
        resumedAfter: begun?.block,
        counts: tail.counts,
        enclaves: Object.keys(tail.registry.enclaves).length,
        keysets: Object.keys(tail.vault.keysets).length,
        discrepancyCount: later.count,
        discrepancies: later.all,
      }
    }
  }

  async #compare(
    block: AuditedContracts & { readonly number: bigint },
    { registry, settlement, vault }: AuditRecords,
    found: Discrepancies,
    terms: SettlementTerms,
  ): Promise<void> {
    const sums = await compareAccounts(block, settlement, registry, terms, found)
    await compareTotals(block, settlement, sums, terms, found)
    await compareRegistry(block, registry, found)
    await compareKeysets(block, settlement, vault, found)
    await compareMoney(block, settlement, vault, registry, found)
  }

  /** Replays a range of blocks into `records`. While nothing was found, what is checked is saved. */
  async #replay(
    records: AuditRecords,
    found: Discrepancies,
    terms: SettlementTerms,
    range: { readonly fromBlock: bigint; readonly toBlock: bigint },
    state?: AuditStateFile,
  ): Promise<void> {
    const { client, registry, settlement, vault } = this.#access
    const { counts } = records
    const replay = new SettlementReplay(records.settlement, terms, found)
    let batches: ReplayedBatch[] = []
    let heads: ReplayedHead[] = []
    let saved = performance.now()
    const tell = (block: bigint) =>
      this.#options.onProgress?.({ ...counts, first: range.fromBlock, block, last: range.toBlock })
    for await (const page of readEventPages(client, [registry, settlement, vault], range)) {
      counts.events += BigInt(page.logs.length)
      for (const event of eventsOf(page, registry, enclaveRegistryAbi)) replayRegistry(records.registry, event)
      for (const event of eventsOf(page, vault, creditVaultAbi)) replayVault(records.vault, event)
      for (const event of eventsOf(page, settlement, receiptSettlementAbi)) {
        const closed = replay.apply(event)
        if (closed === undefined) continue
        batches.push(closed.batch)
        for (const head of closed.heads) heads.push(head)
      }
      heads.push(...replay.endBlock())
      tell(page.toBlock)
      const isLast = page.toBlock === range.toBlock
      if (!isLast && heads.length < HEADS_WAITING_MAX && performance.now() - saved < SAVE_MS) continue
      await fromChain(this.#checkBatches(batches, found))
      const onLeaves = (count: number) => {
        counts.leaves += BigInt(count)
        tell(page.toBlock)
      }
      const { sources } = this.#options
      await checkLogs({ sources, hash: this.#hash, discrepancies: found, onLeaves }, records.edges, heads)
      counts.batches += BigInt(batches.length)
      counts.heads += BigInt(heads.length)
      batches = []
      heads = []
      saved = performance.now()
      if (found.count === 0 && state !== undefined) await this.#save(state, records, page.toBlock)
    }
  }

  async #checkBatches(batches: readonly ReplayedBatch[], found: Discrepancies): Promise<void> {
    const { client, settlement: address } = this.#access
    const contract = { address, abi: receiptSettlementAbi, functionName: 'batchRoot' } as const
    await inTurns(batches, async ({ batch, root, block }) => {
      const stored = await client.readContract({ ...contract, args: [batch] })
      found.compare('BATCH', 'batchRoot: what the contract stores', { batch, block }, root, stored)
    })
  }

  async #save(state: AuditStateFile, records: AuditRecords, block: bigint): Promise<void> {
    const { chainId, registry, client } = this.#access
    const { hash } = await fromChain(client.getBlock({ blockNumber: block }))
    state.save({ chainId, registryAddress: registry, block, blockHash: hash, records })
  }

  /** The state that was saved, if the chain still has its block. */
  async #resume(final: bigint | undefined): Promise<{ block: bigint; records: AuditRecords } | undefined> {
    const { state, onNotice } = this.#options
    const saved = state?.load()
    if (saved === undefined) return undefined
    const { chainId, registry, client } = this.#access
    const { block, blockHash, records } = saved
    const isOurs = saved.chainId === chainId && saved.registryAddress === registry
    const isThere =
      isOurs &&
      final !== undefined &&
      block <= final &&
      (await fromChain(client.getBlock({ blockNumber: block }))).hash === blockHash
    if (isThere) return { block, records }
    const whose = isOurs ? `has block ${block}, which this chain does not have as final` : 'is of other contracts'
    onNotice?.(`the saved state ${whose}: starting over`)
    return undefined
  }

  async #readTerms(): Promise<SettlementTerms> {
    const { client, settlement: address } = this.#access
    const contract = { address, abi: receiptSettlementAbi } as const
    const [protocol, protocolBps, settlerBps] = await fromChain(
      Promise.all([
        client.readContract({ ...contract, functionName: 'PROTOCOL' }),
        client.readContract({ ...contract, functionName: 'PROTOCOL_BPS' }),
        client.readContract({ ...contract, functionName: 'SETTLER_BPS' }),
      ]),
    )
    return { protocol: lowerHex(protocol), settlerBps: BigInt(settlerBps), bothBps: BigInt(protocolBps + settlerBps) }
  }

  /** The newest final block; undefined on chains that do not say so. */
  async #readFinal(): Promise<bigint | undefined> {
    try {
      return (await this.#access.client.getBlock({ blockTag: 'finalized' })).number
    } catch {
      // Whether the endpoint fails or does not know the tag: without finality everything is checked and nothing kept.
      this.#options.onNotice?.('the chain does not say what is final: nothing is kept for the next audit')
      return undefined
    }
  }

  #contracts(): AuditedContracts {
    const { client, registry, settlement, vault, token } = this.#access
    return { client, registry, settlement, vault, token }
  }
}

function eventsOf<const Abi extends typeof enclaveRegistryAbi | typeof receiptSettlementAbi | typeof creditVaultAbi>(
  { logs }: EventPage,
  address: Hex,
  abi: Abi,
): ReturnType<typeof parseEventLogs<Abi, true>> {
  const own = logs.filter((log) => log.address.toLowerCase() === address)
  return parseEventLogs({ abi, logs: own, strict: true }) as ReturnType<typeof parseEventLogs<Abi, true>>
}

/** What an audit has checked for good, in a file, so that the next one goes on from there. @module */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import * as v from 'valibot'
import { emptyRegistryRecords, type RegistryRecords } from '#chain/audit/registryReplay.ts'
import { emptySettlementRecords, type SettlementRecords } from '#chain/audit/settlementRecords.ts'
import { emptyVaultRecords, type VaultRecords } from '#chain/audit/vaultReplay.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { address, decimal, hash, parseJson, type Schema, toJson, WireError } from '#protocol/wire/json.ts'
import type { LogEdges } from './logCheck.ts'

/** Everything that events up to a block make. Plain data: `structuredClone` copies it. */
export type AuditRecords = {
  readonly registry: RegistryRecords
  readonly settlement: SettlementRecords
  readonly vault: VaultRecords
  readonly edges: LogEdges
  readonly counts: AuditCounts
}

export type AuditCounts = { events: bigint; batches: bigint; heads: bigint; leaves: bigint }

/** `block` is final, and everything up to it was found right. */
export type AuditState = {
  readonly chainId: number
  readonly registryAddress: Hex
  readonly block: bigint
  readonly blockHash: Hex
  readonly records: AuditRecords
}

export type AuditStateFile = {
  /** Undefined where there is no file. Throws `AuditStateError` for a file that is none of an audit. */
  load(): AuditState | undefined
  /** Replaces the file as a whole. */
  save(state: AuditState): void
  remove(): void
}

export function emptyAuditRecords(): AuditRecords {
  return {
    registry: emptyRegistryRecords(),
    settlement: emptySettlementRecords(),
    vault: emptyVaultRecords(),
    edges: new Map(),
    counts: { events: 0n, batches: 0n, heads: 0n, leaves: 0n },
  }
}

const FORMAT = 'sealpath-audit/1'

export function openStateFile(path: string): AuditStateFile {
  return {
    load() {
      if (!existsSync(path)) return undefined
      try {
        const file = parseJson(AuditFileSchema, readFileSync(path, 'utf8'), 'an audit state')
        const { chainId, registryAddress, block, blockHash, records } = file
        const edges: LogEdges = new Map(Object.entries(records.edges).map(edgeOf))
        return { chainId, registryAddress, block, blockHash, records: { ...records, edges } }
      } catch (cause) {
        // It will be replaced, so it must not be somebody's other file.
        if (cause instanceof WireError) throw new AuditStateError(`${path} is not the state of an audit`, { cause })
        throw cause
      }
    },
    save({ records, ...state }) {
      const edges = [...records.edges].map(([enclave, { size, nodes }]) => [enclave, { size, nodes: nodes.map(toHex) }])
      const file = { format: FORMAT, ...state, records: { ...records, edges: Object.fromEntries(edges) } }
      const place = openSync(`${path}.new`, 'w', 0o600)
      writeSync(place, `${toJson(file)}\n`)
      fsyncSync(place)
      closeSync(place)
      renameSync(`${path}.new`, path)
    },
    remove: () => rmSync(path, { force: true }),
  }
}

export class AuditStateError extends Error {
  override readonly name = 'AuditStateError'
}

type EdgeFile = { readonly size: number; readonly nodes: readonly Hex[] }

function edgeOf([enclave, { size, nodes }]: [string, EdgeFile]): [Hex, { size: number; nodes: Uint8Array[] }] {
  return [enclave as Hex, { size, nodes: nodes.map((node) => fromHex(node, 32)) }]
}

type AuditFile = Omit<AuditState, 'records'> & {
  readonly format: typeof FORMAT
  readonly records: Omit<AuditRecords, 'edges'> & { readonly edges: Record<Hex, EdgeFile> }
}

/** As the replay writes them: in lower case. */
const addressKey = v.pipe(v.string(), v.regex(/^0x[0-9a-f]{40}$/))
const hashKey = v.pipe(v.string(), v.regex(/^0x[0-9a-f]{64}$/))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))
/** Sums that the chain makes negative only if it contradicts itself. */
const signed = v.pipe(
  v.string(),
  v.regex(/^-?[0-9]{1,78}$/),
  v.transform((text) => BigInt(text)),
)

const RegistryRecordsSchema = v.object({
  enclaves: v.record(
    addressKey,
    v.object({
      operator: address,
      role: count,
      measurement: hash,
      isDevelopment: v.boolean(),
      endsAt: count,
      isCompromised: v.boolean(),
      isBonded: v.boolean(),
    }),
  ),
  bonds: v.record(addressKey, v.object({ deposited: signed, locked: signed })),
  slashed: signed,
})

const payout = { drawn: signed, thawing: signed, readyAt: count }
const SettlementRecordsSchema = v.object({
  batches: decimal,
  accounts: v.record(
    addressKey,
    v.object({
      size: decimal,
      freeSize: decimal,
      earned: signed,
      cleared: signed,
      credited: signed,
      swept: signed,
      ...payout,
    }),
  ),
  keysets: v.record(hashKey, v.object({ issued: signed, claimed: signed, cleared: signed, exited: signed })),
  cleared: v.record(v.string(), signed),
  settlers: v.record(addressKey, v.object({ earnedAtLeast: signed, ...payout })),
  settlersUnnamed: signed,
  withdrawn: v.record(addressKey, signed),
  insured: signed,
  swept: signed,
})

const VaultRecordsSchema = v.object({
  keysets: v.record(
    hashKey,
    v.object({ writer: address, number: count, deposited: signed, refunded: signed, exited: signed }),
  ),
  paid: v.record(addressKey, signed),
  insured: signed,
})

const AuditFileSchema: Schema<AuditFile> = v.object({
  format: v.literal(FORMAT),
  chainId: count,
  registryAddress: address,
  block: decimal,
  blockHash: hash,
  records: v.object({
    registry: RegistryRecordsSchema,
    settlement: SettlementRecordsSchema,
    vault: VaultRecordsSchema,
    edges: v.record(addressKey, v.object({ size: count, nodes: v.array(hash) })),
    counts: v.object({ events: decimal, batches: decimal, heads: decimal, leaves: decimal }),
  }),
}) as unknown as Schema<AuditFile>

/** Enclaves, operators and settlers: what the contracts answer against what their events make. Units. @module */
import { getAddress } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { enclaveRegistryAbi, receiptSettlementAbi } from '../generated/abis.ts'
import { type AuditedBlock, inTurns } from './auditedBlock.ts'
import type { Discrepancies } from './discrepancy.ts'
import { splitFees } from './feeSplit.ts'
import type { EnclaveRecord, RegistryRecords } from './registryReplay.ts'
import type { AccountRecord, SettlementRecords } from './settlementRecords.ts'
import type { SettlementTerms } from './settlementReplay.ts'

/** What a split of the accounts' credited units adds up to, once as events make it and once as the contract answers. */
export type CreditedSums = { readonly byEvents: SharedSums; readonly byAnswers: SharedSums }
export type SharedSums = { protocol: bigint; settler: bigint }

/** Every enclave that settled anything. */
export async function compareAccounts(
  block: AuditedBlock,
  { accounts }: SettlementRecords,
  { enclaves }: RegistryRecords,
  terms: SettlementTerms,
  discrepancies: Discrepancies,
): Promise<CreditedSums> {
  const sums = { byEvents: { protocol: 0n, settler: 0n }, byAnswers: { protocol: 0n, settler: 0n } }
  await inTurns(Object.entries(accounts) as [Hex, AccountRecord][], async ([enclave, record]) => {
    const role = enclaves[enclave]?.role
    if (record.size > 0n && role !== ENCLAVE_ROLE.gateway) {
      const found = role === undefined ? 'never registered' : `role ${role}`
      const what = 'an enclave that is no gateway earned fees'
      discrepancies.add({ kind: 'ENCLAVE', what, where: { enclave }, expected: 'a registered gateway', found })
    }
    const answered = await compareAccount(block, enclave, record, terms, discrepancies)
    add(sums.byEvents, splitFees(record.credited, terms))
    add(sums.byAnswers, splitFees(answered, terms))
  })
  return sums
}

/** Answers what the contract says was credited. */
async function compareAccount(
  { client, settlement, number: blockNumber }: AuditedBlock,
  enclave: Hex,
  record: AccountRecord,
  terms: SettlementTerms,
  discrepancies: Discrepancies,
): Promise<bigint> {
  const contract = { address: settlement, abi: receiptSettlementAbi, blockNumber, args: [getAddress(enclave)] } as const
  const [account, share, payout] = await Promise.all([
    client.readContract({ ...contract, functionName: 'accountOf' }),
    client.readContract({ ...contract, functionName: 'operatorShareOf' }),
    client.readContract({ ...contract, functionName: 'operatorPayoutOf' }),
  ])
  const where = { enclave }
  const { earned, cleared, credited, drawn, thawing, readyAt } = record
  const size = BigInt(account.size)
  const isFree = earned === 0n && size <= record.freeSize
  discrepancies.compare(
    'ACCOUNT',
    'accountOf: size, earned, cleared, credited',
    where,
    [isFree ? size : record.size, earned, cleared, credited].join(', '),
    [size, account.earned, account.cleared, account.credited].join(', '),
  )
  // Of credited units that differ, either may be wrong: the share follows from one of them.
  const due = splitFees(credited, terms).operator
  if (share !== splitFees(account.credited, terms).operator) {
    discrepancies.compare('ACCOUNT', 'operatorShareOf', where, due, share)
  }
  discrepancies.compare(
    'PAYOUT',
    'operatorPayoutOf: drawn, thawing, ready at',
    where,
    [drawn, thawing, readyAt].join(', '),
    [payout.drawn, payout.thawing, payout.readyAt].join(', '),
  )
  return account.credited
}

/** Sums over all: what the protocol, settlers and the insurance got. */
export async function compareTotals(
  { client, settlement, number: blockNumber }: AuditedBlock,
  records: SettlementRecords,
  { byEvents, byAnswers }: CreditedSums,
  { protocol }: SettlementTerms,
  discrepancies: Discrepancies,
): Promise<void> {
  const contract = { address: settlement, abi: receiptSettlementAbi, blockNumber } as const
  const [batches, insurance, protocolEarned] = await Promise.all([
    client.readContract({ ...contract, functionName: 'batchCount' }),
    client.readContract({ ...contract, functionName: 'insurance' }),
    client.readContract({ ...contract, functionName: 'protocolEarned' }),
  ])
  discrepancies.compare('BATCH', 'number of batches', { batch: records.batches + 1n }, records.batches, batches)
  const account = settlement
  discrepancies.compare('TOTAL', 'insurance', { account }, records.insured + records.swept, insurance)
  if (protocolEarned !== byAnswers.protocol) {
    discrepancies.compare('TOTAL', 'protocolEarned', { account: protocol }, byEvents.protocol, protocolEarned)
  }
  let all = 0n
  let protocolsOwn = 0n
  await inTurns(Object.entries(records.settlers) as [Hex, SettlementRecords['settlers'][Hex]][], async (entry) => {
    const [settler, { earnedAtLeast, drawn, thawing, readyAt }] = entry
    const args = [getAddress(settler)] as const
    const [earned, payout] = await Promise.all([
      client.readContract({ ...contract, functionName: 'settlerEarned', args }),
      client.readContract({ ...contract, functionName: 'settlerPayoutOf', args }),
    ])
    all += earned
    const where = { account: settler }
    if (earned < earnedAtLeast) {
      const expected = `at least ${earnedAtLeast}, for its batches`
      discrepancies.add({ kind: 'TOTAL', what: 'settlerEarned', where, expected, found: `${earned}` })
    }
    if (settler === protocol) {
      protocolsOwn = earned
      return
    }
    discrepancies.compare(
      'PAYOUT',
      'settlerPayoutOf: drawn, thawing, ready at',
      where,
      [drawn, thawing, readyAt].join(', '),
      [payout.drawn, payout.thawing, payout.readyAt].join(', '),
    )
  })
  const taken = records.settlers[protocol]
  const due = protocolEarned + protocolsOwn
  if (taken !== undefined && taken.drawn + taken.thawing > due) {
    const found = `${taken.drawn + taken.thawing}`
    const what = 'the protocol drew more than it earned'
    discrepancies.add({ kind: 'PAYOUT', what, where: { account: protocol }, expected: `at most ${due}`, found })
  }
  const fits = ({ settler }: SharedSums) => all <= settler && all >= settler - records.settlersUnnamed
  if (!fits(byEvents) && !fits(byAnswers)) {
    const { settler } = byEvents
    const least = settler - records.settlersUnnamed
    const expected = least === settler ? `${settler}` : `${least} to ${settler}`
    discrepancies.add({ kind: 'TOTAL', what: 'what all settlers earned', where: {}, expected, found: `${all}` })
  }
}

/** What the registry says of enclaves, and the bonds that it holds. */
export async function compareRegistry(
  { client, registry, number: blockNumber }: AuditedBlock,
  { enclaves, bonds, slashed }: RegistryRecords,
  discrepancies: Discrepancies,
): Promise<void> {
  const contract = { address: registry, abi: enclaveRegistryAbi, blockNumber } as const
  await inTurns(Object.entries(enclaves) as [Hex, EnclaveRecord][], async ([enclave, record]) => {
    const entry = await client.readContract({ ...contract, functionName: 'enclaveOf', args: [getAddress(enclave)] })
    const found = { ...entry, operator: entry.operator.toLowerCase() as Hex }
    const what = `enclaveOf: ${ENCLAVE_FIELDS.join(', ')}`
    discrepancies.compare('ENCLAVE', what, { enclave }, fieldsOf(record), fieldsOf(found))
  })
  await inTurns(Object.entries(bonds) as [Hex, RegistryRecords['bonds'][Hex]][], async ([account, record]) => {
    const bond = await client.readContract({ ...contract, functionName: 'bondOf', args: [getAddress(account)] })
    const expected = [record.deposited, record.locked].join(', ')
    const found = [bond.deposited, bond.locked].join(', ')
    discrepancies.compare('BOND', 'bondOf: deposited, locked', { account }, expected, found)
  })
  const [count, kept] = await Promise.all([
    client.readContract({ ...contract, functionName: 'enclaveCount' }),
    client.readContract({ ...contract, functionName: 'slashed' }),
  ])
  discrepancies.compare('ENCLAVE', 'number of enclaves', {}, BigInt(Object.keys(enclaves).length), count)
  discrepancies.compare('BOND', 'slashed and not insured yet', {}, slashed, kept)
}

const ENCLAVE_FIELDS = [
  'operator',
  'role',
  'measurement',
  'endsAt',
  'isCompromised',
  'isBonded',
  'isDevelopment',
] as const

function fieldsOf(entry: EnclaveRecord): string {
  return ENCLAVE_FIELDS.map((name) => entry[name]).join(', ')
}

function add(sum: SharedSums, { protocol, settler }: SharedSums): void {
  sum.protocol += protocol
  sum.settler += settler
}

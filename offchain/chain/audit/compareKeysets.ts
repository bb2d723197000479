/** Keysets, what moved between the contracts, and what they hold: answers against events. Units. @module */
import { erc20Abi, getAddress } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { creditVaultAbi, receiptSettlementAbi } from '../generated/abis.ts'
import { type AuditedBlock, inTurns } from './auditedBlock.ts'
import type { Discrepancies } from './discrepancy.ts'
import type { RegistryRecords } from './registryReplay.ts'
import type { KeysetRecord, SettlementRecords } from './settlementRecords.ts'
import { unitsHeld, type VaultRecords } from './vaultReplay.ts'

const NOTHING: KeysetRecord = { issued: 0n, claimed: 0n, cleared: 0n, exited: 0n }

/** Totals and bounds of every keyset, and what it cleared for each enclave. */
export async function compareKeysets(
  { client, settlement, vault, number: blockNumber }: AuditedBlock,
  records: SettlementRecords,
  money: VaultRecords,
  discrepancies: Discrepancies,
): Promise<void> {
  const settled = { address: settlement, abi: receiptSettlementAbi, blockNumber } as const
  const kept = { address: vault, abi: creditVaultAbi, blockNumber } as const
  await inTurns(Object.entries(money.keysets) as [Hex, VaultRecords['keysets'][Hex]][], async ([keyset, behind]) => {
    const [totals, entry] = await Promise.all([
      client.readContract({ ...settled, functionName: 'keysetTotals', args: [keyset] }),
      client.readContract({ ...kept, functionName: 'keysetOf', args: [keyset] }),
    ])
    const { issued, claimed, cleared, exited } = records.keysets[keyset] ?? NOTHING
    const where = { keyset }
    discrepancies.compare(
      'KEYSET',
      'keysetTotals: issued, claimed, cleared, exited',
      where,
      [issued, claimed, cleared, exited].join(', '),
      [totals.issued, totals.claimed, totals.cleared, totals.exited].join(', '),
    )
    const deposited = behind.deposited - behind.refunded
    discrepancies.compare(
      'KEYSET',
      'keysetOf: writer, deposited, number',
      where,
      [behind.writer, deposited, behind.number].join(', '),
      [entry.writer.toLowerCase(), entry.deposited, entry.number].join(', '),
    )
    discrepancies.compare('KEYSET', 'exits that the vault paid and the settlement booked', where, behind.exited, exited)
    if (issued > behind.deposited) {
      const expected = `at most ${behind.deposited}, what was deposited`
      discrepancies.add({ kind: 'BOUND', what: 'issued', where, expected, found: `${issued}` })
    }
    if (claimed + exited > deposited) {
      const found = `${claimed} captured and ${exited} exited`
      const expected = `at most ${deposited}, what was deposited and not refunded`
      discrepancies.add({ kind: 'BOUND', what: 'captured and exited', where, expected, found })
    }
  })
  await inTurns(Object.entries(records.cleared), async ([key, units]) => {
    const [keyset, enclave] = key.split('/') as [Hex, Hex]
    const args = [keyset, getAddress(enclave)] as const
    const found = await client.readContract({ ...settled, functionName: 'clearedBy', args })
    discrepancies.compare('CLEARED', 'clearedBy', { keyset, enclave }, units, found)
  })
}

/** Each payment of the vault was drawn by somebody, and both contracts hold what they owe. */
export async function compareMoney(
  { client, registry, vault, token, number: blockNumber }: AuditedBlock,
  { withdrawn, insured }: SettlementRecords,
  money: VaultRecords,
  { bonds, slashed, enclaves }: RegistryRecords,
  discrepancies: Discrepancies,
): Promise<void> {
  for (const account of new Set([...Object.keys(withdrawn), ...Object.keys(money.paid)]) as Set<Hex>) {
    // What an operator drew in a way that its enclave's payout contradicts was said already.
    const isSaid =
      discrepancies.has('PAYOUT', { account }) ||
      discrepancies.all.some(
        ({ kind, where: { enclave } }) =>
          kind === 'PAYOUT' && enclave !== undefined && enclaves[enclave]?.operator === account,
      )
    if (isSaid) continue
    const found = money.paid[account] ?? 0n
    discrepancies.compare('PAYOUT', 'paid by the vault', { account }, withdrawn[account] ?? 0n, found)
  }
  discrepancies.compare('TOTAL', 'insurance that the vault took', { account: vault }, insured, money.insured)
  const contract = { address: token, abi: erc20Abi, blockNumber, functionName: 'balanceOf' } as const
  const [ofVault, ofRegistry] = await Promise.all([
    client.readContract({ ...contract, args: [getAddress(vault)] }),
    client.readContract({ ...contract, args: [getAddress(registry)] }),
  ])
  const bonded = Object.values(bonds).reduce((sum, { deposited }) => sum + deposited, slashed)
  requireHeld(discrepancies, vault, unitsHeld(money), ofVault)
  requireHeld(discrepancies, registry, bonded, ofRegistry)
}

function requireHeld(discrepancies: Discrepancies, account: Hex, units: bigint, found: bigint): void {
  const due = units * BASE_UNITS_PER_UNIT
  if (found >= due) return
  const what = 'token balance in base units'
  discrepancies.add({ kind: 'BALANCE', what, where: { account }, expected: `at least ${due}`, found: `${found}` })
}

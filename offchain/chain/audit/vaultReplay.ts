/** What came into the vault and left it, from its events alone. Units. @module */
import type { parseEventLogs } from 'viem'
import { type Hex, lowerHex } from '#protocol/bytes.ts'
import type { creditVaultAbi } from '../generated/abis.ts'

/** `deposited` before refunds. */
export type KeysetMoney = { writer: Hex; number: number; deposited: bigint; refunded: bigint; exited: bigint }

/** Keysets by id; `paid` by who was paid on the settlement contract's word, in lower case. */
export type VaultRecords = { keysets: Record<Hex, KeysetMoney>; paid: Record<Hex, bigint>; insured: bigint }

export type VaultEvent = ReturnType<typeof parseEventLogs<typeof creditVaultAbi, true>>[number]

export function emptyVaultRecords(): VaultRecords {
  return { keysets: {}, paid: {}, insured: 0n }
}

/** Applies one event; all must come, in their order. */
export function replayVault(records: VaultRecords, event: VaultEvent): void {
  switch (event.eventName) {
    case 'KeysetOpened':
      Object.assign(moneyOf(records, event.args.keyset), {
        writer: lowerHex(event.args.writer),
        number: event.args.number,
      })
      break
    case 'KeysetTakenOver':
      moneyOf(records, event.args.keyset).writer = lowerHex(event.args.writer)
      break
    case 'Deposited':
      moneyOf(records, event.args.keyset).deposited += event.args.amount
      break
    case 'Refunded':
      moneyOf(records, event.args.keyset).refunded += event.args.amount
      break
    case 'ExitsPaid':
      moneyOf(records, event.args.keyset).exited += event.args.amount
      break
    case 'InsurancePaid':
      records.insured += event.args.amount
      break
    case 'Paid': {
      const to = lowerHex(event.args.to)
      records.paid[to] = (records.paid[to] ?? 0n) + event.args.amount
      break
    }
  }
}

/** Units that the vault must hold. */
export function unitsHeld({ keysets, paid, insured }: VaultRecords): bigint {
  let units = insured
  for (const { deposited, refunded, exited } of Object.values(keysets)) units += deposited - refunded - exited
  for (const amount of Object.values(paid)) units -= amount
  return units
}

const NOBODY: Hex = `0x${'00'.repeat(20)}`

function moneyOf(records: VaultRecords, keyset: Hex): KeysetMoney {
  records.keysets[keyset] ??= { writer: NOBODY, number: 0, deposited: 0n, refunded: 0n, exited: 0n }
  return records.keysets[keyset]
}

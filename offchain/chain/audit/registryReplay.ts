/** What an audit needs to know of the registry, from its events alone: who operates which enclave, and the bonds. @module */
import type { Address, parseEventLogs } from 'viem'
import { type Hex, lowerHex } from '#protocol/bytes.ts'
import type { enclaveRegistryAbi } from '../generated/abis.ts'

/** Fields as the registry's `Enclave`. */
export type EnclaveRecord = {
  operator: Hex
  role: number
  measurement: Hex
  isDevelopment: boolean
  endsAt: number
  isCompromised: boolean
  isBonded: boolean
}

/** Units. */
export type BondRecord = { deposited: bigint; locked: bigint }

/** By enclave, and by operator or reporter: addresses in lower case. `slashed`: units not moved to the insurance yet. */
export type RegistryRecords = {
  enclaves: Record<Hex, EnclaveRecord>
  bonds: Record<Hex, BondRecord>
  slashed: bigint
}

export type RegistryEvent = ReturnType<typeof parseEventLogs<typeof enclaveRegistryAbi, true>>[number]

export function emptyRegistryRecords(): RegistryRecords {
  return { enclaves: {}, bonds: {}, slashed: 0n }
}

/** Applies one event; all must come, in their order. What is said of an enclave that was never registered is left out. */
export function replayRegistry(records: RegistryRecords, event: RegistryEvent): void {
  switch (event.eventName) {
    case 'EnclaveRegistered': {
      const { enclave, operator, role, measurement, isDevelopment, endsAt } = event.args
      const state = { endsAt, isCompromised: false, isBonded: true }
      records.enclaves[lowerHex(enclave)] = { operator: lowerHex(operator), role, measurement, isDevelopment, ...state }
      break
    }
    case 'EnclaveRenewed':
    case 'EnclaveRetired':
      change(records, event.args.enclave, { endsAt: event.args.endsAt })
      break
    case 'EnclaveCompromised':
      change(records, event.args.enclave, { isCompromised: true })
      break
    case 'BondDeposited':
      bondOf(records, event.args.operator).deposited += event.args.amount
      break
    case 'BondWithdrawn':
      bondOf(records, event.args.operator).deposited -= event.args.amount
      break
    case 'BondLocked':
      bondOf(records, event.args.operator).locked += event.args.amount
      break
    case 'BondReleased':
      bondOf(records, event.args.operator).locked -= event.args.amount
      change(records, event.args.enclave, { isBonded: false })
      break
    case 'BondSlashed': {
      const { enclave, operator, reporter, toReporter, toInsurance } = event.args
      const bond = bondOf(records, operator)
      bond.deposited -= toReporter + toInsurance
      bond.locked -= toReporter + toInsurance
      bondOf(records, reporter).deposited += toReporter
      records.slashed += toInsurance
      change(records, enclave, { isBonded: false })
      break
    }
    case 'SlashedInsured':
      records.slashed -= event.args.amount
      break
  }
}

function change(records: RegistryRecords, enclave: Address, changes: Partial<EnclaveRecord>): void {
  const known = records.enclaves[lowerHex(enclave)]
  if (known !== undefined) Object.assign(known, changes)
}

function bondOf(records: RegistryRecords, operator: Address): BondRecord {
  const key = lowerHex(operator)
  records.bonds[key] ??= { deposited: 0n, locked: 0n }
  return records.bonds[key]
}

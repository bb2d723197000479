/** The registry's state rebuilt from nothing but its events: events tell all that it knows, or the test fails. @module */
import { type Address, type PublicClient, parseEventLogs } from 'viem'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { type Hex, lowerHex } from '#protocol/bytes.ts'

/** One enclave as its events tell it. Times in seconds. */
export type EnclaveHistory = {
  readonly operator: Hex
  readonly role: number
  readonly measurement: Hex
  readonly isDevelopment: boolean
  endsAt: number
  isCompromised: boolean
  isBonded: boolean
  /** Ids of the certificates that its newest evidence rests on. */
  certificates: readonly Hex[]
  /** The document in each of the two places. */
  readonly keyConfigs: [KeyConfigsEntry | undefined, KeyConfigsEntry | undefined]
}

export type KeyConfigsEntry = { readonly hash: Hex; readonly activeFrom: number; readonly expiresAt: number }

/** Amounts in units. */
export type BondHistory = { deposited: bigint; locked: bigint }

export type RegistryHistory = {
  /** By enclave, in lower case. */
  readonly enclaves: Map<Hex, EnclaveHistory>
  /** By operator, in lower case. */
  readonly bonds: Map<Hex, BondHistory>
  /** `role:measurement` of what is approved. */
  readonly approved: Set<string>
  /** Units slashed for the insurance and not moved there yet. */
  slashed: bigint
}

/** Replays the events of `registry` from `fromBlock` to `toBlock`. Throws what the RPC endpoint throws. */
export async function readRegistryHistory(
  client: PublicClient,
  registry: Address,
  range: { readonly fromBlock: bigint; readonly toBlock: bigint },
): Promise<RegistryHistory> {
  const logs = await client.getLogs({ address: registry, ...range })
  const history: RegistryHistory = { enclaves: new Map(), bonds: new Map(), approved: new Set(), slashed: 0n }
  const times = new Map<bigint, number>()
  for (const { blockNumber } of logs) {
    if (times.has(blockNumber)) continue
    times.set(blockNumber, Number((await client.getBlock({ blockNumber })).timestamp))
  }
  for (const event of parseEventLogs({ abi: enclaveRegistryAbi, logs })) {
    apply(history, event, times.get(event.blockNumber) ?? 0)
  }
  return history
}

type RegistryEvent = ReturnType<typeof parseEventLogs<typeof enclaveRegistryAbi, true>>[number]

function apply(history: RegistryHistory, event: RegistryEvent, time: number): void {
  switch (event.eventName) {
    case 'MeasurementApproved':
      history.approved.add(`${event.args.role}:${event.args.measurement}`)
      break
    case 'MeasurementRevoked':
      history.approved.delete(`${event.args.role}:${event.args.measurement}`)
      break
    case 'EnclaveRegistered': {
      const { enclave, operator, role, measurement, isDevelopment, endsAt } = event.args
      history.enclaves.set(lowerHex(enclave), {
        operator: lowerHex(operator),
        role,
        measurement,
        isDevelopment,
        endsAt,
        isCompromised: false,
        isBonded: true,
        certificates: [],
        keyConfigs: [undefined, undefined],
      })
      break
    }
    case 'EvidenceAccepted':
      enclaveOf(history, event.args.enclave).certificates = event.args.certificates
      break
    case 'EnclaveRenewed':
    case 'EnclaveRetired':
      enclaveOf(history, event.args.enclave).endsAt = event.args.endsAt
      break
    case 'EnclaveCompromised':
      enclaveOf(history, event.args.enclave).isCompromised = true
      break
    case 'KeyConfigsAnnounced': {
      const { enclave, hash, activeFrom, expiresAt } = event.args
      const { keyConfigs } = enclaveOf(history, enclave)
      // The registry takes the first place that is free or has expired.
      const place = keyConfigs.findIndex((entry) => entry === undefined || entry.expiresAt <= time)
      keyConfigs[place === 0 ? 0 : 1] = { hash, activeFrom, expiresAt }
      break
    }
    default:
      applyToBonds(history, event)
  }
}

function applyToBonds(history: RegistryHistory, event: RegistryEvent): void {
  switch (event.eventName) {
    case 'BondDeposited':
      bondOf(history, event.args.operator).deposited += event.args.amount
      break
    case 'BondWithdrawn':
      bondOf(history, event.args.operator).deposited -= event.args.amount
      break
    case 'BondLocked':
      bondOf(history, event.args.operator).locked += event.args.amount
      break
    case 'BondReleased':
      bondOf(history, event.args.operator).locked -= event.args.amount
      enclaveOf(history, event.args.enclave).isBonded = false
      break
    case 'BondSlashed': {
      const { enclave, operator, reporter, toReporter, toInsurance } = event.args
      const bond = bondOf(history, operator)
      bond.deposited -= toReporter + toInsurance
      bond.locked -= toReporter + toInsurance
      bondOf(history, reporter).deposited += toReporter
      history.slashed += toInsurance
      enclaveOf(history, enclave).isBonded = false
      break
    }
    case 'SlashedInsured':
      history.slashed -= event.args.amount
      break
  }
}

function enclaveOf(history: RegistryHistory, enclave: Address): EnclaveHistory {
  const entry = history.enclaves.get(lowerHex(enclave))
  if (entry === undefined) throw new Error(`the registry told of the enclave ${enclave} before registering it`)
  return entry
}

function bondOf(history: RegistryHistory, operator: Address): BondHistory {
  const known = history.bonds.get(lowerHex(operator))
  if (known !== undefined) return known
  const bond = { deposited: 0n, locked: 0n }
  history.bonds.set(lowerHex(operator), bond)
  return bond
}

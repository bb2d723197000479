/** What the contracts' owner, an OpenZeppelin TimelockController, decides: proposed, waited for, executed. @module */
import {
  type Account,
  type Address,
  type Chain,
  encodeFunctionData,
  getAbiItem,
  numberToHex,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { EnclaveRole } from '#protocol/evidence/statement.ts'
import { creditVaultAbi, enclaveRegistryAbi, timelockControllerAbi } from './generated/abis.ts'
import { readLogs } from './vaultLogs.ts'

export type TimelockAccess = {
  readonly client: PublicClient
  /** A proposer; anyone may execute. */
  readonly wallet: WalletClient<Transport, Chain, Account>
  readonly timelock: Hex
}

/** What the timelock shall do, and how to see that it is done. */
export type TimelockCall = {
  readonly target: Hex
  readonly data: Hex
  readonly isDone: () => Promise<boolean>
}

export type Approval = { readonly role: EnclaveRole; readonly measurement: Hex }

export type Advance = { readonly state: 'waiting' | 'done'; readonly readyAt: bigint }

/** OpenZeppelin's OperationState. */
const OPERATION_STATES = ['unset', 'waiting', 'ready', 'done'] as const

/** A call for somebody to send: a multisig, or an account. Its value is always 0. */
export type PreparedCall = { readonly to: Hex; readonly data: Hex }

/** `readyAt` in seconds; 0 unless it waits or is ready. `waiting` and `ready` as of the chain's newest block. */
export type OperationStanding = {
  readonly id: Hex
  readonly state: 'unset' | 'waiting' | 'ready'
  readonly readyAt: bigint
  /** Seconds that the timelock makes a proposal wait. */
  readonly delay: bigint
  /** What a proposer sends to propose it. */
  readonly schedule: PreparedCall
  /** What anyone sends to execute it, once it is ready. */
  readonly execute: PreparedCall
  /** What a proposer sends to take it back. */
  readonly cancel: PreparedCall
}

/** A proposal that was neither executed nor taken back. */
export type OpenProposal = {
  readonly id: Hex
  readonly readyAt: bigint
  readonly calls: readonly { readonly target: Hex; readonly data: Hex }[]
}

/** What approves reference values for a role when the timelock does it. */
export function approvalCall(registry: Hex, { role, measurement }: Approval): Pick<TimelockCall, 'target' | 'data'> {
  const args = [role, measurement] as const
  return {
    target: registry,
    data: encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'approveMeasurement', args }),
  }
}

/** How a call stands with the timelock, and what is sent to bring it on. Throws what the RPC endpoint throws. */
export async function readOperation(
  client: PublicClient,
  timelock: Hex,
  call: Pick<TimelockCall, 'target' | 'data'>,
): Promise<OperationStanding> {
  const contract = { address: timelock, abi: timelockControllerAbi } as const
  const { operation, id, state } = await openOperation({ client, timelock }, call)
  const delay = await client.readContract({ ...contract, functionName: 'getMinDelay' })
  const readyAt = await client.readContract({ ...contract, functionName: 'getTimestamp', args: [id] })
  const prepare = (data: Hex): PreparedCall => ({ to: timelock, data })
  const { abi } = contract
  return {
    id,
    state,
    readyAt,
    delay,
    schedule: prepare(encodeFunctionData({ abi, functionName: 'schedule', args: [...operation, delay] })),
    execute: prepare(encodeFunctionData({ abi, functionName: 'execute', args: operation })),
    cancel: cancelCall(timelock, id),
  }
}

/** What a proposer sends to take back any proposal. */
export function cancelCall(timelock: Hex, id: Hex): PreparedCall {
  return { to: timelock, data: encodeFunctionData({ abi: timelockControllerAbi, functionName: 'cancel', args: [id] }) }
}

/** What the guardian sends to revoke reference values at once. */
export function revocationCall(registry: Hex, { role, measurement }: Approval): PreparedCall {
  const args = [role, measurement] as const
  return {
    to: registry,
    data: encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'revokeMeasurement', args }),
  }
}

/** What anyone sends to retire an enclave whose reference values were revoked. */
export function invalidationCall(registry: Hex, enclave: Hex): PreparedCall {
  return {
    to: registry,
    data: encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'invalidate', args: [enclave] }),
  }
}

/** Everything proposed since `fromBlock` that can still be executed, oldest first. Throws `VaultError` (`CHAIN_FAILED`). */
export async function readOpenProposals(
  client: PublicClient,
  timelock: Hex,
  fromBlock: bigint,
): Promise<readonly OpenProposal[]> {
  const event = getAbiItem({ abi: timelockControllerAbi, name: 'CallScheduled' })
  const logs = await readLogs({ client, fromBlock }, (range) =>
    client.getLogs({ address: timelock, event, strict: true, ...range }),
  )
  const contract = { address: timelock, abi: timelockControllerAbi } as const
  const calls = new Map<Hex, { target: Hex; data: Hex }[]>()
  for (const { args } of logs.toReversed()) {
    calls.set(args.id, [...(calls.get(args.id) ?? []), { target: args.target, data: args.data }])
  }
  const proposals: OpenProposal[] = []
  for (const [id, of] of calls) {
    const readyAt = await client.readContract({ ...contract, functionName: 'getTimestamp', args: [id] })
    // 0 when it was taken back, 1 when it was executed.
    if (readyAt > 1n) proposals.push({ id, readyAt, calls: of })
  }
  return proposals
}

/** Reference values for a role, as `advanceCall`. */
export function advanceApproval(
  access: TimelockAccess & { readonly registry: Hex },
  { role, measurement }: Approval,
): Promise<Advance> {
  const registry = { address: access.registry, abi: enclaveRegistryAbi } as const
  const args = [role, measurement] as const
  return advanceCall(access, {
    ...approvalCall(access.registry, { role, measurement }),
    isDone: () => access.client.readContract({ ...registry, functionName: 'isApproved', args }),
  })
}

/** A keyset of these 24 keys (`EIP2537_G2_BYTES` each) written by an issuer, as `advanceCall`. `id` is the keyset's. */
export function advanceKeyset(
  access: TimelockAccess & { readonly vault: Hex },
  { id, keys, times, writer }: KeysetOpening,
): Promise<Advance> {
  const vault = { address: access.vault, abi: creditVaultAbi } as const
  return advanceCall(access, {
    ...openingCall(access.vault, { keys, times, writer }),
    async isDone() {
      const { number } = await access.client.readContract({ ...vault, functionName: 'keysetOf', args: [id] })
      return number !== 0
    },
  })
}

/** What opens a keyset when the timelock does it. */
export function openingCall(
  vault: Hex,
  { keys, times, writer }: Omit<KeysetOpening, 'id'>,
): Pick<TimelockCall, 'target' | 'data'> {
  const args = [toHex(keys), times, writer] as const
  return { target: vault, data: encodeFunctionData({ abi: creditVaultAbi, functionName: 'openKeyset', args }) }
}

export type KeysetOpening = {
  readonly id: Hex
  readonly keys: Uint8Array
  readonly times: { readonly signUntil: number; readonly spendUntil: number; readonly exitUntil: number }
  readonly writer: Hex
}

/**
 * Brings a call as far as it can be brought now: proposes it when nobody did, executes it when its time has come. Answers the state and, while it
 * waits, when it is ready, in seconds. Calling again goes on where it stood. Throws what the RPC endpoint throws.
 */
export async function advanceCall(access: TimelockAccess, call: TimelockCall): Promise<Advance> {
  const { client, wallet, timelock } = access
  if (await call.isDone()) return { state: 'done', readyAt: 0n }
  const contract = { address: timelock, abi: timelockControllerAbi } as const
  const { operation, id, state } = await openOperation(access, call)
  if (state === 'unset') {
    const delay = await client.readContract({ ...contract, functionName: 'getMinDelay' })
    const args = [...operation, delay] as const
    await send(access, await wallet.writeContract({ ...contract, functionName: 'schedule', args }))
  }
  const readyAt = await client.readContract({ ...contract, functionName: 'getTimestamp', args: [id] })
  const { timestamp } = await client.getBlock({ blockTag: 'pending' })
  if (timestamp < readyAt) return { state: 'waiting', readyAt }
  await send(access, await wallet.writeContract({ ...contract, functionName: 'execute', args: operation }))
  return { state: 'done', readyAt }
}

type Operation = readonly [Address, bigint, Hex, Hex, Hex]

/** The first operation of this call that was not executed yet: what was undone since needs another one, told apart by its salt. */
async function openOperation(
  { client, timelock }: Pick<TimelockAccess, 'client' | 'timelock'>,
  { target, data }: Pick<TimelockCall, 'target' | 'data'>,
): Promise<{ operation: Operation; id: Hex; state: 'unset' | 'waiting' | 'ready' }> {
  const contract = { address: timelock, abi: timelockControllerAbi } as const
  for (let salt = 0n; ; salt++) {
    const operation: Operation = [target, 0n, data, toHex(new Uint8Array(32)), numberToHex(salt, { size: 32 })]
    const id = await client.readContract({ ...contract, functionName: 'hashOperation', args: operation })
    const state = await client.readContract({ ...contract, functionName: 'getOperationState', args: [id] })
    const name = OPERATION_STATES[state] ?? 'unset'
    if (name !== 'done') return { operation, id, state: name }
  }
}

async function send({ client }: TimelockAccess, hash: Hex): Promise<void> {
  const { status } = await client.waitForTransactionReceipt({ hash })
  if (status !== 'success') throw new Error(`the timelock refused, transaction ${hash}`)
}

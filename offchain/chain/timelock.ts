/** What the contracts' owner, an OpenZeppelin TimelockController, decides: proposed, waited for, executed. @module */
import {
  type Account,
  type Address,
  type Chain,
  encodeFunctionData,
  numberToHex,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { EnclaveRole } from '#protocol/evidence/statement.ts'
import { creditVaultAbi, enclaveRegistryAbi, timelockControllerAbi } from './generated/abis.ts'

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

/** Reference values for a role, as `advanceCall`. */
export function advanceApproval(
  access: TimelockAccess & { readonly registry: Hex },
  { role, measurement }: Approval,
): Promise<Advance> {
  const registry = { address: access.registry, abi: enclaveRegistryAbi } as const
  const args = [role, measurement] as const
  return advanceCall(access, {
    target: access.registry,
    data: encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'approveMeasurement', args }),
    isDone: () => access.client.readContract({ ...registry, functionName: 'isApproved', args }),
  })
}

/** A keyset of these 24 keys (`EIP2537_G2_BYTES` each) written by an issuer, as `advanceCall`. `id` is the keyset's. */
export function advanceKeyset(
  access: TimelockAccess & { readonly vault: Hex },
  { id, keys, times, writer }: KeysetOpening,
): Promise<Advance> {
  const vault = { address: access.vault, abi: creditVaultAbi } as const
  const args = [toHex(keys), times, writer] as const
  return advanceCall(access, {
    target: access.vault,
    data: encodeFunctionData({ abi: creditVaultAbi, functionName: 'openKeyset', args }),
    async isDone() {
      const { number } = await access.client.readContract({ ...vault, functionName: 'keysetOf', args: [id] })
      return number !== 0
    },
  })
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
  { client, timelock }: TimelockAccess,
  { target, data }: TimelockCall,
): Promise<{ operation: Operation; id: Hex; state: string }> {
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

/** Reference values through the registry's owner, an OpenZeppelin TimelockController: proposed, waited for, executed. @module */
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
import { enclaveRegistryAbi, timelockControllerAbi } from './generated/abis.ts'

export type TimelockAccess = {
  readonly client: PublicClient
  /** A proposer; anyone may execute. */
  readonly wallet: WalletClient<Transport, Chain, Account>
  readonly timelock: Hex
  readonly registry: Hex
}

export type Approval = { readonly role: EnclaveRole; readonly measurement: Hex }

/** OpenZeppelin's OperationState. */
const OPERATION_STATES = ['unset', 'waiting', 'ready', 'done'] as const

/**
 * Brings reference values as far as they can be brought now: proposes them when nobody did, executes them when their time has come. Answers
 * the state and, while they wait, when they are ready, in seconds. Calling again goes on where it stood. Throws what the RPC endpoint throws.
 */
export async function advanceApproval(
  access: TimelockAccess,
  approval: Approval,
): Promise<{ readonly state: 'waiting' | 'approved'; readonly readyAt: bigint }> {
  const { client, wallet, timelock, registry } = access
  const isApproved = await client.readContract({
    address: registry,
    abi: enclaveRegistryAbi,
    functionName: 'isApproved',
    args: [approval.role, approval.measurement],
  })
  if (isApproved) return { state: 'approved', readyAt: 0n }
  const contract = { address: timelock, abi: timelockControllerAbi } as const
  const { operation, id, state } = await openOperation(access, approval)
  if (state === 'unset') {
    const delay = await client.readContract({ ...contract, functionName: 'getMinDelay' })
    await send(
      access,
      await wallet.writeContract({ ...contract, functionName: 'schedule', args: [...operation, delay] }),
    )
  }
  const readyAt = await client.readContract({ ...contract, functionName: 'getTimestamp', args: [id] })
  const { timestamp } = await client.getBlock({ blockTag: 'pending' })
  if (timestamp < readyAt) return { state: 'waiting', readyAt }
  await send(access, await wallet.writeContract({ ...contract, functionName: 'execute', args: operation }))
  return { state: 'approved', readyAt }
}

type Operation = readonly [Address, bigint, Hex, Hex, Hex]

/** The first operation of this approval that was not executed yet: values that were revoked since need another one, told apart by its salt. */
async function openOperation(
  { client, timelock, registry }: TimelockAccess,
  { role, measurement }: Approval,
): Promise<{ operation: Operation; id: Hex; state: string }> {
  const contract = { address: timelock, abi: timelockControllerAbi } as const
  const data = encodeFunctionData({
    abi: enclaveRegistryAbi,
    functionName: 'approveMeasurement',
    args: [role, measurement],
  })
  for (let salt = 0n; ; salt++) {
    const operation: Operation = [registry, 0n, data, toHex(new Uint8Array(32)), numberToHex(salt, { size: 32 })]
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

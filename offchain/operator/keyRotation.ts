/**
 * Replaces an enclave's sealing keys in three steps, each of which finds out by itself how far things are, so that an agent may stop between any two:
 * the enclave makes the next keys, the registry is told, and once they are live there the enclave serves them.
 * @module
 */
import { getAddress } from 'viem/utils'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { AppError } from '#node/appError.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { EnclaveAgent } from './peers.ts'
import { asAppError, type RegistryAccess } from './registration.ts'

export type RotationStep =
  | { readonly kind: 'announced'; readonly keyConfigs: Hex; readonly transaction: Hex }
  | { readonly kind: 'used'; readonly keyConfigs: Hex }

type Entry = { readonly hash: Hex; readonly activeFrom: number; readonly expiresAt: number }

/**
 * Takes the step that is due, if any. `afterSeconds` is the age at which keys are replaced. Throws `AppError` (`PEER_FAILED`, `RPC_FAILED`;
 * `NOT_REGISTERED` with the chain's reason).
 */
export async function rotateKeys(
  access: RegistryAccess,
  enclave: EnclaveAgent,
  afterSeconds: number,
): Promise<RotationStep | undefined> {
  const { statement, keyConfigs } = await enclave.status()
  const served = toHex(keccak256(keyConfigs))
  const { now, entries } = await readKeyConfigs(access, statement.enclave)
  const [newest] = entries.toSorted((a, b) => b.activeFrom - a.activeFrom)
  if (newest === undefined) return undefined
  if (newest.hash !== served) {
    if (newest.activeFrom > now) return undefined
    await enclave.useKeys(newest.hash)
    return { kind: 'used', keyConfigs: newest.hash }
  }
  const hasRoom = entries.some(({ expiresAt }) => expiresAt <= now)
  if (now - newest.activeFrom < afterSeconds || !hasRoom) return undefined
  const offer = await enclave.nextKeys()
  if (offer === undefined) return undefined
  const transaction = await announce(access, statement.enclave, offer)
  return { kind: 'announced', keyConfigs: offer.hash, transaction }
}

/** Both slots of the registry, empty ones too, and the time of the block they were read at. */
async function readKeyConfigs(
  { client, registry }: RegistryAccess,
  enclave: Hex,
): Promise<{ now: number; entries: readonly Entry[] }> {
  try {
    const block = await client.getBlock()
    const entries = await client.readContract({
      address: registry,
      abi: enclaveRegistryAbi,
      functionName: 'keyConfigsOf',
      args: [getAddress(enclave)],
      blockNumber: block.number,
    })
    return { now: Number(block.timestamp), entries }
  } catch (cause) {
    throw asAppError(cause)
  }
}

async function announce(
  { client, wallet, registry }: RegistryAccess,
  enclave: Hex,
  { hash, signature }: { readonly hash: Hex; readonly signature: Hex },
): Promise<Hex> {
  try {
    const { request } = await client.simulateContract({
      address: registry,
      abi: enclaveRegistryAbi,
      functionName: 'announceKeyConfigs',
      args: [getAddress(enclave), hash, signature],
      account: wallet.account,
    })
    const transaction = await wallet.writeContract(request)
    const receipt = await client.waitForTransactionReceipt({ hash: transaction, timeout: 120_000 })
    if (receipt.status !== 'success') throw new AppError('NOT_REGISTERED', 'the announcement was reverted')
    return transaction
  } catch (cause) {
    throw asAppError(cause)
  }
}

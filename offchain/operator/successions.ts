/** Tells the vault that an issuer follows another one: the present writer's signed word, which anyone may submit. @module */
import { BaseError, ContractFunctionRevertedError } from 'viem'
import { creditVaultAbi, enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { AppError } from '#node/appError.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { SignedSuccession } from '#protocol/wire/handoverApi.ts'
import type { RegistryAccess } from './registration.ts'

/** The vault's interface with the errors of the registry, which it asks. */
const TAKE_OVER_ABI = [...creditVaultAbi, ...enclaveRegistryAbi.filter((entry) => entry.type === 'error')] as const

/** `done`: the vault named the successor already, whoever told it. */
export type TakenOver = { readonly state: 'done' } | { readonly state: 'sent'; readonly transaction: Hex }

/**
 * Submits a succession, unless the vault knows it. Another agent may do the same at the same moment: that the call is reverted then is no
 * failure. Throws `AppError` (`RPC_FAILED`, retryable), `SuccessionError` with the vault's reason.
 */
export async function takeOver(access: RegistryAccess, vault: Hex, succession: SignedSuccession): Promise<TakenOver> {
  const { keyset, successor, r, vs } = succession
  try {
    if (await isWriter(access, vault, succession)) return { state: 'done' }
    const { request } = await access.client.simulateContract({
      address: vault,
      abi: TAKE_OVER_ABI,
      functionName: 'takeOver',
      args: [keyset, successor, r, vs],
      account: access.wallet.account,
      blockTag: 'pending',
    })
    const transaction = await access.wallet.writeContract(request)
    const { status } = await access.client.waitForTransactionReceipt({ hash: transaction, timeout: 120_000 })
    if (status === 'success') return { state: 'sent', transaction }
    if (await isWriter(access, vault, succession)) return { state: 'done' }
    throw new SuccessionError('REFUSED', 'the take-over was reverted')
  } catch (cause) {
    if (cause instanceof AppError || cause instanceof SuccessionError) throw cause
    const revert = cause instanceof BaseError && cause.walk((inner) => inner instanceof ContractFunctionRevertedError)
    if (!(revert instanceof ContractFunctionRevertedError)) {
      throw new AppError('RPC_FAILED', 'the chain did not take the succession', { cause, retryable: true })
    }
    if (await isWriter(access, vault, succession)) return { state: 'done' }
    const reason = revert.data?.errorName ?? revert.signature ?? 'no reason'
    throw new SuccessionError('REFUSED', `the vault refused the successor: ${reason}`, { cause })
  }
}

async function isWriter(
  { client }: RegistryAccess,
  vault: Hex,
  { keyset, successor }: SignedSuccession,
): Promise<boolean> {
  const contract = { address: vault, abi: creditVaultAbi } as const
  try {
    const { writer } = await client.readContract({ ...contract, functionName: 'keysetOf', args: [keyset] })
    return writer.toLowerCase() === successor.toLowerCase()
  } catch (cause) {
    throw new AppError('RPC_FAILED', 'the chain did not say who writes the keyset', { cause, retryable: true })
  }
}

export type SuccessionErrorCode = 'REFUSED'

/** The vault does not take it: the successor is not active yet, say, or the writer was marked as compromised. */
export class SuccessionError extends Error {
  override readonly name = 'SuccessionError'
  readonly code: SuccessionErrorCode
  constructor(code: SuccessionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

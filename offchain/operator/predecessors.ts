/**
 * Ends the registrations of enclaves that are gone. An enclave that restarts has a new key; the registry would call the old one active until its evidence ages,
 * clients would try it, and its bond would stay locked longer. What it earned still settles in the grace period.
 * @module
 */
import { getAddress } from 'viem/utils'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { readEnclaveStanding } from '#chain/registry.ts'
import type { Hex } from '#protocol/bytes.ts'
import { asAppError, type RegistryAccess } from './registration.ts'

export type Retired = { readonly enclave: Hex; readonly transaction: Hex }

/**
 * Retires those of `enclaves` that are still active. To be called only with enclaves of this agent's own that are gone, once their heads are delivered. Throws `AppError` (`RPC_FAILED`; `NOT_REGISTERED` with the chain's reason).
 */
export async function retirePredecessors(
  { client, wallet, registry }: RegistryAccess,
  enclaves: readonly Hex[],
): Promise<Retired[]> {
  const retired: Retired[] = []
  try {
    for (const enclave of enclaves) {
      const { state } = await readEnclaveStanding(client, registry, enclave)
      if (state !== 'active') continue
      const { request } = await client.simulateContract({
        address: registry,
        abi: enclaveRegistryAbi,
        functionName: 'retire',
        args: [getAddress(enclave)],
        account: wallet.account,
      })
      const transaction = await wallet.writeContract(request)
      await client.waitForTransactionReceipt({ hash: transaction, timeout: 120_000 })
      retired.push({ enclave, transaction })
    }
  } catch (cause) {
    throw asAppError(cause)
  }
  return retired
}

/** What the commands of owners share: the chain they speak about, and what is sent at once or handed to a multisig's owners. @module */
import { writeFileSync } from 'node:fs'
import { BaseError } from 'viem'
import type { PreparedCall } from '#chain/timelock.ts'
import { sendCall } from '#chain/vaultSigner.ts'
import { openSigner, readKeyFile } from './account.ts'
import { UsageError } from './command.ts'
import { type DeployedNetwork, type DeployedValues, openDeployed } from './deployedNetwork.ts'
import { batchOf } from './multisigBatch.ts'

/** For `readArguments`. */
export const OWNER_OPTIONS = {
  deployment: { type: 'string' },
  rpc: { type: 'string' },
  'key-file': { type: 'string' },
  out: { type: 'string' },
} as const

export const OWNER_USAGE = `  --deployment FILE    what sealpath deploy wrote                (SEALPATH_DEPLOYMENT)
  --rpc URL            JSON-RPC endpoint of the chain            (SEALPATH_RPC)
  --key-file FILE      send it from this account, 0x hex
  --out FILE           write it as a file for a multisig's owners: Safe's Transaction Builder imports it`

export type OwnerValues = DeployedValues & {
  readonly 'key-file'?: string | undefined
  readonly out?: string | undefined
}

/** What shall be sent, what for, and what comes after it. */
export type OwnerRequest = { readonly calls: readonly PreparedCall[]; readonly what: string; readonly next: string }

/** Throws `UsageError`, `VaultError` (`CHAIN_FAILED`), and an error for an endpoint of another chain. */
export async function openOwnerNetwork(values: OwnerValues): Promise<DeployedNetwork> {
  if (values['key-file'] !== undefined && values.out !== undefined) {
    throw new UsageError('give --key-file or --out, not both')
  }
  return openDeployed(values)
}

/** Sends what was prepared with `--key-file`, writes it to `--out`, or prints it. */
export async function hand(
  { client, deployment, rpcUrl }: DeployedNetwork,
  { calls, what, next }: OwnerRequest,
  { 'key-file': keyFile, out }: OwnerValues,
): Promise<number> {
  const { chainId } = deployment
  if (keyFile !== undefined) {
    const signer = openSigner(rpcUrl, chainId, readKeyFile(keyFile))
    for (const call of calls) process.stdout.write(`sent ${await sendCall(client, signer, call)}\n`)
    process.stdout.write(`done: ${what}. ${next}\n`)
    return 0
  }
  const text = batchOf(calls, { chainId, name: `Sealpath: ${what}`, description: next, createdAt: Date.now() })
  if (out === undefined) {
    process.stdout.write(text)
    return 0
  }
  writeFileSync(out, text)
  const targets = [...new Set(calls.map((call) => call.to))].join(', ')
  process.stdout.write(`${out}: ${what}, ${calls.length} to ${targets}. ${next}\n`)
  return 0
}

/** viem's sentences hold the endpoint's address, which may hold a key; ours go through. */
export function withoutUrl(error: unknown): never {
  if (error instanceof BaseError) throw new Error(`the chain does not say: ${error.shortMessage}`, { cause: error })
  throw error
}

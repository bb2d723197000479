/** What the commands about an operator's money share: the chain, where the contracts are, whose money, and who sends. @module */
import { createPublicClient, http, type PublicClient } from 'viem'
import { privateKeyToAddress } from 'viem/accounts'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import { fromChain } from '#chain/vaultErrors.ts'
import type { ChainSigner } from '#chain/vaultSigner.ts'
import type { Hex } from '#protocol/bytes.ts'
import { openSigner, readKeyFile } from './account.ts'
import { addressOf, required, UsageError, urlOf } from './command.ts'

/** For `readArguments`. */
export const OPERATOR_OPTIONS = {
  rpc: { type: 'string' },
  deployment: { type: 'string' },
  operator: { type: 'string' },
  'key-file': { type: 'string' },
} as const

export const OPERATOR_USAGE = `  --rpc URL            JSON-RPC endpoint of the chain                      (SEALPATH_RPC)
  --deployment FILE    where the contracts are: what sealpath deploy wrote (SEALPATH_DEPLOYMENT)
  --operator ADDRESS   whose money; the account of --key-file unless told
  --key-file FILE      private key of the account that sends, 0x hex       (SEALPATH_KEY_FILE)`

export type OperatorValues = {
  readonly rpc?: string | undefined
  readonly deployment?: string | undefined
  readonly operator?: string | undefined
  readonly 'key-file'?: string | undefined
}

export type OperatorAccess = {
  readonly client: PublicClient
  readonly deployment: Deployment
  readonly operator: Hex
  /** Undefined without a key file. */
  readonly signer: ChainSigner | undefined
}

/** Throws `UsageError` naming what is missing or wrong, `VaultError` (`CHAIN_FAILED`), and an error for an endpoint of another chain. */
export async function openOperator(values: OperatorValues): Promise<OperatorAccess> {
  const rpcUrl = urlOf(required(values.rpc, '--rpc', 'SEALPATH_RPC'), '--rpc')
  const deployment = deploymentOf(required(values.deployment, '--deployment', 'SEALPATH_DEPLOYMENT'))
  const keyFile = values['key-file'] ?? process.env.SEALPATH_KEY_FILE
  const key = keyFile === undefined ? undefined : readKeyFile(keyFile)
  const operator = values.operator ?? (key === undefined ? undefined : privateKeyToAddress(key))
  if (operator === undefined) throw new UsageError('give --operator or --key-file')
  const client = createPublicClient({ transport: http(rpcUrl), pollingInterval: 500, cacheTime: 0 }) as PublicClient
  const chainId = await fromChain(client.getChainId())
  if (chainId !== deployment.chainId) {
    throw new Error(`--rpc answers for chain ${chainId}, and the deployment is on chain ${deployment.chainId}`)
  }
  return {
    client,
    deployment,
    operator: addressOf(operator, '--operator'),
    signer: key === undefined ? undefined : openSigner(rpcUrl, chainId, key),
  }
}

/** Throws `UsageError` without a key file. */
export function requireSender({ signer }: OperatorAccess): ChainSigner {
  if (signer === undefined) throw new UsageError('give --key-file, or set SEALPATH_KEY_FILE')
  return signer
}

function deploymentOf(path: string): Deployment {
  try {
    return readDeployment(path)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unknown'
    throw new UsageError(`cannot read the deployment file ${path}: ${reason}`, { cause })
  }
}

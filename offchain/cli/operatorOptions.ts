/** What the commands about an operator's money share: the chain, where the contracts are, whose money, and who sends. @module */
import { privateKeyToAddress } from 'viem/accounts'
import type { ChainSigner } from '#chain/vaultSigner.ts'
import type { Hex } from '#protocol/bytes.ts'
import { openSigner, readKeyFile } from './account.ts'
import { addressOf, UsageError } from './command.ts'
import { type DeployedNetwork, type DeployedValues, openDeployed } from './deployedNetwork.ts'

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

export type OperatorValues = DeployedValues & {
  readonly operator?: string | undefined
  readonly 'key-file'?: string | undefined
}

export type OperatorAccess = DeployedNetwork & {
  readonly operator: Hex
  /** Undefined without a key file. */
  readonly signer: ChainSigner | undefined
}

/** Throws `UsageError` naming what is missing or wrong, `VaultError` (`CHAIN_FAILED`), and an error for an endpoint of another chain. */
export async function openOperator(values: OperatorValues): Promise<OperatorAccess> {
  const keyFile = values['key-file'] ?? process.env.SEALPATH_KEY_FILE
  const key = keyFile === undefined ? undefined : readKeyFile(keyFile)
  const operator = values.operator ?? (key === undefined ? undefined : privateKeyToAddress(key))
  if (operator === undefined) throw new UsageError('give --operator or --key-file')
  const network = await openDeployed(values)
  return {
    ...network,
    operator: addressOf(operator, '--operator'),
    signer: key === undefined ? undefined : openSigner(network.rpcUrl, network.deployment.chainId, key),
  }
}

/** Throws `UsageError` without a key file. */
export function requireSender({ signer }: OperatorAccess): ChainSigner {
  if (signer === undefined) throw new UsageError('give --key-file, or set SEALPATH_KEY_FILE')
  return signer
}

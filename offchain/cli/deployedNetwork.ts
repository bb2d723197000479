/** The network that a command is about: what `sealpath deploy` wrote, and an endpoint of its chain. @module */
import { createPublicClient, http, type PublicClient } from 'viem'
import { type Deployment, readDeployment } from '#chain/deployment.ts'
import { fromChain } from '#chain/vaultErrors.ts'
import { required, UsageError, urlOf } from './command.ts'

export type DeployedNetwork = {
  readonly client: PublicClient
  readonly deployment: Deployment
  readonly rpcUrl: string
}

export type DeployedValues = {
  readonly rpc?: string | undefined
  readonly deployment?: string | undefined
}

/** Throws `UsageError` naming what is missing or wrong, `VaultError` (`CHAIN_FAILED`), and an error for an endpoint of another chain. */
export async function openDeployed(values: DeployedValues): Promise<DeployedNetwork> {
  const rpcUrl = urlOf(required(values.rpc, '--rpc', 'SEALPATH_RPC'), '--rpc')
  const deployment = readDeploymentFile(required(values.deployment, '--deployment', 'SEALPATH_DEPLOYMENT'))
  const client = createPublicClient({ transport: http(rpcUrl), pollingInterval: 500, cacheTime: 0 }) as PublicClient
  const chainId = await fromChain(client.getChainId())
  if (chainId !== deployment.chainId) {
    throw new Error(`--rpc answers for chain ${chainId}, and the deployment is on chain ${deployment.chainId}`)
  }
  return { client, deployment, rpcUrl }
}

/** Throws `UsageError` naming the file. */
export function readDeploymentFile(path: string): Deployment {
  try {
    return readDeployment(path)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unknown'
    throw new UsageError(`cannot read the deployment file ${path}: ${reason}`, { cause })
  }
}

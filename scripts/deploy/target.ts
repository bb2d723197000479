/** Where the protocol can be deployed: the network of hardhat.config.ts, its endpoint, and the account that deploys. @module */
import { config } from 'hardhat'
import type { ResolvedConfigurationVariable } from 'hardhat/types/config'
import { createPublicClient, createWalletClient, http, type PublicClient } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import type { Hex } from '#protocol/bytes.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { DeployError } from './deployError.ts'

export type Target = {
  readonly network: string
  readonly chainId: number
  readonly isLocal: boolean
  /** Money is at stake: no account of one key may hold power, and no token is a test token. */
  readonly isMainnet: boolean
  /** OPG, where it is known. */
  readonly token: Hex | undefined
  readonly client: PublicClient
  /** Who pays the gas. It has no power once the contracts know each other. */
  readonly deployer: Hex
}

type Network = {
  readonly chainId: number
  readonly urlVariable: string
  readonly isMainnet: boolean
  readonly token: Hex | undefined
}

/** Configuration variables of hardhat.config.ts, from its keystore or the environment. */
export const DEPLOYER_KEY = 'SEALPATH_DEPLOYER_KEY'

const NETWORKS: Readonly<Record<string, Network>> = {
  base: {
    chainId: 8_453,
    urlVariable: 'SEALPATH_BASE_RPC_URL',
    isMainnet: true,
    token: '0xFbC2051AE2265686a469421b2C5A2D5462FbF5eB',
  },
  baseSepolia: { chainId: 84_532, urlVariable: 'SEALPATH_BASE_SEPOLIA_RPC_URL', isMainnet: false, token: undefined },
}

const TIMEOUT_MS = 30_000

/** Reads the network's settings and asks its endpoint which chain it is. Sends nothing. Throws `DeployError`. */
export async function openTarget(name: string): Promise<Target> {
  const settings = config.networks[name]
  if (settings?.type !== 'http') {
    throw new DeployError(
      `--network is one of localhost, ${Object.keys(NETWORKS).toReversed().join(', ')}, not ${name}`,
    )
  }
  const known = NETWORKS[name]
  const url = await readUrl(settings.url, known?.urlVariable ?? 'SEALPATH_RPC_URL')
  const client = createPublicClient({
    transport: http(url, { timeout: TIMEOUT_MS }),
    pollingInterval: 500,
    cacheTime: 0,
  }) as PublicClient
  const chainId = await client.getChainId().catch((cause) => {
    // Without the address: it may hold a key.
    throw new DeployError(`the RPC endpoint of network ${name} does not answer`, { cause })
  })
  if (known !== undefined && known.chainId !== chainId) {
    throw new DeployError(
      `network ${name} is chain ${known.chainId}, but the endpoint of ${known.urlVariable} serves chain ${chainId}: nothing was sent`,
    )
  }
  return {
    network: name,
    chainId,
    isLocal: isLocalChain(chainId),
    isMainnet: known?.isMainnet ?? false,
    token: known?.token,
    client,
    deployer: await readDeployer(url, settings.accounts),
  }
}

async function readUrl(url: ResolvedConfigurationVariable, variable: string): Promise<string> {
  const value = await url.get().catch((cause) => {
    throw missing(variable, cause)
  })
  if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value
  throw new DeployError(`${variable} must be an http or https URL`)
}

async function readDeployer(url: string, accounts: unknown): Promise<Hex> {
  if (!Array.isArray(accounts)) {
    // The node's own accounts: development nodes have some.
    const [first] = await createWalletClient({ transport: http(url) }).getAddresses()
    if (first === undefined) throw new DeployError('the node holds no account to deploy from')
    return first
  }
  const variable = accounts[0] as ResolvedConfigurationVariable
  const key = await variable.get().catch((cause) => {
    throw missing(DEPLOYER_KEY, cause)
  })
  if (!/^0x[0-9a-f]{64}$/i.test(key)) {
    throw new DeployError(`${DEPLOYER_KEY} must be a private key: 0x and 64 hex digits`)
  }
  return privateKeyToAccount(key as Hex).address
}

function missing(variable: string, cause: unknown): DeployError {
  return new DeployError(
    `${variable} is not set: keep it in the encrypted keystore (npx hardhat keystore set ${variable}) or in the environment`,
    { cause },
  )
}

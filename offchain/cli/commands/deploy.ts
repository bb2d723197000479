/** `sealpath deploy`: the contracts onto a chain, by Hardhat Ignition; and whether what stands there is what a deployment file says. @module */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createPublicClient, http, type PublicClient } from 'viem'
import { checkDeployment } from '#chain/deploymentCheck.ts'
import { fromChain } from '#chain/vaultErrors.ts'
import { addressOf, type Command, readArguments, required, UsageError, urlOf } from '../command.ts'
import { readDeploymentFile } from '../deployedNetwork.ts'

export const deploy: Command = {
  name: 'deploy',
  summary: 'Deploy the contracts to a network of hardhat.config.ts, or check a deployment',
  usage: `usage: sealpath deploy --network NAME --protocol ADDRESS [options]
       sealpath deploy --check --deployment FILE --rpc URL [--proposer ADDRESS] [--guardian ADDRESS]

  --network NAME       localhost, baseSepolia or base
  --protocol ADDRESS   who draws the protocol's share
  --proposer ADDRESS   who proposes reference values to the timelock: a multisig; the deployer on local chains
  --guardian ADDRESS   who revokes reference values and certificates at once: a multisig; the deployer on local chains
  --token ADDRESS      OPG; known on Base, and on local chains a test token is deployed without it
  --test-token         deploy TestOPG, which anyone may mint: for trying things out on a test network
  --development-root FILE   accept evidence under this root instead of AWS's; local chains only
  --out FILE           where the deployment file goes (.sealpath/deployment.json); ABIs and more go beside it
  --id NAME            tells this deployment from others on the same chain

  --check              look at what stands on the chain and who holds power over it
  --deployment FILE    the deployment file to check         (SEALPATH_DEPLOYMENT)
  --rpc URL            JSON-RPC endpoint of the chain       (SEALPATH_RPC)

The endpoint and the deployer's key come from Hardhat's encrypted keystore or from the environment: SEALPATH_BASE_RPC_URL or
SEALPATH_BASE_SEPOLIA_RPC_URL, and SEALPATH_DEPLOYER_KEY. On localhost the endpoint is SEALPATH_RPC_URL, and the node's own first account pays.
Resumable: run it again after an interruption. Deploying works in a checkout of the repository, where Hardhat is.`,
  async run(args) {
    const { values } = readArguments({
      args,
      options: {
        network: { type: 'string' },
        'development-root': { type: 'string' },
        protocol: { type: 'string' },
        token: { type: 'string' },
        'test-token': { type: 'boolean' },
        proposer: { type: 'string' },
        guardian: { type: 'string' },
        out: { type: 'string' },
        id: { type: 'string' },
        check: { type: 'boolean' },
        deployment: { type: 'string' },
        rpc: { type: 'string' },
      },
    })
    const addresses = ['protocol', 'token', 'proposer', 'guardian'] as const
    for (const name of addresses) {
      if (values[name] !== undefined) addressOf(values[name], `--${name}`)
    }
    if (values.check) {
      const { network, protocol, token, out, id } = values
      if ([network, protocol, token, out, id, values['test-token']].some((value) => value !== undefined)) {
        throw new UsageError('--check deploys nothing: it takes --deployment, --rpc, --proposer and --guardian')
      }
      return check(values)
    }
    if (values.deployment !== undefined || values.rpc !== undefined) {
      throw new UsageError('--deployment and --rpc go with --check')
    }
    if (values.network === undefined) throw new UsageError('give --network')
    if (values.protocol === undefined) throw new UsageError('give --protocol')
    const root = new URL('../../../', import.meta.url)
    const script = fileURLToPath(new URL('scripts/deploy.ts', root))
    if (!existsSync(script)) {
      throw new Error('deploying needs a checkout of the repository: clone it, run npm ci, and call this command there')
    }
    // Hardhat looks for its configuration where it is started.
    const env = { ...process.env, HARDHAT_CONFIG: fileURLToPath(new URL('hardhat.config.ts', root)) }
    const { status } = spawnSync(process.execPath, [script, ...args], { stdio: 'inherit', env })
    return status ?? 1
  },
}

async function check(values: {
  readonly deployment?: string | undefined
  readonly rpc?: string | undefined
  readonly proposer?: string | undefined
  readonly guardian?: string | undefined
}): Promise<number> {
  const deployment = readDeploymentFile(required(values.deployment, '--deployment', 'SEALPATH_DEPLOYMENT'))
  const rpcUrl = urlOf(required(values.rpc, '--rpc', 'SEALPATH_RPC'), '--rpc')
  const client = createPublicClient({ transport: http(rpcUrl), cacheTime: 0 }) as PublicClient
  const { proposer, guardian } = values
  const powers = {
    proposer: proposer === undefined ? undefined : addressOf(proposer, '--proposer'),
    guardian: guardian === undefined ? undefined : addressOf(guardian, '--guardian'),
  }
  const findings = await fromChain(checkDeployment(client, deployment, powers))
  for (const { isOk, says } of findings) process.stdout.write(`${isOk ? 'ok    ' : 'FAILED'}  ${says}\n`)
  return findings.every(({ isOk }) => isOk) ? 0 : 1
}

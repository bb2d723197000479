/** Deploys the protocol with Hardhat Ignition and writes the deployment file. Resumable: Ignition keeps a journal per chain. @module */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { network } from 'hardhat'
import type { Deployment } from '#chain/deployment.ts'
import { type NitroRoot, nitroRootOf } from '#chain/nitroRoot.ts'
import { parseDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { toJson } from '#protocol/wire/json.ts'
import Attestation from './ignition/modules/Attestation.ts'
import Sealpath from './ignition/modules/Sealpath.ts'
import TestToken from './ignition/modules/TestToken.ts'

export type DeployOptions = {
  /** A network of hardhat.config.ts. */
  readonly network: string
  /** Where the deployment file goes. */
  readonly out: string
  /** OPG's address; left out on local chains only, where a test token is deployed. */
  readonly token?: string
  /** A development root (as gateways keep it) instead of AWS's, on local chains only. */
  readonly developmentRoot?: string
  /** Who draws the protocol's share. */
  readonly protocol: string
  /** Who proposes reference values to the timelock: a multisig. The deployer on local chains unless told. */
  readonly proposer?: string
  /** Who revokes reference values and certificates at once: another multisig. The deployer on local chains unless told. */
  readonly guardian?: string
}

const APPROVAL_DELAY_SECONDS = 2 * 86_400
const KEY_CONFIGS_DELAY_SECONDS = 3_600
/** An operator waits so long for its earnings: time to stop an enclave that was broken into. */
const THAW_SECONDS = 86_400
const PROTOCOL_BPS = 500
const SETTLER_BPS = 100
/** In units of 10^12 base units: 100 OPG behind a gateway, 10,000 behind an issuer, which can do more harm. */
const GATEWAY_BOND = 100_000_000n
const ISSUER_BOND = 10_000_000_000n

/** Deploys, or finishes a deployment that was cut, and answers where everything is. */
export async function deploy(options: DeployOptions): Promise<Deployment> {
  const { ignition, viem } = await network.connect({ network: options.network })
  const client = await viem.getPublicClient()
  const chainId = await client.getChainId()
  const isLocal = isLocalChain(chainId)
  const [deployer] = await viem.getWalletClients()
  const proposer = accountOf('proposer', options.proposer, isLocal, deployer?.account.address)
  const guardian = accountOf('guardian', options.guardian, isLocal, deployer?.account.address)
  const fromBlock = await client.getBlockNumber()
  const token = options.token ?? (await deployTestToken(isLocal, () => ignition.deploy(TestToken)))
  const { verifier } = await ignition.deploy(Attestation, {
    parameters: { Attestation: { guardian, ...attestationParameters(isLocal, options.developmentRoot) } },
  })
  const deployed = await ignition.deploy(Sealpath, {
    parameters: {
      Sealpath: {
        token,
        verifier: addressOf(verifier),
        protocol: options.protocol,
        proposer,
        guardian,
        gatewayBond: GATEWAY_BOND,
        issuerBond: ISSUER_BOND,
        approvalDelay: isLocal ? 0 : APPROVAL_DELAY_SECONDS,
        keyConfigsDelay: isLocal ? 0 : KEY_CONFIGS_DELAY_SECONDS,
        allowsDevelopment: isLocal,
        protocolBps: PROTOCOL_BPS,
        settlerBps: SETTLER_BPS,
        thawSeconds: isLocal ? 0 : THAW_SECONDS,
      },
    },
  })
  const deployment: Deployment = {
    chainId,
    registry: addressOf(deployed.registry),
    settlement: addressOf(deployed.settlement),
    vault: addressOf(deployed.vault),
    token: token as `0x${string}`,
    inference: addressOf(deployed.inference),
    bounty: addressOf(deployed.bounty),
    timelock: addressOf(deployed.timelock),
    verifier: addressOf(verifier),
    fromBlock,
  }
  mkdirSync(dirname(options.out), { recursive: true })
  writeFileSync(options.out, `${toJson(deployment, 2)}\n`)
  return deployment
}

/** An account with power: named, or the deployer where nothing is at stake. */
function accountOf(name: string, given: string | undefined, isLocal: boolean, deployer: string | undefined): string {
  const account = given ?? (isLocal ? deployer : undefined)
  if (account === undefined) throw new Error(`give the address of the ${name} with --${name}`)
  return account
}

/** AWS's root, or a development root where nothing is at stake. */
function attestationParameters(
  isLocal: boolean,
  developmentRoot: string | undefined,
): { root: NitroRootParameter; isDevelopment: boolean } {
  if (developmentRoot === undefined) return { root: toParameter(AWS_NITRO_ROOT.certificate), isDevelopment: false }
  if (!isLocal) throw new Error('a development root is for local chains only: its evidence proves no hardware')
  const { certificate } = parseDevelopmentRoot(readFileSync(developmentRoot, 'utf8'))
  return { root: toParameter(certificate), isDevelopment: true }
}

/** Ignition takes arrays that it may change. */
type NitroRootParameter = Omit<NitroRoot, 'key'> & { key: string[] }

function toParameter(certificate: Uint8Array): NitroRootParameter {
  const root = nitroRootOf(certificate)
  return { ...root, key: [...root.key] }
}

function addressOf(contract: { readonly address: `0x${string}` }): `0x${string}` {
  return contract.address
}

async function deployTestToken(isLocal: boolean, run: () => Promise<{ token: { address: string } }>): Promise<string> {
  if (!isLocal) throw new Error('give the address of OPG with --token: a test token is for local chains only')
  const { token } = await run()
  return token.address
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { values } = parseArgs({
    options: {
      network: { type: 'string', default: 'localhost' },
      out: { type: 'string', default: '.sealpath/deployment.json' },
      token: { type: 'string' },
      'development-root': { type: 'string' },
      protocol: { type: 'string' },
      proposer: { type: 'string' },
      guardian: { type: 'string' },
    },
  })
  const { protocol, token, proposer, guardian, 'development-root': developmentRoot } = values
  if (protocol === undefined) {
    process.stderr.write(
      'usage: deploy --network NAME --protocol ADDRESS [--proposer ADDRESS] [--guardian ADDRESS] [--token ADDRESS] [--development-root FILE] [--out FILE]\n',
    )
    process.exit(2)
  }
  const deployment = await deploy({
    network: values.network,
    out: values.out,
    protocol,
    ...(developmentRoot === undefined ? {} : { developmentRoot }),
    ...(token === undefined ? {} : { token }),
    ...(proposer === undefined ? {} : { proposer }),
    ...(guardian === undefined ? {} : { guardian }),
  })
  process.stdout.write(`${toJson(deployment, 2)}\n`)
}

/**
 * Deploys the protocol with Hardhat Ignition, writes the deployment file with what else others need, and looks at what stands. Resumable: Ignition
 * keeps a journal of each deployment, and what a killed process sent without noting it is found on the chain.
 * @module
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { config, network, tasks } from 'hardhat'
import { BaseError } from 'viem'
import type { Deployment } from '#chain/deployment.ts'
import {
  APPROVAL_DELAY_SECONDS,
  checkDeployment,
  KEY_CONFIGS_DELAY_SECONDS,
  THAW_SECONDS,
} from '#chain/deploymentCheck.ts'
import { type NitroRoot, nitroRootOf } from '#chain/nitroRoot.ts'
import { parseDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import type { Hex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { toJson } from '#protocol/wire/json.ts'
import { DeployError } from './deploy/deployError.ts'
import { writeExports } from './deploy/exports.ts'
import { adoptUnrecorded, finishedModule, firstBlock, isBegun, requireSameChain } from './deploy/journal.ts'
import { type DeployOptions, readDeployOptions } from './deploy/options.ts'
import { type Plan, planDeployment } from './deploy/preflight.ts'
import { openTarget, type Target } from './deploy/target.ts'
import Attestation from './ignition/modules/Attestation.ts'
import Sealpath from './ignition/modules/Sealpath.ts'
import TestToken from './ignition/modules/TestToken.ts'

/** Development nodes mine at once. */
const LOCAL_POLL_MS = 50
const PROTOCOL_BPS = 500
const SETTLER_BPS = 100
/** In units of 10^12 base units: 100 OPG behind a gateway, 10,000 behind an issuer, which can do more harm. */
const GATEWAY_BOND = 100_000_000n
const ISSUER_BOND = 10_000_000_000n

/**
 * Deploys, or finishes a deployment that was cut, and answers where everything is. `say` gets a sentence at each step. Throws `DeployError`, before
 * anything is sent wherever that can be told before.
 */
export async function deploy(options: DeployOptions, say: (sentence: string) => void): Promise<Deployment> {
  const target = await openTarget(options.network)
  const { chainId, client } = target
  const deploymentId = options.id === undefined ? `chain-${chainId}` : `chain-${chainId}-${options.id}`
  const folder = join(config.paths.ignition, 'deployments', deploymentId)
  const isResumed = isBegun(folder)
  const plan = await planDeployment(target, options, isResumed)
  for (const note of plan.notes) say(note)
  await requireSameChain(client, folder)
  if (!target.isLocal) await build()
  const connection = await network.connect({ network: options.network })
  try {
    if (isResumed) {
      const adopted = await adoptUnrecorded(client, folder, connection.provider)
      say(`going on where ${folder} stopped${adopted === 0 ? '' : ', with a transaction that was sent and not noted'}`)
    }
    const deployment = await deployModules(connection.ignition, deploymentId, target, options, plan, folder, say)
    mkdirSync(dirname(options.out), { recursive: true })
    await writeExports(options.out, deployment, folder)
    await requireSound(target, deployment, plan)
    return deployment
  } finally {
    await connection.close()
  }
}

type Ignition = Awaited<ReturnType<typeof network.connect>>['ignition']

async function deployModules(
  ignition: Ignition,
  deploymentId: string,
  { chainId, isLocal }: Target,
  options: DeployOptions,
  { token: known, proposer, guardian, protocol }: Plan,
  folder: string,
  say: (sentence: string) => void,
): Promise<Deployment> {
  const settings = { deploymentId, config: isLocal ? { blockPollingInterval: LOCAL_POLL_MS } : {} }
  const token =
    known ?? finishedModule(folder, TestToken)?.token ?? addressOf((await ignition.deploy(TestToken, settings)).token)
  say('deploying what verifies evidence')
  const verifier =
    finishedModule(folder, Attestation)?.verifier ??
    addressOf(
      (
        await ignition.deploy(Attestation, {
          ...settings,
          parameters: { Attestation: { guardian, ...attestationParameters(options.developmentRoot) } },
        })
      ).verifier,
    )
  say('deploying registry, vault, settlement and their owner')
  const deployed = await ignition.deploy(Sealpath, {
    ...settings,
    parameters: {
      Sealpath: {
        token,
        verifier,
        protocol,
        proposer,
        guardian,
        gatewayBond: GATEWAY_BOND,
        issuerBond: ISSUER_BOND,
        approvalDelay: isLocal ? 0 : Number(APPROVAL_DELAY_SECONDS),
        keyConfigsDelay: isLocal ? 0 : KEY_CONFIGS_DELAY_SECONDS,
        allowsDevelopment: isLocal,
        protocolBps: PROTOCOL_BPS,
        settlerBps: SETTLER_BPS,
        thawSeconds: isLocal ? 0 : THAW_SECONDS,
      },
    },
  })
  const fromBlock = firstBlock(folder)
  if (fromBlock === undefined) throw new DeployError(`${folder} does not say in which block the first contract stands`)
  return {
    chainId,
    registry: addressOf(deployed.registry),
    settlement: addressOf(deployed.settlement),
    vault: addressOf(deployed.vault),
    token,
    inference: addressOf(deployed.inference),
    bounty: addressOf(deployed.bounty),
    timelock: addressOf(deployed.timelock),
    verifier,
    fromBlock,
  }
}

/** AWS's root, or a development root where nothing is at stake. */
function attestationParameters(developmentRoot: string | undefined): {
  root: NitroRootParameter
  isDevelopment: boolean
} {
  if (developmentRoot === undefined) return { root: toParameter(AWS_NITRO_ROOT.certificate), isDevelopment: false }
  const { certificate } = parseDevelopmentRoot(readFileSync(developmentRoot, 'utf8'))
  return { root: toParameter(certificate), isDevelopment: true }
}

/** Ignition takes arrays that it may change. */
type NitroRootParameter = Omit<NitroRoot, 'key'> & { key: string[] }

function toParameter(certificate: Uint8Array): NitroRootParameter {
  const root = nitroRootOf(certificate)
  return { ...root, key: [...root.key] }
}

function addressOf(contract: { readonly address: Hex }): Hex {
  return contract.address
}

/** Two builds at once take the file away that each of them writes its cache to; nothing else is wrong then. */
const CACHE_TAKEN = 'compile-cache.json.tmp'
const BUILDS_MAX = 5

/** What is deployed for others is what the sources say now. */
async function build(): Promise<void> {
  for (let builds = 1; ; builds++) {
    try {
      await tasks.getTask('build').run({ quiet: true, noTests: true })
      return
    } catch (error) {
      if (builds === BUILDS_MAX || !String(error).includes(CACHE_TAKEN)) throw error
    }
  }
}

async function requireSound({ client }: Target, deployment: Deployment, { proposer, guardian }: Plan): Promise<void> {
  const findings = await checkDeployment(client, deployment, { proposer, guardian })
  const wrong = findings.flatMap(({ isOk, says }) => (isOk ? [] : [says]))
  if (wrong.length > 0) throw new DeployError(`deployed, but do not use it: ${wrong.join('; ')}`)
}

function sentenceOf(error: unknown): string {
  // viem's whole message holds the endpoint's address, which may hold a key.
  if (error instanceof BaseError) return error.shortMessage
  return error instanceof Error ? error.message : 'unknown failure'
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  try {
    const options = readDeployOptions(process.argv.slice(2))
    const deployment = await deploy(options, (sentence) => process.stderr.write(`${sentence}\n`))
    process.stdout.write(`${toJson(deployment, 2)}\n`)
  } catch (error) {
    // Without the stack: what is wrong is said, and it is seldom in here.
    process.stderr.write(`Error: ${sentenceOf(error)}\n`)
    process.exitCode = 1
  }
}

/** What others need of a deployment: ABIs, a module for viem and ethers, and what explorers ask for to verify sources. @module */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { getVerificationInformation, type SolidityParameterType } from '@nomicfoundation/ignition-core'
import { type Abi, encodeAbiParameters } from 'viem'
import type { Deployment } from '#chain/deployment.ts'
import type { Hex } from '#protocol/bytes.ts'
import { toJson } from '#protocol/wire/json.ts'
import { DeployError } from './deployError.ts'

/** One contract as Ignition deployed it: from its own copies, which later builds leave alone. */
type Deployed = {
  readonly name: string
  readonly address: Hex
  readonly abi: Abi
  /** As the compiler was given it: path and name. */
  readonly fullName: string
  readonly constructorArguments: Hex
  readonly creationTransaction: string | undefined
  readonly buildInfoId: string
}

type Artifact = {
  readonly contractName: string
  readonly inputSourceName: string
  readonly abi: Abi
  readonly buildInfoId: string
}

type BuildInfo = { readonly solcLongVersion: string; readonly input: unknown }

const ABOUT_MODULE = 'Written by sealpath deploy: where the contracts are, and their ABIs, for viem and for ethers.'

/** Writes the deployment file `out` and, beside it, `abis/`, `contracts.mjs` with its types, and `verification/`. `folder` is Ignition's. */
export async function writeExports(out: string, deployment: Deployment, folder: string): Promise<void> {
  const contracts = await readDeployed(folder)
  const at = (...path: readonly string[]) => join(dirname(out), ...path)
  mkdirSync(at('abis'), { recursive: true })
  mkdirSync(at('verification'), { recursive: true })
  for (const { name, abi } of contracts) writeFileSync(at('abis', `${name}.json`), `${toJson(abi, 2)}\n`)
  writeFileSync(at('contracts.mjs'), moduleOf(deployment, contracts))
  writeFileSync(at('contracts.d.mts'), typesOf(deployment, contracts))
  writeVerification(at('verification'), deployment, contracts, folder)
  // Last: where it is, all is.
  writeFileSync(out, `${toJson(deployment, 2)}\n`)
}

async function readDeployed(folder: string): Promise<readonly Deployed[]> {
  const artifacts = new Map<string, string>(
    Object.entries(
      JSON.parse(readFileSync(join(folder, 'deployed_addresses.json'), 'utf8')) as Record<string, string>,
    ).map(([future, address]) => [address.toLowerCase(), future]),
  )
  const contracts: Deployed[] = []
  for await (const entry of getVerificationInformation(folder)) {
    if (typeof entry === 'string') throw new DeployError(`${folder} has no artifact of ${entry}`)
    const future = artifacts.get(entry.address.toLowerCase())
    const artifact = JSON.parse(readFileSync(join(folder, 'artifacts', `${future}.json`), 'utf8')) as Artifact
    contracts.push({
      name: artifact.contractName,
      address: entry.address.toLowerCase() as Hex,
      abi: artifact.abi,
      fullName: `${artifact.inputSourceName}:${artifact.contractName}`,
      constructorArguments: encodeConstructor(artifact.abi, entry.constructorArgs),
      creationTransaction: entry.creationTxHash,
      buildInfoId: artifact.buildInfoId,
    })
  }
  return contracts
}

function encodeConstructor(abi: Abi, args: readonly SolidityParameterType[]): Hex {
  const entry = abi.find(({ type }) => type === 'constructor')
  if (entry?.type !== 'constructor') return '0x'
  return encodeAbiParameters(entry.inputs, args)
}

/** One file for each contract, which names the compiler's input it was built from; several share one. */
function writeVerification(
  target: string,
  { chainId }: Deployment,
  contracts: readonly Deployed[],
  folder: string,
): void {
  const compilers = new Map<string, string>()
  for (const id of new Set(contracts.map(({ buildInfoId }) => buildInfoId))) {
    const { input, solcLongVersion } = JSON.parse(
      readFileSync(join(folder, 'build-info', `${id}.json`), 'utf8'),
    ) as BuildInfo
    compilers.set(id, `v${solcLongVersion}`)
    writeFileSync(join(target, inputName(id)), toJson(input))
  }
  for (const { name, address, fullName, constructorArguments, creationTransaction, buildInfoId } of contracts) {
    const facts = {
      chainId,
      address,
      contract: fullName,
      compiler: compilers.get(buildInfoId),
      standardJsonInput: inputName(buildInfoId),
      constructorArguments,
      creationTransaction,
    }
    writeFileSync(join(target, `${name}.json`), `${toJson(facts, 2)}\n`)
  }
}

function inputName(buildInfoId: string): string {
  return `input-${buildInfoId.slice(-8)}.json`
}

function moduleOf(deployment: Deployment, contracts: readonly Deployed[]): string {
  const { chainId, fromBlock, ...addresses } = deployment
  const values = [
    `/** ${ABOUT_MODULE} */`,
    `export const chainId = ${chainId}`,
    `/** Block to read events from. */\nexport const fromBlock = ${fromBlock}n`,
    `export const addresses = ${toJson(addresses, 2)}`,
    ...contracts.map(({ name, abi }) => `export const ${abiName(name)} = ${toJson(abi, 2)}`),
  ]
  return `${values.join('\n\n')}\n`
}

/** Literal types: viem knows every function, argument and answer from them. */
function typesOf(deployment: Deployment, contracts: readonly Deployed[]): string {
  const { chainId, fromBlock, ...addresses } = deployment
  const types = [
    `/** ${ABOUT_MODULE} */`,
    `export declare const chainId: ${chainId}`,
    `export declare const fromBlock: ${fromBlock}n`,
    `export declare const addresses: ${literalOf(addresses)}`,
    ...contracts.map(({ name, abi }) => `export declare const ${abiName(name)}: ${literalOf(abi)}`),
  ]
  return `${types.join('\n\n')}\n`
}

function literalOf(value: unknown): string {
  if (Array.isArray(value)) return `readonly [${value.map(literalOf).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(([key, entry]) => `readonly ${JSON.stringify(key)}: ${literalOf(entry)}`)
  return `{ ${members.join('; ')} }`
}

/** As in offchain/chain/generated. */
function abiName(contract: string): string {
  return `${contract.charAt(0).toLowerCase()}${contract.slice(1)}Abi`
}

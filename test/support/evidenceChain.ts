/** NitroVerifier on a chain of its own, asked through CallMeter, so that every refusal comes with its gas. @module */
import { readFileSync } from 'node:fs'
import { type Abi, createPublicClient, createWalletClient, decodeFunctionResult, encodeFunctionData, http } from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import { foundry } from 'viem/chains'
import { nitroVerifierAbi } from '#chain/generated/abis.ts'
import { nitroRootOf } from '#chain/nitroRoot.ts'
import { decodeUint, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { DEVELOPMENT_MNEMONIC } from '../../scripts/local/mnemonic.ts'
import { type Anvil, startAnvil } from './anvil.ts'
import { evidenceCodes } from './evidenceCodes.ts'

export type EvidenceChain = {
  readonly anvil: Anvil
  readonly verifier: Hex
  /** The contracts that the verifier asks. */
  readonly p384: Hex
  readonly sha384: Hex
  /** The verifier's answer at `time` (seconds since the epoch), the chain's own unless told. */
  ask(document: Uint8Array, hints: Uint8Array, options?: AskOptions): Promise<Answer>
  /** How a call of anything ends. `gas` is what it used, without intrinsic gas and calldata. */
  measure(to: Hex, data: Uint8Array, time?: bigint): Promise<{ isSuccess: boolean; output: Uint8Array; gas: bigint }>
  /** Sends a transaction by the verifier's owner. Throws unless it succeeds. */
  send(functionName: 'verify' | 'revoke', args: readonly Hex[]): Promise<void>
  /** Deploys an artifact (a path below `artifacts/` without its ending). */
  deploy(artifact: string, args?: readonly unknown[]): Promise<Hex>
  /** Does `work` and undoes what it did to the chain. */
  undoing<T>(work: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

export type AskOptions = { readonly time?: bigint | undefined; readonly verifier?: Hex | undefined }

/** `code`: ACCEPTED or the evidence code. `result` is what an accepting verifier returned. */
export type Answer = { readonly code: string; readonly gas: bigint; readonly result: AttestationResult | undefined }

export type AttestationResult = {
  readonly measurement: Hex
  readonly userData: Hex
  readonly issuedAt: bigint
  readonly validUntil: bigint
  readonly certificates: readonly Hex[]
  readonly development: boolean
}

export type EvidenceRoot = { readonly certificate: Uint8Array; readonly isDevelopment: boolean }

/** The limit on one transaction (EIP-7825). */
export const TRANSACTION_GAS_MAX = 16_777_216n
/** EvidenceRefused(uint8). */
const REFUSED_SELECTOR = '0x3bc012b8'
const METER = [
  {
    type: 'function',
    name: 'measure',
    stateMutability: 'nonpayable',
    inputs: [
      { name: 'target', type: 'address' },
      { name: 'input', type: 'bytes' },
    ],
    outputs: [
      { name: 'isSuccess', type: 'bool' },
      { name: 'output', type: 'bytes' },
      { name: 'gasUsed', type: 'uint256' },
    ],
  },
] as const

const RECEIPT_TIMEOUT_MS = 30_000

/** Starts the chain at `timestamp` (seconds since the epoch) and deploys a verifier under `root`. */
export async function startEvidenceChain(root: EvidenceRoot, timestamp: number): Promise<EvidenceChain> {
  const anvil = await startAnvil(timestamp)
  try {
    return await deployAll(anvil, root)
  } catch (error) {
    await anvil.close()
    throw error
  }
}

async function deployAll(anvil: Anvil, root: EvidenceRoot): Promise<EvidenceChain> {
  const transport = http(anvil.rpcUrl)
  const client = createPublicClient({ chain: foundry, transport, pollingInterval: 20 })
  const account = mnemonicToAccount(DEVELOPMENT_MNEMONIC)
  const wallet = createWalletClient({ chain: foundry, transport, account })
  const succeed = async (hash: Hex) => {
    // Now and then anvil leaves a transaction lying that comes just after a block or a revert: told to mine, it takes it.
    const nudging = setInterval(() => void anvil.request('evm_mine', []).catch(() => undefined), 2_000)
    const wait = client.waitForTransactionReceipt({ hash, timeout: RECEIPT_TIMEOUT_MS })
    const receipt = await wait.finally(() => clearInterval(nudging))
    if (receipt.status !== 'success') throw new Error(`transaction ${hash} was reverted`)
    return receipt
  }
  const deploy = async (artifact: string, args: readonly unknown[] = []): Promise<Hex> => {
    const { abi, bytecode } = readArtifact(artifact)
    const { contractAddress } = await succeed(await wallet.deployContract({ abi, bytecode, args }))
    if (contractAddress === null || contractAddress === undefined) throw new Error(`${artifact} was not deployed`)
    return contractAddress
  }
  const table = await deploy('contracts/attestation/p384/P384Table.sol/P384Table')
  const p384 = await deploy('contracts/attestation/p384/P384Verifier.sol/P384Verifier', [table])
  const sha384 = await deploy('contracts/attestation/sha384/Sha384.sol/Sha384')
  const verifier = await deploy('contracts/attestation/nitro/NitroVerifier.sol/NitroVerifier', [
    account.address,
    p384,
    sha384,
    nitroRootOf(root.certificate),
    root.isDevelopment,
  ])
  const meter = await deploy('test/contracts/support/CallMeter.sol/CallMeter')

  const measure: EvidenceChain['measure'] = async (to, data, time) => {
    const input = encodeFunctionData({ abi: METER, functionName: 'measure', args: [to, toHex(data)] })
    const call = { to: meter, data: input, gas: `0x${TRANSACTION_GAS_MAX.toString(16)}` }
    const overrides = time === undefined ? [] : [{}, { time: `0x${time.toString(16)}` }]
    const answer = (await anvil.request('eth_call', [call, 'latest', ...overrides])) as Hex
    const [isSuccess, output, gas] = decodeFunctionResult({ abi: METER, functionName: 'measure', data: answer })
    return { isSuccess, output: fromHex(output), gas }
  }
  return {
    anvil,
    verifier,
    p384,
    sha384,
    measure,
    deploy,
    async ask(document, hints, options = {}) {
      const data = fromHex(encodeVerify(document, hints))
      const { isSuccess, output, gas } = await measure(options.verifier ?? verifier, data, options.time)
      return isSuccess
        ? { code: 'ACCEPTED', gas, result: decodeResult(output) }
        : { code: readRefusalCode(output), gas, result: undefined }
    },
    async send(functionName, args) {
      const data = encodeFunctionData({ abi: nitroVerifierAbi as Abi, functionName, args })
      await succeed(await wallet.sendTransaction({ to: verifier, data, gas: TRANSACTION_GAS_MAX }))
    },
    async undoing(work) {
      const snapshot = await anvil.request('evm_snapshot', [])
      try {
        return await work()
      } finally {
        await anvil.request('evm_revert', [snapshot])
      }
    },
    close: () => anvil.close(),
  }
}

/** Throws `Error` for revert data that is not exactly one EvidenceRefused with a known code: a panic, nothing, another error. */
function readRefusalCode(output: Uint8Array): string {
  const code = output.length === 36 ? evidenceCodes()[Number(decodeUint(output.subarray(4)))] : undefined
  if (code === undefined || code === 'NONE' || toHex(output.subarray(0, 4)) !== REFUSED_SELECTOR) {
    throw new Error(`expected EvidenceRefused with a known code, got ${toHex(output)}`)
  }
  return code
}

function decodeResult(output: Uint8Array): AttestationResult {
  return decodeFunctionResult({ abi: nitroVerifierAbi, functionName: 'verify', data: toHex(output) })
}

export function encodeVerify(document: Uint8Array, hints: Uint8Array): Hex {
  const args = [toHex(document), toHex(hints)] as const
  return encodeFunctionData({ abi: nitroVerifierAbi, functionName: 'verify', args })
}

function readArtifact(path: string): { abi: Abi; bytecode: Hex } {
  return JSON.parse(readFileSync(new URL(`../../artifacts/${path}.json`, import.meta.url), 'utf8'))
}

/** A chain in this process with models of others' contracts on it: Hardhat's EVM under Osaka rules, compiled with the settings of our contracts. @module */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { network } from 'hardhat'
import { type Abi, decodeFunctionResult, encodeDeployData, encodeFunctionData, toHex as numberToHex } from 'viem'
import type { Hex } from '#protocol/bytes.ts'

const MODELS = new URL('./models/', import.meta.url)
/** What EIP-7825 allows a transaction. */
const GAS_LIMIT = numberToHex(16_777_216)

export type Contract = { readonly address: Hex; readonly abi: Abi }
type Artifact = { readonly abi: Abi; readonly bytecode: Hex }
type Sending = { readonly from?: Hex | undefined; readonly value?: bigint | undefined }
type Request = (method: string, ...params: readonly unknown[]) => Promise<unknown>

export class ModelChain {
  readonly #request: Request
  readonly #artifacts: ReadonlyMap<string, Artifact>
  readonly #close: () => Promise<void>
  /** Unlocked, rich, and in the order of the node. */
  readonly accounts: readonly Hex[]

  private constructor(
    request: Request,
    accounts: readonly Hex[],
    artifacts: ReadonlyMap<string, Artifact>,
    close: () => Promise<void>,
  ) {
    this.#request = request
    this.accounts = accounts
    this.#artifacts = artifacts
    this.#close = close
  }

  static async start(): Promise<ModelChain> {
    const connection = await network.create()
    const request: Request = (method, ...params) => connection.provider.request({ method, params: [...params] })
    const accounts = (await request('eth_accounts')) as Hex[]
    return new ModelChain(request, accounts, compileModels(), () => connection.close())
  }

  /** The account of this number. */
  account(number: number): Hex {
    const account = this.accounts[number]
    if (account === undefined) throw new Error(`the node has no account ${number}`)
    return account
  }

  async deploy(name: string, args: readonly unknown[] = [], from: Hex = this.account(0)): Promise<Contract> {
    const artifact = this.#artifacts.get(name)
    if (artifact === undefined) throw new Error(`there is no model ${name}`)
    const { abi, bytecode } = artifact
    const { contractAddress } = await this.#mine({ from, data: encodeDeployData({ abi, bytecode, args: [...args] }) })
    return { address: contractAddress as Hex, abi }
  }

  /** The contract at `address`, which another one deployed or stands in front of. */
  at(name: string, address: Hex): Contract {
    return { address, abi: this.#artifacts.get(name)?.abi ?? [] }
  }

  /** Sends a transaction and answers its gas. Throws when it reverted. */
  async send(
    { address, abi }: Contract,
    functionName: string,
    args: readonly unknown[],
    sending: Sending = {},
  ): Promise<number> {
    const { from = this.account(0), value = 0n } = sending
    const data = encodeFunctionData({ abi, functionName, args: [...args] })
    const { gasUsed } = await this.#mine({ from, to: address, data, value: numberToHex(value) })
    return Number(gasUsed)
  }

  async read({ address, abi }: Contract, functionName: string, args: readonly unknown[] = []): Promise<unknown> {
    const data = encodeFunctionData({ abi, functionName, args: [...args] })
    const result = (await this.#request('eth_call', { to: address, data }, 'latest')) as Hex
    return decodeFunctionResult({ abi, functionName, data: result })
  }

  close(): Promise<void> {
    return this.#close()
  }

  async #mine(transaction: Readonly<Record<string, unknown>>): Promise<Record<string, string>> {
    const hash = await this.#request('eth_sendTransaction', { ...transaction, gas: GAS_LIMIT })
    const receipt = (await this.#request('eth_getTransactionReceipt', hash)) as Record<string, string>
    if (receipt.status !== '0x1') throw new Error(`a transaction of a model reverted: ${String(hash)}`)
    return receipt
  }
}

type SolcOutput = {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[]
  readonly contracts: Readonly<
    Record<
      string,
      Readonly<Record<string, { readonly abi: Abi; readonly evm: { readonly bytecode: { readonly object: string } } }>>
    >
  >
}

function compileModels(): Map<string, Artifact> {
  const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string }
  const files = readdirSync(MODELS).filter((name) => name.endsWith('.sol'))
  const sources = Object.fromEntries(
    files.map((name) => [name, { content: readFileSync(new URL(name, MODELS), 'utf8') }]),
  )
  const settings = {
    evmVersion: 'osaka',
    viaIR: true,
    optimizer: { enabled: true, runs: 10_000 },
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
  }
  const output = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings }))) as SolcOutput
  const failure = output.errors?.find(({ severity }) => severity === 'error')
  if (failure !== undefined) throw new Error(failure.formattedMessage)
  const contracts = Object.values(output.contracts).flatMap((file) => Object.entries(file))
  return new Map(contracts.map(([name, { abi, evm }]) => [name, { abi, bytecode: `0x${evm.bytecode.object}` }]))
}

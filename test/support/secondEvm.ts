/**
 * A second implementation of the EVM, that of the @ethereumjs packages, under Osaka rules: takes the genesis state of a node, executes the node's blocks
 * again, and answers what came of each transaction. A block whose gas or state comes out differently is refused. @module
 */
import { createBlockFromRPC, type JSONRPCBlock } from '@ethereumjs/block'
import { createCustomCommon, Hardfork, Mainnet } from '@ethereumjs/common'
import { Account, bytesToHex, createAddressFromString, hexToBytes, type PrefixedHexString } from '@ethereumjs/util'
import { createVM, runTx, type VM } from '@ethereumjs/vm'
import type { Hex } from '#protocol/bytes.ts'

/** A node's JSON-RPC interface. */
export type Rpc = (method: string, params: readonly unknown[]) => Promise<unknown>

/** What a transaction did, as either implementation says. */
export type Outcome = {
  readonly hash: Hex
  readonly isSuccess: boolean
  readonly gasUsed: bigint
  readonly logs: readonly { readonly address: Hex; readonly topics: readonly Hex[]; readonly data: Hex }[]
}

export type CallOutcome = { readonly isSuccess: boolean; readonly data: Hex }

/** Contracts that stand there from the first block: parents' beacon roots, parents' hashes, withdrawals, consolidations. */
const SYSTEM_CONTRACTS: readonly Hex[] = [
  '0x000f3df6d732807ef1319fb7b8bb8522d0beac02',
  '0x0000f90827f1c53a10cb7a02335b175320002935',
  '0x00000961ef480eb55e80d19ad83579a64c007002',
  '0x0000bbddc7ce488642fb579f8b00f3a590007251',
]

export class SecondEvm {
  readonly #vm: VM
  #latest: ReturnType<typeof createBlockFromRPC> | undefined

  private constructor(vm: VM) {
    this.#vm = vm
  }

  /** With the node's state at block 0: `accounts` and the system's contracts. Throws when that is not the whole state. */
  static async open(rpc: Rpc, chainId: number, accounts: readonly Hex[]): Promise<SecondEvm> {
    const common = createCustomCommon({ chainId }, Mainnet, { hardfork: Hardfork.Osaka })
    const vm = await createVM({ common })
    for (const address of [...accounts, ...SYSTEM_CONTRACTS]) await copyAccount(vm, rpc, address)
    const genesis = (await rpc('eth_getBlockByNumber', ['0x0', false])) as { readonly stateRoot: Hex }
    const root = bytesToHex(await vm.stateManager.getStateRoot())
    if (root !== genesis.stateRoot) throw new Error(`expected the genesis state ${genesis.stateRoot}, got ${root}`)
    return new SecondEvm(vm)
  }

  /**
   * Executes a block, as `eth_getBlockByNumber` answers it with whole transactions, and throws where gas or state come out differently than the block
   * says. Hardhat's blocks leave out what a block does besides its transactions (EIP-2935, EIP-4788), so this does too.
   */
  async replay(raw: JSONRPCBlock): Promise<Outcome[]> {
    const { common, stateManager } = this.#vm
    const block = createBlockFromRPC(raw, [], { common, setHardfork: false, skipConsensusFormatValidation: true })
    const outcomes: Outcome[] = []
    for (const tx of block.transactions) {
      const { execResult, totalGasSpent, receipt } = await runTx(this.#vm, { block, tx })
      outcomes.push({
        hash: bytesToHex(tx.hash()),
        isSuccess: execResult.exceptionError === undefined,
        gasUsed: totalGasSpent,
        logs: receipt.logs.map(([address, topics, data]) => ({
          address: bytesToHex(address),
          topics: topics.map((topic) => bytesToHex(topic)),
          data: bytesToHex(data),
        })),
      })
    }
    const gasUsed = outcomes.reduce((sum, outcome) => sum + outcome.gasUsed, 0n)
    if (gasUsed !== block.header.gasUsed) throw new Error(`expected gas of ${block.header.gasUsed}, got ${gasUsed}`)
    const root = bytesToHex(await stateManager.getStateRoot())
    if (root !== raw.stateRoot) throw new Error(`expected the state ${raw.stateRoot}, got ${root}`)
    // Every field of the header was read as it was written.
    const hash = bytesToHex(block.hash())
    if (hash !== raw.hash) throw new Error(`expected the block ${raw.hash}, read ${hash}`)
    this.#latest = block
    return outcomes
  }

  /** A call on top of the last block, as `eth_call` makes one. Leaves the state as it is. */
  async call(to: Hex, data: Hex, gasLimit: bigint): Promise<CallOutcome> {
    const { evm } = this.#vm
    await evm.journal.checkpoint()
    try {
      const { execResult } = await evm.runCall({
        to: createAddressFromString(to),
        data: hexToBytes(data),
        gasLimit,
        ...(this.#latest === undefined ? {} : { block: this.#latest }),
      })
      return { isSuccess: execResult.exceptionError === undefined, data: bytesToHex(execResult.returnValue) }
    } finally {
      await evm.journal.revert()
      await evm.journal.cleanup()
    }
  }
}

async function copyAccount({ stateManager }: VM, rpc: Rpc, address: Hex): Promise<void> {
  const [balance, nonce, code] = await Promise.all(
    ['eth_getBalance', 'eth_getTransactionCount', 'eth_getCode'].map((method) => rpc(method, [address, '0x0'])),
  )
  const key = createAddressFromString(address)
  if (BigInt(String(balance)) === 0n && BigInt(String(nonce)) === 0n && code === '0x') return
  await stateManager.putAccount(key, new Account(BigInt(String(nonce)), BigInt(String(balance))))
  if (code !== '0x') await stateManager.putCode(key, hexToBytes(code as PrefixedHexString))
}

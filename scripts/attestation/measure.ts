/** Gas of the two cryptographic contracts on Hardhat's EVM under Osaka rules, and what tests need to call them. @module */
import { network } from 'hardhat'
import { decodeUint, encodeUint, fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { encodeP384Call, makeP384Hints } from '#protocol/evidence/p384Hints.ts'
import { Assembler } from './assembler.ts'
import { randomCases } from './p384Cases.ts'

type Connection = Awaited<ReturnType<typeof network.create>>

/** Deployed contracts on a chain of their own. `gasOf` meters one call from within the EVM. */
export type AttestationChain = {
  readonly table: Hex
  readonly p384: Hex
  readonly sha384: Hex
  readonly connection: Connection
  /** The result of an `eth_call`, or the revert data. */
  call(to: Hex, data: Uint8Array): Promise<CallResult>
  /** Gas of a call between two GAS instructions, 2,600 of it for the cold address; throws if the call failed. */
  gasOf(to: Hex, data: Uint8Array): Promise<bigint>
  close(): Promise<void>
}

export type CallResult = { readonly isSuccess: boolean; readonly data: Uint8Array }

export type Spread = { readonly mean: number; readonly min: number; readonly max: number }

export type P384Measurement = {
  readonly signatures: number
  /** Execution gas of one verification, both contracts cold (5,100 gas); hints as calldata are not in it. */
  readonly gas: Spread
  readonly hintBytes: Spread
  /** Gas that the hints cost as calldata (EIP-2028: 16 for each byte but zeros, 4). */
  readonly calldataGas: Spread
  /** Gas of SHA-384 for each further block of 128 bytes, and without any. */
  readonly sha384Block: number
  readonly sha384Base: number
  /** Execution gas at deployment, creation code included. */
  readonly deployment: { readonly table: bigint; readonly p384: bigint; readonly sha384: bigint }
}

const CALL_GAS = '0xf42400'
const SIGNATURES = 24

/** Figures for the benchmark. The signatures follow from a seed. */
export async function measureP384(signatures: number = SIGNATURES): Promise<P384Measurement> {
  const chain = await deployAttestation()
  try {
    const gas: number[] = []
    const hintBytes: number[] = []
    const calldataGas: number[] = []
    for (const { input } of randomCases('measure', signatures)) {
      const hints = makeP384Hints(input)
      gas.push(Number(await chain.gasOf(chain.p384, encodeP384Call(input, hints))))
      hintBytes.push(hints.length)
      calldataGas.push(hints.reduce((sum, byte) => sum + (byte === 0 ? 4 : 16), 0))
    }
    const blocks = 64
    const one = Number(await chain.gasOf(chain.sha384, new Uint8Array(0)))
    const many = Number(await chain.gasOf(chain.sha384, new Uint8Array(128 * blocks)))
    const sha384Block = (many - one) / blocks
    const deployment = {
      table: await deploymentGas(chain.connection, 'P384Table', []),
      p384: await deploymentGas(chain.connection, 'P384Verifier', [chain.table]),
      sha384: await deploymentGas(chain.connection, 'Sha384', []),
    }
    return {
      signatures,
      gas: spread(gas),
      hintBytes: spread(hintBytes),
      calldataGas: spread(calldataGas),
      sha384Block,
      sha384Base: one - sha384Block,
      deployment,
    }
  } finally {
    await chain.close()
  }
}

/** A chain in this process with the contracts on it. `gasCap` replaces the limit of EIP-7825, for the slow oracle. */
export async function deployAttestation(options: { readonly gasCap?: bigint } = {}): Promise<AttestationChain> {
  const { gasCap } = options
  const override = gasCap === undefined ? {} : { transactionGasCap: gasCap, blockGasLimit: gasCap }
  const connection = await network.create({ override })
  const { viem, provider } = connection
  const table = await viem.deployContract('P384Table')
  const p384 = await viem.deployContract('P384Verifier', [table.address])
  const sha384 = await viem.deployContract('Sha384')
  const meter = await deployCode(connection, assembleMeter())

  const call = async (to: Hex, data: Uint8Array): Promise<CallResult> => {
    const gas = gasCap === undefined ? CALL_GAS : `0x${gasCap.toString(16)}`
    try {
      const result = await provider.request({ method: 'eth_call', params: [{ to, data: toHex(data), gas }, 'latest'] })
      return { isSuccess: true, data: fromHex(result as Hex) }
    } catch (error) {
      return { isSuccess: false, data: revertData(error) }
    }
  }
  return {
    table: table.address,
    p384: p384.address,
    sha384: sha384.address,
    connection,
    call,
    async gasOf(to, data) {
      const { data: words } = await call(meter, joinBytes([encodeUint(BigInt(to), 32), data]))
      if (decodeUint(words.subarray(32)) !== 1n) throw new Error('expected the metered call to succeed')
      return decodeUint(words.subarray(0, 32))
    },
    close: () => connection.close(),
  }
}

/** Deploys raw runtime code. */
export async function deployCode(connection: Connection, code: Uint8Array): Promise<Hex> {
  const client = await connection.viem.getPublicClient()
  const [wallet] = await connection.viem.getWalletClients()
  if (wallet === undefined) throw new Error('expected an account')
  // PUSH2 size, DUP1, PUSH1 10, RETURNDATASIZE (0), CODECOPY, RETURNDATASIZE (0), RETURN.
  const creation = joinBytes([fromHex('0x61'), encodeUint(BigInt(code.length), 2), fromHex('0x80600a3d393df3'), code])
  const hash = await wallet.sendTransaction({ data: toHex(creation) })
  const { contractAddress } = await client.waitForTransactionReceipt({ hash })
  if (contractAddress === null || contractAddress === undefined) throw new Error('expected an address')
  return contractAddress
}

async function deploymentGas(connection: Connection, name: string, args: readonly unknown[]): Promise<bigint> {
  const client = await connection.viem.getPublicClient()
  const { deploymentTransaction } = await connection.viem.sendDeploymentTransaction(name, [...args])
  const { gasUsed } = await client.waitForTransactionReceipt({ hash: deploymentTransaction.hash })
  return gasUsed
}

/** Calldata: a word with the address, then the call's data. Returns gas used and success, a word each. */
function assembleMeter(): Uint8Array {
  const code = new Assembler()
  code.push(32).op('CALLDATASIZE', 'SUB').push(32).push(0).op('CALLDATACOPY')
  code.op('GAS').name('before')
  code.push(0).push(0).push(32).op('CALLDATASIZE', 'SUB').push(0).push(0).op('CALLDATALOAD', 'GAS', 'STATICCALL')
  code.op('GAS').dup('before').op('SUB').store(0)
  code.store(32)
  code.push(64).push(0).op('RETURN')
  return code.bytes()
}

function revertData(error: unknown): Uint8Array {
  const { data } = error as { data?: unknown }
  const inner = typeof data === 'object' && data !== null ? (data as { data?: unknown }).data : data
  if (typeof inner !== 'string' || !inner.startsWith('0x')) throw error
  return fromHex(inner)
}

function spread(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return { mean: Math.round(mean), min: Math.min(...values), max: Math.max(...values) }
}

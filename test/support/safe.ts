/** A Safe on a local chain, from Safe's own published bytecode: several owners, of whom some must sign what it does. @module */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import {
  type Abi,
  type Account,
  type Chain,
  encodeFunctionData,
  getAddress,
  type LocalAccount,
  type PublicClient,
  type Transport,
  type WalletClient,
  zeroAddress,
} from 'viem'
import { fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'

export type Safe = {
  readonly address: Hex
  /** Does one transaction of a Transaction Builder's file with these owners' signatures. Throws what the Safe refuses. */
  execute(batch: string, signers: readonly LocalAccount[]): Promise<void>
}

type Wallet = WalletClient<Transport, Chain, Account>

const PACKAGE = '@safe-global/safe-smart-account/build/artifacts/contracts'

const SAFE_TX = [
  { name: 'to', type: 'address' },
  { name: 'value', type: 'uint256' },
  { name: 'data', type: 'bytes' },
  { name: 'operation', type: 'uint8' },
  { name: 'safeTxGas', type: 'uint256' },
  { name: 'baseGas', type: 'uint256' },
  { name: 'gasPrice', type: 'uint256' },
  { name: 'gasToken', type: 'address' },
  { name: 'refundReceiver', type: 'address' },
  { name: 'nonce', type: 'uint256' },
] as const

/** Deploys one; `wallet` pays for everything and is no owner unless named. */
export async function deploySafe(
  client: PublicClient,
  wallet: Wallet,
  owners: readonly Hex[],
  threshold: number,
): Promise<Safe> {
  const singleton = readArtifact('Safe.sol/Safe')
  const proxy = readArtifact('proxies/SafeProxy.sol/SafeProxy')
  const create = async ({ abi, bytecode }: Artifact, args: readonly unknown[]): Promise<Hex> => {
    const hash = await wallet.deployContract({ abi, bytecode, args })
    const { contractAddress } = await client.waitForTransactionReceipt({ hash })
    if (!contractAddress) throw new Error('a Safe was not deployed')
    return getAddress(contractAddress)
  }
  const address = await create(proxy, [await create(singleton, [])])
  const contract = { address, abi: singleton.abi } as const
  const send = async (functionName: string, args: readonly unknown[]): Promise<void> => {
    const data = encodeFunctionData({ abi: singleton.abi, functionName, args })
    const hash = await wallet.sendTransaction({ to: address, data })
    const { status } = await client.waitForTransactionReceipt({ hash })
    if (status !== 'success') throw new Error(`the Safe refused ${functionName}`)
  }
  await send('setup', [owners, BigInt(threshold), zeroAddress, '0x', zeroAddress, zeroAddress, 0n, zeroAddress])
  return {
    address,
    async execute(batch, signers) {
      const { chainId, transactions } = JSON.parse(batch) as Batch
      const [transaction, ...others] = transactions
      if (transaction === undefined || others.length > 0) throw new Error('expected a batch of one transaction')
      const nonce = (await client.readContract({ ...contract, functionName: 'nonce' })) as bigint
      const message = {
        to: transaction.to,
        value: BigInt(transaction.value),
        data: transaction.data,
        operation: 0,
        safeTxGas: 0n,
        baseGas: 0n,
        gasPrice: 0n,
        gasToken: zeroAddress,
        refundReceiver: zeroAddress,
        nonce,
      } as const
      const domain = { chainId: Number(chainId), verifyingContract: address }
      // The Safe wants them in the order of their owners' addresses.
      const ordered = signers.toSorted((a, b) => (a.address.toLowerCase() < b.address.toLowerCase() ? -1 : 1))
      const signatures = await Promise.all(
        ordered.map((owner) =>
          owner.signTypedData({ domain, types: { SafeTx: SAFE_TX }, primaryType: 'SafeTx', message }),
        ),
      )
      const { nonce: _, ...call } = message
      await send('execTransaction', [
        ...Object.values(call),
        toHex(joinBytes(signatures.map((signature) => fromHex(signature)))),
      ])
    },
  }
}

type Batch = {
  readonly chainId: string
  readonly transactions: readonly { readonly to: Hex; readonly value: string; readonly data: Hex }[]
}

type Artifact = { readonly abi: Abi; readonly bytecode: Hex }

function readArtifact(path: string): Artifact {
  const file = createRequire(import.meta.url).resolve(`${PACKAGE}/${path}.json`)
  return JSON.parse(readFileSync(file, 'utf8')) as Artifact
}

/** Who pays for a deposit: the wallet of the browser (EIP-1193), or on a development chain an account that its node signs for. @module */
import {
  type Account,
  type Chain,
  createWalletClient,
  custom,
  defineChain,
  type EIP1193Provider,
  erc20Abi,
  getAddress,
  http,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { type ChainSigner, signerOfWallet } from '#chain/vaultSigner.ts'
import type { Hex } from '#protocol/bytes.ts'

/** Why nobody pays, in a sentence. */
export class PayerError extends Error {
  override readonly name = 'PayerError'
}

/** What an extension puts into the page; undefined without one. */
export function injectedProvider(): EIP1193Provider | undefined {
  return (globalThis as { ethereum?: EIP1193Provider }).ethereum
}

/** The account that the person chooses in their wallet, on this chain. Throws `PayerError`. */
export async function openExtension(provider: EIP1193Provider, chainId: number, rpcUrl: string): Promise<ChainSigner> {
  const chain = chainOf(chainId, rpcUrl)
  const wallet = createWalletClient({ chain, transport: custom(provider) })
  try {
    const [address] = await wallet.requestAddresses()
    if (address === undefined) throw new PayerError('Your wallet shows no account to this page.')
    if ((await wallet.getChainId()) !== chainId) await wallet.switchChain({ id: chainId })
    return signerOf(chain, custom(provider), address)
  } catch (error) {
    if (error instanceof PayerError) throw error
    const why = error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : ''
    throw new PayerError(`Your wallet does not take part on chain ${chainId}: ${why}`)
  }
}

/** An unlocked account of a development node that holds `amount` of the token, the one with the most. Throws `PayerError`. */
export async function openDevelopmentAccount(
  client: PublicClient,
  { chainId, rpcUrl, token }: { readonly chainId: number; readonly rpcUrl: string; readonly token: Hex },
  amount: bigint,
): Promise<ChainSigner> {
  const chain = chainOf(chainId, rpcUrl)
  const addresses = await createWalletClient({ chain, transport: http(rpcUrl) })
    .getAddresses()
    .catch((): Hex[] => [])
  let best: { readonly address: Hex; readonly balance: bigint } | undefined
  for (const address of addresses) {
    const balance = await client.readContract({
      address: token,
      abi: erc20Abi,
      functionName: 'balanceOf',
      args: [getAddress(address)],
    })
    if (balance >= amount && balance > (best?.balance ?? 0n)) best = { address, balance }
  }
  if (best === undefined) throw new PayerError('No account that this chain’s node signs for holds enough OPG.')
  return signerOf(chain, http(rpcUrl), best.address)
}

function signerOf(chain: Chain, transport: Transport, address: Hex): ChainSigner {
  const account: Account = { address, type: 'json-rpc' }
  const wallet: WalletClient<Transport, Chain, Account> = createWalletClient({ chain, transport, account })
  return signerOfWallet(wallet)
}

function chainOf(id: number, rpcUrl: string): Chain {
  return defineChain({
    id,
    name: `chain ${id}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  })
}

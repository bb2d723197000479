/** The account that a command sends from: its key in a file, its signer on a chain. @module */
import { readFileSync } from 'node:fs'
import { createWalletClient, defineChain, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { type ChainSigner, signerOfWallet } from '#chain/vaultSigner.ts'
import type { Hex } from '#protocol/bytes.ts'
import { UsageError } from './command.ts'

/** A private key of 32 bytes in hex. Throws `UsageError` naming the file. */
export function readKeyFile(path: string): Hex {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new UsageError(`cannot read the key file ${path}`, { cause })
  }
  if (!/^0x[0-9a-f]{64}$/i.test(text) || /^0x0+$/.test(text)) {
    throw new UsageError(`${path} does not hold a private key of 32 bytes in hex`)
  }
  return text as Hex
}

export function openSigner(rpcUrl: string, chainId: number, key: Hex): ChainSigner {
  const chain = defineChain({
    id: chainId,
    name: `chain ${chainId}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  })
  return signerOfWallet(createWalletClient({ chain, transport: http(rpcUrl), account: privateKeyToAccount(key) }))
}

/** The account that a command sends from: its key in a file, its signer on a chain. @module */
import { createWalletClient, defineChain, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { type ChainSigner, signerOfWallet } from '#chain/vaultSigner.ts'
import { AppError } from '#node/appError.ts'
import { readKeyFile as readKey } from '#node/keyFile.ts'
import type { Hex } from '#protocol/bytes.ts'
import { UsageError } from './command.ts'

/** A private key of 32 bytes in hex. Throws `UsageError` naming the file. */
export function readKeyFile(path: string): Hex {
  try {
    return readKey(path)
  } catch (cause) {
    if (cause instanceof AppError) throw new UsageError(cause.message, { cause })
    throw cause
  }
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

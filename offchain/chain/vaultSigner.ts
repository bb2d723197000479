/**
 * Who signs and sends for a payer: as little as deposits and exits need, so that any library's signer serves. A transaction is tried out before
 * it is sent, and waited for. @module
 */
import type { Account, Chain, PublicClient, Transport, WalletClient } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { explainRefusal, fromChain, VaultError } from './vaultErrors.ts'

/** EIP-712, without the type of the domain. */
export type TypedMessage = {
  readonly domain: {
    readonly name: string
    readonly version: string
    readonly chainId: number
    readonly verifyingContract: Hex
  }
  readonly types: Readonly<Record<string, readonly { readonly name: string; readonly type: string }[]>>
  readonly primaryType: string
  readonly message: Readonly<Record<string, unknown>>
}

/** An account of the chain. Both calls throw what its library throws. */
export type ChainSigner = {
  readonly address: Hex
  /** The signature in 65 bytes: r, s, v. */
  signTypedData(message: TypedMessage): Promise<Hex>
  /** Signs and broadcasts. Answers the transaction's hash. */
  sendTransaction(call: ChainCall): Promise<Hex>
}

export type ChainCall = { readonly to: Hex; readonly data: Hex }

/** A viem wallet client with an account as signer. */
export function signerOfWallet(wallet: WalletClient<Transport, Chain, Account>): ChainSigner {
  return {
    address: wallet.account.address,
    signTypedData: (message) => wallet.signTypedData(message as Parameters<typeof wallet.signTypedData>[0]),
    sendTransaction: ({ to, data }) => wallet.sendTransaction({ to, data }),
  }
}

/** How long a transaction may take to be mined. */
const MINED_TIMEOUT_MS = 300_000

/**
 * Tries a call out, sends it, and waits until it is mined. Answers the transaction's hash. Throws `VaultError`: `REFUSED`, `NOT_SENT`, `REVERTED`,
 * `UNCONFIRMED`, `CHAIN_FAILED`.
 */
export async function sendCall(client: PublicClient, signer: ChainSigner, call: ChainCall): Promise<Hex> {
  await tryCall(client, signer.address, call)
  let hash: Hex
  try {
    hash = await signer.sendTransaction(call)
  } catch (cause) {
    if (wasNeverSent(cause)) {
      const message = `${signer.address} did not send the transaction: it lacks the coins for gas, or its owner said no`
      throw new VaultError('NOT_SENT', message, { cause })
    }
    const message = `${signer.address} was to send a transaction, and the RPC endpoint does not say what became of it`
    throw new VaultError('UNCONFIRMED', message, { cause })
  }
  let status: 'success' | 'reverted'
  try {
    status = (await client.waitForTransactionReceipt({ hash, timeout: MINED_TIMEOUT_MS })).status
  } catch (cause) {
    throw new VaultError('UNCONFIRMED', `the transaction ${hash} was sent and is not confirmed yet`, { cause })
  }
  if (status === 'success') return hash
  const { message, reason } = await whyReverted(client, signer.address, call)
  const sentence = `the transaction ${hash} was refused by the contract: ${message}`
  throw new VaultError('REVERTED', sentence, reason === undefined ? {} : { reason })
}

/** What the contract says now: most often what it said when the transaction was mined. */
async function whyReverted(
  client: PublicClient,
  from: Hex,
  call: ChainCall,
): Promise<{ readonly message: string; readonly reason: string | undefined }> {
  try {
    await tryCall(client, from, call)
    return { message: 'what it needed was gone when it was mined', reason: undefined }
  } catch (error) {
    if (error instanceof VaultError) return error
    throw error
  }
}

const NEVER_SENT_NAMES: ReadonlySet<unknown> = new Set(['InsufficientFundsError', 'UserRejectedRequestError'])
/** Of ethers, and of EIP-1193. */
const NEVER_SENT_CODES: ReadonlySet<unknown> = new Set(['INSUFFICIENT_FUNDS', 'ACTION_REJECTED', 4001])

/** Whether a signer's error says that nothing was broadcast. Of any other, a timeout for one, nobody knows. */
function wasNeverSent(error: unknown): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (NEVER_SENT_NAMES.has(cause.name) || NEVER_SENT_CODES.has((cause as { code?: unknown }).code)) return true
    // Hardhat's words, which viem has no name for.
    if (cause.message.includes("Sender doesn't have enough funds")) return true
  }
  return false
}

/** Throws `VaultError` (`REFUSED`, `CHAIN_FAILED`) when the call would fail now. */
export async function tryCall(client: PublicClient, from: Hex, { to, data }: ChainCall): Promise<void> {
  await fromChain(
    client.call({ account: from, to, data }).catch((error: unknown) => {
      throw explainRefusal(error)
    }),
  )
}

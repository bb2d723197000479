/** Deposits for credits: what the vault knows of them, how one is made, and how one that nobody answers comes back. @module */
import { encodeFunctionData, getAbiItem, getAddress } from 'viem'
import { fromHex, type Hex, lowerHex } from '#protocol/bytes.ts'
import { decodeEip2537G1, EIP2537_G1_BYTES, encodeG1 } from '#protocol/credits/points.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { creditVaultAbi } from './generated/abis.ts'
import type { VaultAccess } from './vault.ts'
import { fromChain, VaultError } from './vaultErrors.ts'
import { readLogs } from './vaultLogs.ts'
import { type ChainSigner, sendCall } from './vaultSigner.ts'

/** `open`: the issuer may answer it, the payer may ask it back. The others are numbers of `DepositState` in ICreditDeposits. */
export type DepositState = 'open' | 'refundRequested' | 'answered' | 'refunded'
const STATES = [undefined, 'open', 'refundRequested', 'answered', 'refunded'] as const

/** Times in seconds since the epoch. */
export type VaultDeposit = {
  readonly state: DepositState
  readonly units: bigint
  readonly payer: Hex
  readonly depositedAt: number
  /** When it can be asked back, and, once it was, when it can be drawn. */
  readonly refundableAt: number
  readonly refundReadyAt: number | undefined
}

/** Twins of ANSWER_TIME and REFUND_WINDOW in CreditDeposits.sol. */
const ANSWER_SECONDS = 3_600
const REFUND_WINDOW_SECONDS = 86_400

/** The deposit for a claim key; undefined when there is none. Throws `VaultError` (`CHAIN_FAILED`). */
export async function readDeposit(
  { client, vault }: VaultAccess,
  keyset: Hex,
  claimKey: Hex,
): Promise<VaultDeposit | undefined> {
  const deposit = await fromChain(
    client.readContract({
      address: vault,
      abi: creditVaultAbi,
      functionName: 'depositOf',
      args: [keyset, getAddress(claimKey)],
    }),
  )
  const state = STATES[deposit.state]
  const units = DEPOSIT_SIZES[deposit.size]
  if (state === undefined || units === undefined) return undefined
  const { payer, depositedAt, requestedAt } = deposit
  return {
    state,
    units,
    payer: lowerHex(payer),
    depositedAt,
    refundableAt: depositedAt + ANSWER_SECONDS,
    refundReadyAt: requestedAt === 0 ? undefined : requestedAt + REFUND_WINDOW_SECONDS,
  }
}

const DEPOSITED = getAbiItem({ abi: creditVaultAbi, name: 'Deposited' })
const ANSWERED = getAbiItem({ abi: creditVaultAbi, name: 'DepositAnswered' })

/**
 * Units of every deposit under a keyset by claim key, in lower case: all of them at once, so that the endpoint does not learn which ones are asked for.
 * `from` is the block in which the keyset was opened, or any before. Throws `VaultError` (`CHAIN_FAILED`).
 */
export async function readDeposits(access: VaultAccess, keyset: Hex, from: bigint): Promise<ReadonlyMap<Hex, bigint>> {
  const { client, vault } = access
  const logs = await readLogs(
    access,
    (range) => client.getLogs({ address: vault, event: DEPOSITED, args: { keyset }, strict: true, ...range }),
    { from },
  )
  return new Map(logs.map(({ args }) => [lowerHex(args.claimKey), args.amount]))
}

/** How many deposits of this size a keyset has: the set in which one of them hides. Throws `VaultError` (`CHAIN_FAILED`). */
export async function countDeposits(access: VaultAccess, keyset: Hex, units: bigint, from: bigint): Promise<number> {
  const deposits = await readDeposits(access, keyset, from)
  return [...deposits.values()].filter((amount) => amount === units).length
}

/**
 * The blind signatures (48 bytes each) with which the issuer answered a deposit on chain, in the order of the outputs. Undefined when it did not. Throws
 * `VaultError` (`CHAIN_FAILED`), and `CreditError` for points that are none.
 */
export async function readDepositAnswer(
  access: VaultAccess,
  keyset: Hex,
  claimKey: Hex,
  from: bigint,
): Promise<readonly Uint8Array[] | undefined> {
  const { client, vault } = access
  const args = { keyset, claimKey: getAddress(claimKey) }
  const [log] = await readLogs(
    access,
    (range) => client.getLogs({ address: vault, event: ANSWERED, args, strict: true, ...range }),
    { from, count: 1 },
  )
  if (log === undefined) return undefined
  const bytes = fromHex(log.args.signatures)
  return Array.from({ length: bytes.length / EIP2537_G1_BYTES }, (_, i) =>
    encodeG1(decodeEip2537G1(bytes.subarray(i * EIP2537_G1_BYTES, (i + 1) * EIP2537_G1_BYTES))),
  )
}

/** Asks an unanswered deposit back. Its payer only, an hour after it was made. Throws `VaultError`. */
export function requestRefund(access: VaultAccess, signer: ChainSigner, keyset: Hex, claimKey: Hex): Promise<Hex> {
  const args = [keyset, getAddress(claimKey)] as const
  return sendCall(access.client, signer, {
    to: access.vault,
    data: encodeFunctionData({ abi: creditVaultAbi, functionName: 'requestRefund', args }),
  })
}

/** Draws a deposit that was asked back a day ago, for its payer. Anyone may. Throws `VaultError`. */
export function finishRefund(access: VaultAccess, signer: ChainSigner, keyset: Hex, claimKey: Hex): Promise<Hex> {
  const args = [keyset, getAddress(claimKey)] as const
  return sendCall(access.client, signer, {
    to: access.vault,
    data: encodeFunctionData({ abi: creditVaultAbi, functionName: 'finishRefund', args }),
  })
}

/** Number of a deposit's size in the contract. Throws `VaultError` (`REFUSED`) for any other amount. */
export function sizeNumberOf(units: bigint): number {
  const size = DEPOSIT_SIZES.indexOf(units)
  if (size < 0) throw new VaultError('REFUSED', 'a deposit is 1, 10 or 100 OPG')
  return size
}

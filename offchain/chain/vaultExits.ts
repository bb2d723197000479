/** Exits: credits that the vault pays out by itself, a day after their exit keys have signed for it. @module */
import { encodeFunctionData, getAbiItem, getAddress } from 'viem'
import { hashTypedData } from 'viem/utils'
import { type Hex, joinBytes, lowerHex, toHex } from '#protocol/bytes.ts'
import { hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { decodeG1, encodeEip2537G1, encodeEip2537G2 } from '#protocol/credits/points.ts'
import type { CompactSignature } from '#protocol/receipt/head.ts'
import { creditVaultAbi } from './generated/abis.ts'
import type { VaultAccess } from './vault.ts'
import { fromChain } from './vaultErrors.ts'
import { readLogs } from './vaultLogs.ts'
import { type ChainSigner, sendCall } from './vaultSigner.ts'

/** Exits in one transaction: CREDITS_MAX of CreditKeysets.sol. */
export const EXIT_CREDITS_MAX = 64

/** A credit of 2^exponent units to be paid out: `hashT` is keccak256 of t, `signature` the issuer's (48 bytes), `exit` the exit key's. */
export type ExitCredit = {
  readonly exponent: number
  readonly exitKey: Hex
  readonly hashT: Hex
  readonly signature: Uint8Array
  readonly exit: CompactSignature
}

export type ExitState = 'none' | 'open' | 'cancelled' | 'paid'
const STATES = ['none', 'open', 'cancelled', 'paid'] as const

/** `readyAt` in seconds since the epoch. */
export type VaultExit = { readonly state: ExitState; readonly recipient: Hex; readonly readyAt: number }

/** Digest that an exit key signs, 32 bytes: EIP-712, `Exit(bytes32 credit,address recipient)` of the vault. */
export function hashExit({ chainId, vault }: Keyset, credit: Hex, recipient: Hex): Hex {
  return hashTypedData({
    domain: { name: 'Sealpath CreditVault', version: '1', chainId, verifyingContract: vault },
    types: {
      Exit: [
        { name: 'credit', type: 'bytes32' },
        { name: 'recipient', type: 'address' },
      ],
    },
    primaryType: 'Exit',
    message: { credit, recipient },
  })
}

/** Opens the exits of at most `EXIT_CREDITS_MAX` credits of a keyset, all or none. Throws `VaultError`. */
export function openExits(
  { client, vault }: VaultAccess,
  signer: ChainSigner,
  keyset: Keyset,
  recipient: Hex,
  credits: readonly ExitCredit[],
): Promise<Hex> {
  // Ascending, as the vault wants them.
  const ordered = credits.toSorted((a, b) => a.exponent - b.exponent)
  const used = [...new Set(ordered.map(({ exponent }) => exponent))].flatMap((exponent) => keyset.keys[exponent] ?? [])
  const data = encodeFunctionData({
    abi: creditVaultAbi,
    functionName: 'openExits',
    args: [
      hashKeyset(keyset),
      getAddress(recipient),
      toHex(joinBytes(used.map(encodeEip2537G2))),
      toHex(Uint8Array.from(ordered, ({ exponent }) => exponent)),
      ordered.map(({ exitKey, hashT, exit }) => ({ exitKey, hashT, ...exit })),
      toHex(joinBytes(ordered.map(({ signature }) => encodeEip2537G1(decodeG1(signature))))),
    ],
  })
  return sendCall(client, signer, { to: vault, data })
}

/** Pays exits (credit ids) whose window has passed, of one keyset and to one recipient. Anyone may. Throws `VaultError`. */
export function finishExits(
  { client, vault }: VaultAccess,
  signer: ChainSigner,
  credits: readonly Hex[],
): Promise<Hex> {
  const data = encodeFunctionData({ abi: creditVaultAbi, functionName: 'finishExits', args: [credits] })
  return sendCall(client, signer, { to: vault, data })
}

/** The exits of these credits, in order. The endpoint learns that they belong together: ask only for exits of one's own that are open. */
export function readExits({ client, vault }: VaultAccess, credits: readonly Hex[]): Promise<VaultExit[]> {
  const contract = { address: vault, abi: creditVaultAbi, functionName: 'exitOf' } as const
  return fromChain(
    Promise.all(
      credits.map(async (credit) => {
        const { state, recipient, readyAt } = await client.readContract({ ...contract, args: [credit] })
        return { state: STATES[state] ?? 'none', recipient: lowerHex(recipient), readyAt }
      }),
    ),
  )
}

/** Units of a keyset whose exits can still be opened today. Throws `VaultError` (`CHAIN_FAILED`). */
export function readExitAllowance({ client, vault }: VaultAccess, keyset: Hex): Promise<bigint> {
  return fromChain(
    client.readContract({ address: vault, abi: creditVaultAbi, functionName: 'exitAllowance', args: [keyset] }),
  )
}

const EXITS_OPENED = getAbiItem({ abi: creditVaultAbi, name: 'ExitsOpened' })

/**
 * Recipient and time of every exit that was ever opened under a keyset, by credit id: all of them at once, so that the endpoint does not learn which
 * ones are asked for. What became of them is not told. Throws `VaultError` (`CHAIN_FAILED`).
 */
export async function readOpenedExits(
  access: VaultAccess,
  keyset: Hex,
  from: bigint,
): Promise<ReadonlyMap<Hex, { readonly recipient: Hex; readonly readyAt: number; readonly transaction: Hex }>> {
  const { client, vault } = access
  const logs = await readLogs(
    access,
    (range) => client.getLogs({ address: vault, event: EXITS_OPENED, args: { keyset }, strict: true, ...range }),
    { from },
  )
  return new Map(
    logs.flatMap(({ args, transactionHash }) =>
      args.credits.map((credit): [Hex, { recipient: Hex; readyAt: number; transaction: Hex }] => [
        credit,
        { recipient: lowerHex(args.recipient), readyAt: args.readyAt, transaction: transactionHash },
      ]),
    ),
  )
}

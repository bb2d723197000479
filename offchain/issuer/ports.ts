/** What the issuer's operations stand on. @module */
import type { SignerPool } from '#node/credits/signerPool.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Keyset } from '#protocol/credits/keyset.ts'
import type { GatewayKeys } from '#protocol/sealing/exchange.ts'
import type { RandomBytes, SealingSuites } from '#protocol/sealing/suite.ts'
import type { IssuerDomain } from '#protocol/wire/issuerApi.ts'
import type { ChainReader } from './chain.ts'
import { IssuerError } from './issuerError.ts'
import type { PaymentMemory } from './paymentMemory.ts'
import type { KeysetStanding } from './succession.ts'
import type { Writer } from './writer.ts'

export type IssuerPorts = {
  readonly domain: IssuerDomain
  readonly keysets: ReadonlyMap<Hex, IssuerKeyset>
  readonly chain: ChainReader
  readonly suites: SealingSuites
  /** The enclave's sealing keys, for payments. */
  readonly keys: GatewayKeys
  readonly memory: PaymentMemory
  readonly policy: ReservePolicy
  /** The writer and each keyset's standing, once this enclave has taken over what was written before. */
  readonly active: () => ActiveWriter | InactiveWriter
  /** Whether a credit's exit was opened. */
  readonly isExiting: (credit: Hex) => boolean
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly random: RandomBytes
}

export type IssuerKeyset = { readonly id: Hex; readonly terms: Keyset; readonly signer: SignerPool }

/** How long a payment stays open, and how long at most with renewals. */
export type ReservePolicy = { readonly seconds: number; readonly renewedSecondsMax: number }

export type ActiveWriter = { readonly writer: Writer; readonly standings: ReadonlyMap<Hex, KeysetStanding> }
/** `isFinal`: waiting will not help. `isUnwitnessed`: too few witnesses say what is newest. `isElsewhere`: because another issuer writes. */
export type InactiveWriter = {
  readonly inactiveBecause: string
  readonly isFinal: boolean
  readonly isUnwitnessed?: boolean
  readonly isElsewhere?: boolean
}

/**
 * The keysets that are to be asked for here: none that another issuer writes, so that wallets find the one that does; but those of which
 * only exits are left, whose change and spent credits can still be looked up.
 */
export function keysetsToAsk({ keysets, active }: Pick<IssuerPorts, 'keysets' | 'active'>): Hex[] {
  const state = active()
  if ('inactiveBecause' in state) return state.isFinal && state.isElsewhere !== true ? [...keysets.keys()] : []
  return [...keysets.keys()].filter((keyset) => state.standings.get(keyset)?.isElsewhere === false)
}

/** Throws `IssuerError` (`UNKNOWN_KEYSET`). */
export function keysetOf(ports: IssuerPorts, keyset: Hex): IssuerKeyset {
  const known = ports.keysets.get(keyset)
  if (known === undefined) throw new IssuerError('UNKNOWN_KEYSET', 'this issuer does not have that keyset')
  return known
}

/**
 * The writer and what it may write. Without one nothing is said of a payment: what is not known to be newest must not be captured, and it may
 * have been, for another fee. Throws `IssuerError` (`EXIT_ONLY`, `UNAVAILABLE`).
 */
export function requireActive({ active }: Pick<IssuerPorts, 'active'>): ActiveWriter {
  const state = active()
  if (!('inactiveBecause' in state)) return state
  throw new IssuerError(state.isFinal ? 'EXIT_ONLY' : 'UNAVAILABLE', state.inactiveBecause)
}

/**
 * The writer, if it may write this keyset now. Without one nothing new is begun. Throws `IssuerError`: `EXIT_ONLY` when that is for good or until
 * its witnesses are reached, `UNAVAILABLE` while it reads its log or stands by, `UNKNOWN_KEYSET`.
 */
export function requireWriter(ports: IssuerPorts, keyset: Hex): Writer {
  const active = ports.active()
  if ('inactiveBecause' in active) {
    const leavesExits = active.isFinal || active.isUnwitnessed === true
    throw new IssuerError(leavesExits ? 'EXIT_ONLY' : 'UNAVAILABLE', active.inactiveBecause)
  }
  const standing = active.standings.get(keyset)
  if (standing === undefined) throw new IssuerError('UNKNOWN_KEYSET', 'this issuer does not have that keyset')
  standing.requireOpen()
  return active.writer
}

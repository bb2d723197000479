/** What an issuer asks the chain. A port, implemented over JSON-RPC (chainReader.ts). @module */
import type { Hex } from '#protocol/bytes.ts'

/** Every call throws `AppError` (`RPC_FAILED`, retryable) when the chain does not answer, or its endpoints contradict each other. */
export type ChainReader = {
  /** A deposit at finality; undefined when there is none. */
  deposit(keyset: Hex, claimKey: Hex): Promise<ChainDeposit | undefined>
  /** Whether the registry calls this enclave an active gateway. */
  isActiveGateway(enclave: Hex): Promise<boolean>
  /** What the registry says of an active issuer, at finality; undefined when it does not call this enclave one. */
  activeIssuer(enclave: Hex): Promise<ChainIssuer | undefined>
  /** The enclaves that were named writers of a keyset, at finality, oldest first; none when the vault does not know it. */
  writers(keyset: Hex): Promise<readonly Hex[]>
  /** Time of the newest block that all endpoints have, in seconds since the epoch. */
  time(): Promise<number>
  /** Credits (ids) whose exits any endpoint has seen opened from block `from` on, as new as can be, and the block to go on from. */
  openedExits(from: bigint): Promise<{ readonly credits: readonly Hex[]; readonly next: bigint }>
}

/** `units` it is worth. Only an open deposit may be answered: one that was asked back might be refunded as well. */
export type ChainDeposit = { readonly state: 'open' | 'closed'; readonly units: bigint }

/** `measurement` is what the registry took it as. */
export type ChainIssuer = { readonly operator: Hex; readonly measurement: Hex }

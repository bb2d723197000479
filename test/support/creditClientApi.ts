/** What a test and its client process say to one another, over Node's channel between parent and child. Amounts are decimal strings. @module */
import type { Hex } from '#protocol/bytes.ts'

export type CreditClientConfig = {
  readonly rpcUrl: string
  readonly relayUrl: string
  readonly registry: Hex
  readonly walletFile: string
  /** 32 bytes in hex: what a new wallet file begins with. */
  readonly seed: Hex
  /** File of the private key that deposits and exits are sent with. */
  readonly keyFile: string
  readonly model: string
}

export type ClientCommand =
  /** Buys credits for 1 OPG. */
  | { readonly do: 'buy' }
  | { readonly do: 'ask' }
  | { readonly do: 'recover' }
  /** Finds everything again from the seed. */
  | { readonly do: 'restore' }
  | { readonly do: 'holdings' }
  /** Opens exits for so many units or a little more, at the vault. */
  | { readonly do: 'exit'; readonly units: string; readonly recipient: Hex }
  /** The next change that is to be stored is not: the process stops in front of it. */
  | { readonly do: 'stopBeforeStoring' }
  | { readonly do: 'store' }
  /** Looks for gateway and issuer anew, as a process that begins does. */
  | { readonly do: 'reconnect' }

/** `status` of the answer, 0 when there was none. `code` and `message` of what went wrong. */
export type Asked = {
  readonly status: number
  readonly text: string
  readonly code?: string
  readonly message?: string
}

export type HeldCredit = {
  readonly exponent: number
  readonly exitKey: Hex
  /** t, 32 bytes. */
  readonly secret: Hex
  /** 48 bytes. */
  readonly signature: Hex
}
/** `open` are the payments that the wallet waits for. */
export type Holdings = { readonly credits: readonly HeldCredit[]; readonly open: readonly Hex[] }

/** `locator` is the hash of its first blank. */
export type MadePayment = {
  readonly id: Hex
  readonly gateway: Hex
  readonly locator: Hex
  readonly credits: readonly { readonly id: Hex; readonly exponent: number }[]
}

export type ClientEvent =
  | { readonly event: 'started' }
  /** A payment that is about to be stored, and then sent. */
  | { readonly event: 'paying'; readonly payment: MadePayment }
  /** The verified receipt of the payment that was made last. */
  | { readonly event: 'receipt'; readonly payment: Hex; readonly fee: string }
  /** Change is here and not stored. */
  | { readonly event: 'storing' }
  | { readonly event: 'done'; readonly call: number; readonly value: unknown }
  | { readonly event: 'failed'; readonly call: number; readonly message: string }

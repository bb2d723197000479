/** What happens while credits are bought, for user interfaces. @module */
import type { Hex } from '#protocol/bytes.ts'

/** `hidesAmong` deposits of this size and keyset it could be; undefined when the endpoint does not tell. */
type HiddenPurchase = { readonly purchase: number; readonly units: bigint; readonly hidesAmong: number | undefined }

/** `purchase` is the purchase's number under its keyset; times are in seconds since the epoch. */
export type PurchaseStep =
  | { readonly kind: 'purchase-started'; readonly purchase: number; readonly units: bigint }
  | { readonly kind: 'deposit-made'; readonly purchase: number; readonly units: bigint; readonly transaction: Hex }
  /** The credits are asked for at `until`. */
  | (HiddenPurchase & { readonly kind: 'purchase-waits'; readonly until: number })
  | (HiddenPurchase & { readonly kind: 'purchase-asked' })
  /** Requests go through the relay that the credits are asked for through: it could see that one address does both. */
  | { readonly kind: 'purchase-relay-shared'; readonly purchase: number }
  /** The issuer does not answer yet, and is asked again. `reason` is its code. */
  | { readonly kind: 'purchase-unanswered'; readonly purchase: number; readonly reason: string }
  | { readonly kind: 'purchase-finished'; readonly purchase: number; readonly units: bigint }
  /** The wallet is low and may not buy more in this period. */
  | { readonly kind: 'top-up-limit-reached'; readonly limitUnits: bigint }
  | { readonly kind: 'top-up-failed'; readonly message: string }

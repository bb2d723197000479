/** What every role that runs in an enclave is configured with. @module */
import * as v from 'valibot'
import type { Hex } from '#protocol/bytes.ts'
import { address, type Schema } from '#protocol/wire/json.ts'

/** Whose enclave it is and where its receipts settle. */
export type EnclaveChain = {
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  readonly operator: Hex
}

export type AttesterConfig =
  /** The Nitro Secure Module of the enclave that the role runs in. */
  | { readonly kind: 'nitro' }
  /**
   * Documents that prove nothing about hardware, under the root kept in `rootFile`, which is made there when absent. On a chain that is not
   * local only where `allowDevelopment` is true.
   */
  | { readonly kind: 'development'; readonly rootFile: string; readonly allowDevelopment?: boolean }

export const EnclaveChainSchema: Schema<EnclaveChain> = v.object({
  chainId: v.pipe(v.number(), v.integer(), v.minValue(1)),
  registry: address,
  settlement: address,
  operator: address,
})

export const AttesterConfigSchema: Schema<AttesterConfig> = v.variant('kind', [
  v.object({ kind: v.literal('nitro') }),
  v.object({
    kind: v.literal('development'),
    rootFile: v.string(),
    allowDevelopment: v.exactOptional(v.boolean()),
  }),
])

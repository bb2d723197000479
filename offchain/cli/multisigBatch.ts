/**
 * Calls for a multisig's owners to sign: the JSON file that the Transaction Builder of Safe imports. Other multisigs take `to`, `value` and `data` of each
 * entry. @module
 */
import type { PreparedCall } from '#chain/timelock.ts'
import { toJson } from '#protocol/wire/json.ts'

export type BatchOptions = {
  readonly chainId: number
  readonly name: string
  /** What the owners read before they sign. */
  readonly description: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/** The file's text. Values are 0; nothing is decoded in it, so that what is signed is exactly `data`. */
export function batchOf(
  calls: readonly PreparedCall[],
  { chainId, name, description, createdAt }: BatchOptions,
): string {
  const batch = {
    version: '1.0',
    chainId: `${chainId}`,
    createdAt,
    meta: { name, description },
    transactions: calls.map(({ to, data }) => ({
      to,
      value: '0',
      data,
      contractMethod: null,
      contractInputsValues: null,
    })),
  }
  return `${toJson(batch, 2)}\n`
}

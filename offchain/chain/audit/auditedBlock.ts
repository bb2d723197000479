/** The block that an audit reads state at, and how many things it asks at once. @module */
import type { PublicClient } from 'viem'
import type { Hex } from '#protocol/bytes.ts'

export type AuditedContracts = {
  readonly client: PublicClient
  readonly registry: Hex
  readonly settlement: Hex
  readonly vault: Hex
  readonly token: Hex
}

export type AuditedBlock = AuditedContracts & { readonly number: bigint }

const AT_ONCE = 16

/** Does `work` for each item, a few at once. The first failure ends it. */
export async function inTurns<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  atOnce: number = AT_ONCE,
): Promise<void> {
  const rest = items.values()
  const worker = async () => {
    for (const item of rest) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}

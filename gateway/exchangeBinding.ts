/** What ties a receipt to its exchange. @module */
import type { SealedExchange } from '#node/sealing/sealedServer.ts'
import { deriveSalts, type Salts } from '#protocol/receipt/commitment.ts'

export type ExchangeBinding = {
  /** keccak-256 of the whole encapsulated request, 32 bytes. */
  readonly encapsulatedHash: Uint8Array
  readonly salts: Salts
}

/** Derives it in a turn of the event loop of its own, so that the model is asked before: nobody needs it until the answer is there. */
export async function bindExchange(exchange: SealedExchange): Promise<ExchangeBinding> {
  await new Promise((resolve) => setImmediate(resolve))
  return { encapsulatedHash: exchange.encapsulatedHash, salts: await deriveSalts(exchange.exportSecret) }
}

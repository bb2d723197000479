/** One question and its answer, with everything that passed for it. @module */
import { equalBytes, fromHex, type Hex } from '#protocol/bytes.ts'
import { hashEncapsulated } from '#protocol/sealing/encapsulatedHash.ts'
import { OHTTP_CHUNKED_REQUEST } from '#protocol/sealing/mediaTypes.ts'
import type { ReceiptFile } from '#protocol/wire/receiptFile.ts'
import type { TrustedGateway } from '../../sdk/gateway.ts'
import type { SettledInChain } from './follow.ts'
import type { Recorded } from './recorder.ts'
import type { SpentPayment } from './spentPayment.ts'

/** One exchange as far as it has come. */
export type ChatExchange = {
  readonly prompt: string
  readonly answer: string
  /** Everything that left for the relay since it was sent, in order. */
  readonly recorded: readonly Recorded[]
  /** Where in it the question itself begins: what is before is how a gateway was found. */
  readonly sentFrom: number
  readonly gateway?: TrustedGateway
  readonly receipt?: { readonly file: ReceiptFile; readonly leaf: Hex }
  readonly payment?: SpentPayment
  readonly settled?: SettledInChain
  /** Nothing more comes of it but its settlement. */
  readonly isDone: boolean
}

/** The sealed request itself: the one that the receipt names; before there is a receipt the newest. */
export function requestOf({ recorded, sentFrom, receipt }: ChatExchange): Recorded | undefined {
  const sealed = recorded.slice(sentFrom).filter(({ contentType }) => contentType === OHTTP_CHUNKED_REQUEST)
  if (receipt === undefined) return sealed.at(-1)
  const named = fromHex(receipt.file.private.encapsulated, 32)
  return sealed.find(({ request }) => equalBytes(hashEncapsulated(request), named))
}

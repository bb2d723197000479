/** Checks a receipt: everything that can be known from the receipt itself, its opened commitments and the price list. @module */
import { fromHex, toHex } from '../bytes.ts'
import { LOG_NODE_TAG, rootFromPath } from '../log/tree.ts'
import type { ReceiptFile, ReceiptMessage } from '../wire/receiptFile.ts'
import { COMMITMENT_KINDS, type CommitmentKind, commit } from './commitment.ts'
import { isSignedByEnclave } from './head.ts'
import { hashPrivateReceipt, hashPublicReceipt, receiptLeaf } from './receipt.ts'

export type ReceiptCheckCode = 'INDEX_OUT_OF_RANGE' | 'PATH_MISMATCH' | 'HEAD_NOT_SIGNED' | 'COMMITMENT_MISMATCH'

export type ReceiptCheck =
  | { readonly ok: true; readonly leaf: Uint8Array }
  | { readonly ok: false; readonly code: ReceiptCheckCode; readonly message: string }

/**
 * Whether the receipt is part of the log whose head its enclave signed, and whether what opens its commitments does. Says nothing
 * about the enclave itself: whether it is measured and in good standing is the registry's to say.
 */
export function verifyReceipt(receipt: ReceiptFile | ReceiptMessage): ReceiptCheck {
  const { index, head, path } = receipt
  const leaf = receiptLeaf(hashPublicReceipt(receipt.public), hashPrivateReceipt(receipt.private))
  if (index >= head.size) return refuse('INDEX_OUT_OF_RANGE', 'the index is not below the size of the log')
  const siblings = path.map((node) => fromHex(node, 32))
  const root = rootFromPath(LOG_NODE_TAG, leaf, Number(index), Number(head.size) - 1, siblings)
  if (root === undefined || toHex(root) !== head.root) {
    return refuse('PATH_MISMATCH', 'the path does not lead from the receipt to the head')
  }
  const signed = {
    head: { kind: 'log', enclave: receipt.public.enclave, size: head.size, root: head.root },
    signature: head.signature,
  } as const
  if (!isSignedByEnclave(signed, receipt)) return refuse('HEAD_NOT_SIGNED', 'the enclave did not sign the head')
  const openings = 'openings' in receipt ? receipt.openings : undefined
  if (openings === undefined) return { ok: true, leaf }
  for (const kind of COMMITMENT_KINDS) {
    const { salt, data } = openings[kind]
    if (toHex(commit(kind, fromHex(salt, 32), data)) !== commitmentOf(receipt, kind)) {
      return refuse('COMMITMENT_MISMATCH', `the ${kind} does not open its commitment`)
    }
  }
  return { ok: true, leaf }
}

/** The commitment of a kind, wherever the receipt keeps it. */
export function commitmentOf(receipt: ReceiptMessage, kind: CommitmentKind): string {
  return kind === 'response' || kind === 'toolCalls' ? receipt.private[kind] : receipt.public[kind]
}

function refuse(code: ReceiptCheckCode, message: string): ReceiptCheck {
  return { ok: false, code, message }
}

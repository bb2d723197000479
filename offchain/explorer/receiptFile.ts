/** What a person drops: a receipt or a proof bundle, and what can be said of it without asking anybody. @module */
import { fromHex, toHex } from '#protocol/bytes.ts'
import { LOG_NODE_TAG, rootFromPath } from '#protocol/log/tree.ts'
import { COMMITMENT_KINDS, type CommitmentKind, commit } from '#protocol/receipt/commitment.ts'
import { isSignedByEnclave } from '#protocol/receipt/head.ts'
import { hashPrivateReceipt, hashPublicReceipt, receiptLeaf } from '#protocol/receipt/receipt.ts'
import { commitmentOf, verifyReceipt } from '#protocol/receipt/verifyReceipt.ts'
import { parseProofBundle, parseReceiptFile, type ReceiptFile, type SettledLeaf } from '#protocol/wire/receiptFile.ts'
import { failed, passed, type Step, skipped } from './steps.ts'

export type Dropped = { readonly receipt: ReceiptFile; readonly settled: SettledLeaf | undefined }

/** Reads a receipt.json or a proof bundle. Throws `WireError`. */
export function parseDropped(text: string): Dropped {
  if (!text.includes('"sealpath-proof/1"')) return { receipt: parseReceiptFile(text), settled: undefined }
  return parseProofBundle(text)
}

const TITLES: Readonly<Record<CommitmentKind, string>> = {
  request: 'The request opens its commitment',
  output: 'The answer opens its commitment',
  nonce: 'The nonce opens its commitment',
  response: 'The whole response opens its commitment',
  toolCalls: 'The tool calls open their commitment',
}

/**
 * Every check that needs the file alone. Each is made by itself, so that a person sees all that is wrong; together they say what `verifyReceipt` says.
 */
export function examineFile(receipt: ReceiptFile): readonly Step[] {
  const steps = [
    ...COMMITMENT_KINDS.map((kind) => examineOpening(receipt, kind)),
    examinePath(receipt),
    examineHead(receipt),
  ]
  const verdict = verifyReceipt(receipt)
  // The SDK's word is the last one: a check that it makes and these steps miss must not pass unseen.
  if (!verdict.ok && !steps.some(({ state }) => state === 'failed')) {
    return [...steps, failed('receipt', 'The receipt is consistent', `${sentence(verdict.message)}`)]
  }
  return steps
}

function examineOpening(receipt: ReceiptFile, kind: CommitmentKind): Step {
  const opening = receipt.openings?.[kind]
  if (opening === undefined) return skipped(kind, TITLES[kind], 'The file does not hold what opens it.')
  const actual = toHex(commit(kind, fromHex(opening.salt, 32), opening.data))
  const committed = commitmentOf(receipt, kind)
  return actual === committed
    ? passed(kind, TITLES[kind], `Salt and ${opening.data.length} bytes give ${committed}.`)
    : failed(kind, TITLES[kind], `The receipt commits to ${committed}, but salt and data give ${actual}.`)
}

function examinePath(receipt: ReceiptFile): Step {
  const [name, title] = ['path', 'The receipt is in the log']
  const { index, head } = receipt
  const leaf = receiptLeaf(hashPublicReceipt(receipt.public), hashPrivateReceipt(receipt.private))
  const leafText = `leaf ${toHex(leaf)}`
  if (index >= head.size)
    return failed(name, title, `The ${leafText} is said to be at ${index}, but the log has ${head.size} leaves.`)
  const siblings = receipt.path.map((node) => fromHex(node, 32))
  const root = rootFromPath(LOG_NODE_TAG, leaf, Number(index), Number(head.size) - 1, siblings)
  return root !== undefined && toHex(root) === head.root
    ? passed(name, title, `The ${leafText} is number ${index + 1n} of ${head.size}: its path leads to the head's root.`)
    : failed(name, title, `The path of the ${leafText} does not lead to the head's root ${head.root}.`)
}

function examineHead(receipt: ReceiptFile): Step {
  const [name, title] = ['head', 'The enclave signed the log’s head']
  const { size, root, signature } = receipt.head
  const { enclave } = receipt.public
  const isSigned = isSignedByEnclave({ head: { kind: 'log', enclave, size, root }, signature }, receipt)
  return isSigned
    ? passed(name, title, `The signature over size and root is that of ${enclave}.`)
    : failed(name, title, `The signature over size and root is not that of ${enclave}.`)
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

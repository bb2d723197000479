/**
 * Judges a finished run by what everybody could see: what was delivered and acknowledged, every raw transaction that left a process, and every block.
 * It shares no code with the aggregator, with the simulated store or with the chain: its trees are recursive, its hashes and encodings viem's.
 * @module
 */
import {
  concat,
  decodeEventLog,
  decodeFunctionData,
  keccak256,
  parseTransaction,
  recoverTransactionAddress,
  type TransactionSerialized,
  toHex,
} from 'viem'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'

type Hex = `0x${string}`

/** Times in milliseconds; addresses in lower case. */
export type Observation = {
  readonly settlement: Hex
  /** The sending accounts whose behaviour is judged. */
  readonly accounts: readonly Hex[]
  /** The chain in the end, and blocks that were reorganised away. */
  readonly blocks: readonly SeenBlock[]
  readonly orphans: readonly SeenBlock[]
  /** As they left the processes, in order. */
  readonly broadcasts: readonly { readonly at: number; readonly raw: Hex }[]
  /** What nodes suggested. */
  readonly suggestions: readonly { readonly at: number; readonly maxFeePerGas: bigint }[]
  /** Leaves of each enclave's log, 32 bytes each. */
  readonly logs: readonly { readonly enclave: Hex; readonly isIssuer: boolean; readonly leaves: readonly Hex[] }[]
  readonly acknowledged: readonly { readonly enclave: Hex; readonly size: bigint; readonly fees: bigint }[]
  readonly clearings: readonly SeenClearing[]
  /** Enclaves that were answered that they contradicted themselves. */
  readonly contradictions: readonly Hex[]
  readonly proofs: readonly SeenProof[]
  /** How often something went wrong that may cost gas. */
  readonly faults: number
}

export type SeenBlock = {
  readonly number: bigint
  readonly at: number
  readonly transactions: readonly SeenTransaction[]
}

export type SeenTransaction = {
  readonly hash: Hex
  readonly from: Hex
  /** Meaningful for judged accounts. */
  readonly nonce: number
  readonly input: Hex
  readonly isSuccess: boolean
  readonly gasUsed: bigint
  readonly logs: readonly { readonly address: Hex; readonly topics: readonly Hex[]; readonly data: Hex }[]
}

export type SeenClearing = {
  readonly keyset: Hex
  readonly issued: bigint
  readonly captured: bigint
  readonly enclaves: readonly { readonly enclave: Hex; readonly captured: bigint }[]
}

/** What was served for one leaf; `settled` is absent when nothing was. */
export type SeenProof = {
  readonly enclave: Hex
  readonly index: number
  readonly leaf: Hex
  readonly settled?:
    | {
        readonly size: bigint
        readonly logPath: readonly Hex[]
        readonly batch: bigint
        readonly batchIndex: bigint
        readonly batchSize: bigint
        readonly batchPath: readonly Hex[]
      }
    | undefined
}

export type FindingCode =
  | 'HEAD_LOST'
  | 'CLEARING_LOST'
  | 'SETTLED_TWICE'
  | 'SENT_TWICE'
  | 'NONCE_REUSED'
  | 'FEE_NOT_RAISED'
  | 'FEE_TOO_HIGH'
  | 'WRONG_BATCH_ROOT'
  | 'WRONG_LOG_ROOT'
  | 'ISSUER_SETTLED'
  | 'EVIDENCE_UNREPORTED'
  | 'EVIDENCE_REPEATED'
  | 'PROOF_MISSING'
  | 'PROOF_WRONG'
  | 'GAS_WASTED'
  | 'SETTLE_FAILED'
  | 'NOT_SIGNED'

export type Finding = { readonly code: FindingCode; readonly text: string }

const LOG_TAGS = { node: 1 } as const
const BATCH_TAGS = { leaf: 2, node: 3 } as const
/** What a perfect run would spend at most, by what it has to bring on chain. */
const PERFECT_GAS = { head: 150_000n, clearing: 120_000n, line: 40_000n, report: 160_000n } as const
const EXCLUSIVE = 7

/** Everything that is wrong; nothing for a run as it should be. */
export async function audit(seen: Observation): Promise<Finding[]> {
  const findings: Finding[] = []
  const find = (code: FindingCode, text: string) => findings.push({ code, text })
  const chain = readChain(seen, find)
  auditHeads(seen, chain, find)
  auditClearings(seen, chain, find)
  auditEvidence(seen, chain, find)
  auditProofs(seen, chain, find)
  auditGas(seen, find)
  auditOutcomes(seen, find)
  auditSending(seen, await readSent(seen, find), find)
  return findings
}

type Find = (code: FindingCode, text: string) => void

// What the chain says

type ChainSays = {
  readonly heads: readonly SettledHead[]
  readonly roots: ReadonlyMap<bigint, Hex>
  readonly clearings: readonly SeenClearing[]
  readonly reports: readonly { readonly enclave: Hex; readonly by: SeenTransaction }[]
}

type SettledHead = {
  readonly enclave: Hex
  readonly size: bigint
  readonly root: Hex
  readonly fees: bigint
  readonly batch: bigint
  /** Whether its money moved: it did not while another settler had the exclusive right. */
  readonly isPaid: boolean
}

function readChain({ blocks, settlement }: Observation, find: Find): ChainSays {
  const says = {
    heads: [] as SettledHead[],
    roots: new Map<bigint, Hex>(),
    clearings: [] as SeenClearing[],
    reports: [] as { enclave: Hex; by: SeenTransaction }[],
  }
  for (const transaction of blocks.flatMap(({ transactions }) => transactions)) {
    let unpaid = ''
    for (const { address, topics, data } of transaction.logs) {
      if (address !== settlement) continue
      const event = decodeEventLog({ abi: receiptSettlementAbi, topics: [...topics] as [Hex, ...Hex[]], data })
      switch (event.eventName) {
        case 'HeadSkipped':
          if (event.args.reason === EXCLUSIVE) unpaid = `${event.args.enclave} ${event.args.size}`
          break
        case 'HeadSettled': {
          const { enclave, size, root, fees, batch } = event.args
          const isPaid = unpaid !== `${enclave} ${size}`
          says.heads.push({ enclave: lower(enclave), size, root, fees, batch, isPaid })
          break
        }
        case 'BatchSettled': {
          const { batch, root, heads } = event.args
          const own = says.heads.filter((head) => head.batch === batch)
          if (BigInt(own.length) !== heads || rootOver(own.map(batchLeaf), BATCH_TAGS.node) !== root) {
            find('WRONG_BATCH_ROOT', `batch ${batch} has the root ${root}, which its heads do not lead to`)
          }
          says.roots.set(batch, root)
          break
        }
        case 'ClearingSettled':
          says.clearings.push(event.args)
          break
        case 'EquivocationProven':
          says.reports.push({ enclave: lower(event.args.enclave), by: transaction })
          break
      }
    }
  }
  return says
}

// What had to come on chain

function auditHeads({ logs, acknowledged }: Observation, { heads, reports }: ChainSays, find: Find): void {
  const ended = new Set(reports.map(({ enclave }) => enclave))
  for (const { enclave, size, fees } of acknowledged) {
    const log = logs.find((known) => known.enclave === enclave)
    if (log?.isIssuer === true || ended.has(enclave)) continue
    const own = heads.filter((head) => head.enclave === enclave)
    if (!own.some((head) => head.size >= size)) {
      find('HEAD_LOST', `${enclave} at ${size} was acknowledged and is not on chain`)
    } else if (!own.some((head) => head.isPaid && head.fees >= fees)) {
      find('HEAD_LOST', `the fees of ${enclave} at ${size} were acknowledged and have not moved`)
    }
  }
  const earned = new Map<Hex, bigint>()
  const paid = new Set<string>()
  for (const { enclave, size, root, fees, isPaid } of heads) {
    const log = logs.find((known) => known.enclave === enclave)
    if (log?.isIssuer !== false) find('ISSUER_SETTLED', `${enclave} is no gateway and settled at ${size}`)
    else if (!ended.has(enclave) && rootOver(log.leaves.slice(0, Number(size)), LOG_TAGS.node) !== root) {
      find('WRONG_LOG_ROOT', `${enclave} settled at ${size} with a root over other leaves`)
    }
    // An older head is stored again for its proofs' sake and moves nothing.
    if (!isPaid || size < (earned.get(enclave) ?? 0n)) continue
    earned.set(enclave, size)
    if (paid.has(`${enclave} ${size}`)) find('SETTLED_TWICE', `${enclave} at ${size} moved ${fees} twice`)
    paid.add(`${enclave} ${size}`)
  }
}

function auditClearings({ clearings }: Observation, chain: ChainSays, find: Find): void {
  for (const { keyset, issued, captured, enclaves } of clearings) {
    const settled = chain.clearings.filter((clearing) => clearing.keyset === keyset)
    const lines = settled.flatMap((clearing) => clearing.enclaves)
    const isSaid =
      settled.some((clearing) => clearing.issued >= issued) &&
      settled.some((clearing) => clearing.captured >= captured) &&
      enclaves.every((line) =>
        lines.some((other) => lower(other.enclave) === line.enclave && other.captured >= line.captured),
      )
    if (!isSaid) find('CLEARING_LOST', `a clearing of ${keyset} over ${captured} was acknowledged and is not on chain`)
  }
}

function auditEvidence({ contradictions, accounts }: Observation, { reports }: ChainSays, find: Find): void {
  for (const enclave of new Set(contradictions)) {
    if (!reports.some((report) => report.enclave === enclave)) {
      find('EVIDENCE_UNREPORTED', `${enclave} contradicted itself, and the chain does not know`)
    }
  }
  const ours = reports.map(({ by }) => by).filter(({ from }) => accounts.includes(from))
  for (const input of new Set(ours.map((transaction) => transaction.input))) {
    const count = ours.filter((transaction) => transaction.input === input).length
    if (count > 1) find('EVIDENCE_REPEATED', `the same evidence was reported ${count} times`)
  }
}

function auditProofs({ proofs, acknowledged }: Observation, { heads, roots, reports }: ChainSays, find: Find): void {
  const ended = new Set(reports.map(({ enclave }) => enclave))
  const missing = new Map<Hex, number[]>()
  for (const { enclave, index, leaf, settled } of proofs) {
    const isDue = !ended.has(enclave) && acknowledged.some((head) => head.enclave === enclave && head.size > index)
    if (settled === undefined) {
      if (isDue) missing.set(enclave, [...(missing.get(enclave) ?? []), index])
      continue
    }
    const { size, logPath, batch, batchIndex, batchSize, batchPath } = settled
    const root = climb(leaf, BigInt(index), size, logPath, LOG_TAGS.node)
    const head = heads.find((own) => own.enclave === enclave && own.size === size && own.root === root)
    const top = head && climb(batchLeaf(head), batchIndex, batchSize, batchPath, BATCH_TAGS.node)
    if (top === undefined || top !== roots.get(batch)) {
      find('PROOF_WRONG', `the proof of leaf ${index} of ${enclave} does not lead to batch ${batch}`)
    }
  }
  for (const [enclave, indices] of missing) {
    find(
      'PROOF_MISSING',
      `${indices.length} leaves of ${enclave} settled and are not proven, the first at ${indices[0]}`,
    )
  }
}

// What it cost

function auditGas(
  { blocks, accounts, acknowledged, clearings, contradictions, faults }: Observation,
  find: Find,
): void {
  const ours = blocks.flatMap(({ transactions }) => transactions).filter(({ from }) => accounts.includes(from))
  const spent = ours.reduce((sum, { gasUsed }) => sum + gasUsed, 0n)
  const distinct = new Set(acknowledged.map(({ enclave, size }) => `${enclave} ${size}`)).size
  const lines = clearings.reduce((sum, { enclaves }) => sum + enclaves.length, 0)
  const perfect =
    BigInt(distinct) * PERFECT_GAS.head +
    BigInt(clearings.length) * PERFECT_GAS.clearing +
    BigInt(lines) * PERFECT_GAS.line +
    BigInt(contradictions.length) * PERFECT_GAS.report
  const allowed = perfect * BigInt(1 + faults)
  if (spent > allowed) find('GAS_WASTED', `${spent} gas were spent, of at most ${allowed}`)
  if (faults > 0) return
  for (const { hash, logs } of ours) {
    const names = logs.map(({ topics, data }) => {
      return decodeEventLog({ abi: receiptSettlementAbi, topics: [...topics] as [Hex, ...Hex[]], data }).eventName
    })
    const hasEffect = names.some((name) => name === 'HeadSettled' || name === 'ClearingSettled')
    if (!hasEffect && !names.includes('EquivocationProven')) find('GAS_WASTED', `${hash} changed nothing`)
  }
}

/** Whatever the chain is like when it is included, a settlement skips what it cannot settle and has the gas for the rest: none fails. */
function auditOutcomes({ blocks, orphans, accounts }: Observation, find: Find): void {
  for (const { hash, from, input, isSuccess } of [...blocks, ...orphans].flatMap(({ transactions }) => transactions)) {
    if (isSuccess || input === '0x' || !accounts.includes(from)) continue
    const { functionName } = decodeFunctionData({ abi: receiptSettlementAbi, data: input })
    if (functionName === 'settle') find('SETTLE_FAILED', `${hash} failed`)
  }
}

// What was sent

/** A transaction at the moment when it first left any process. */
type Sent = {
  readonly at: number
  readonly account: Hex
  readonly nonce: number
  readonly input: Hex
  readonly maxFeePerGas: bigint
  readonly maxPriorityFeePerGas: bigint
}

async function readSent({ broadcasts, accounts }: Observation, find: Find): Promise<Sent[]> {
  const sent: Sent[] = []
  const known = new Set<Hex>()
  for (const { at, raw } of broadcasts) {
    if (known.has(raw)) continue
    known.add(raw)
    const serializedTransaction = raw as TransactionSerialized
    const account = lower(await recoverTransactionAddress({ serializedTransaction }))
    if (!accounts.includes(account)) find('NOT_SIGNED', `${raw.slice(0, 40)} is not signed by a sending account`)
    const { nonce = 0, data = '0x', maxFeePerGas = 0n, maxPriorityFeePerGas = 0n } = parseTransaction(raw)
    sent.push({ at, account, nonce, input: data, maxFeePerGas, maxPriorityFeePerGas })
  }
  return sent
}

function auditSending(seen: Observation, sent: readonly Sent[], find: Find): void {
  for (const later of sent) {
    const same = sent.filter(({ account, nonce }) => account === later.account && nonce === later.nonce)
    const earlier = same[same.indexOf(later) - 1]
    if (earlier === undefined) continue
    const name = `nonce ${later.nonce} of ${later.account}`
    // What comes after something that was given up is no replacement of it; nodes that still have that ask for higher fees themselves.
    if (mayBeGivenUp(seen, earlier, later.at)) continue
    if (earlier.input !== later.input) {
      find('NONCE_REUSED', `${name} was sent for something else while the first could still be included`)
    }
    const isRaised =
      later.maxFeePerGas * 10n >= earlier.maxFeePerGas * 11n &&
      later.maxPriorityFeePerGas * 10n >= earlier.maxPriorityFeePerGas * 11n
    if (!isRaised) find('FEE_NOT_RAISED', `${name} was sent again with less than a tenth more`)
    const isSuggested = seen.suggestions.some(
      ({ at, maxFeePerGas }) => at >= earlier.at && at <= later.at && later.maxFeePerGas <= 5n * maxFeePerGas,
    )
    if (!isSuggested) find('FEE_TOO_HIGH', `${name} was sent for ${later.maxFeePerGas}, above 5 times any suggestion`)
  }
  const carriers = new Map<string, Sent>()
  for (const transaction of sent) {
    for (const content of contentsOf(transaction.input)) {
      const earlier = carriers.get(content)
      carriers.set(content, transaction)
      if (earlier === undefined || (earlier.account === transaction.account && earlier.nonce === transaction.nonce))
        continue
      if (mayBeGivenUp(seen, earlier, transaction.at)) continue
      find('SENT_TWICE', `${content} was sent under a second nonce while the first could still be included`)
    }
  }
}

/** What a call brings on chain. */
function contentsOf(data: Hex): string[] {
  if (data === '0x') return []
  const { functionName, args } = decodeFunctionData({ abi: receiptSettlementAbi, data })
  if (functionName !== 'settle') return [data]
  const [heads, clearings] = args
  const named = heads.map(({ enclave, size, root }) => `the head ${enclave} ${size} ${root}`)
  return [...named, ...clearings.map(({ r, vs }) => `the clearing ${r} ${vs}`)]
}

/**
 * Whether by then the chain gave a reason to give up what was sent: some block had used its nonce, or a reorganisation took back what had used a lower one,
 * so that ours might wait for ever.
 */
function mayBeGivenUp({ blocks, orphans }: Observation, { account, nonce }: Sent, at: number): boolean {
  const uses = (seen: readonly SeenBlock[], isReason: (used: number) => boolean) =>
    seen.some(
      (block) => block.at <= at && block.transactions.some((own) => own.from === account && isReason(own.nonce)),
    )
  return uses(blocks, (used) => used === nonce) || uses(orphans, (used) => used <= nonce)
}

// Trees

/** The tree of RFC 9162 section 2.1: n > 1 leaves split at the largest power of two below n. */
function rootOver(leaves: readonly Hex[], tag: number): Hex {
  const [first] = leaves
  if (first === undefined) return '0x'
  if (leaves.length === 1) return first
  const split = Number(splitOf(BigInt(leaves.length)))
  return nodeOf(tag, rootOver(leaves.slice(0, split), tag), rootOver(leaves.slice(split), tag))
}

/** Where `path`, lowest sibling first, leads from a leaf; `undefined` when it has the wrong length. */
function climb(leaf: Hex, index: bigint, size: bigint, path: readonly Hex[], tag: number): Hex | undefined {
  if (index >= size) return undefined
  if (size === 1n) return path.length === 0 ? leaf : undefined
  const sibling = path.at(-1)
  if (sibling === undefined) return undefined
  const split = splitOf(size)
  const rest = path.slice(0, -1)
  if (index < split) {
    const left = climb(leaf, index, split, rest, tag)
    return left && nodeOf(tag, left, sibling)
  }
  const right = climb(leaf, index - split, size - split, rest, tag)
  return right && nodeOf(tag, sibling, right)
}

function splitOf(count: bigint): bigint {
  let power = 1n
  while (power * 2n < count) power *= 2n
  return power
}

/** Nodes hashed before: the trees of one log at many sizes share most of theirs. */
const nodes = new Map<string, Hex>()
const NODES_MAX = 100_000

function nodeOf(tag: number, left: Hex, right: Hex): Hex {
  const key = `${tag}${left}${right}`
  const node = nodes.get(key) ?? keccak256(concat([toHex(tag, { size: 1 }), left, right]))
  if (nodes.size >= NODES_MAX) nodes.clear()
  nodes.set(key, node)
  return node
}

function batchLeaf({ enclave, size, root }: Pick<SettledHead, 'enclave' | 'size' | 'root'>): Hex {
  return keccak256(concat([toHex(BATCH_TAGS.leaf, { size: 1 }), enclave, toHex(size, { size: 8 }), root]))
}

function lower(address: Hex): Hex {
  return address.toLowerCase() as Hex
}

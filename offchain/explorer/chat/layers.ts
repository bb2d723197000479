/**
 * What each layer could see of one exchange, filled from what passed: the bytes that were recorded, the receipt that the enclave signed, the wallet's own
 * payment, the chain's events. What this page cannot see itself is said to be so. @module
 */
import { decodeUtf8, encodeUtf8, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS } from '#protocol/credits/amounts.ts'
import { hashEncapsulated } from '#protocol/sealing/encapsulatedHash.ts'
import { count, opg } from '../format.ts'
import { type ChatExchange, requestOf } from './exchange.ts'
import type { Recorded } from './recorder.ts'
import { occursIn, readClearHeader } from './sealedBytes.ts'

/** How this page knows it. */
export const KNOWN_FROM = {
  browser: 'this browser',
  bytes: 'the bytes that passed',
  receipt: 'the receipt, signed by the enclave',
  registry: 'registry and evidence, verified here',
  wallet: 'your wallet, in this browser',
  chain: 'the chain’s events',
  rule: 'the protocol: it cannot be seen from here',
} as const

export type Entry = {
  /** Stable, for tests. */
  readonly id: string
  readonly name: string
  /** Each a line. */
  readonly lines: readonly string[]
  /** What makes them easier to read. */
  readonly note?: string
  /** `code`: bytes and identifiers. `words`: what a person wrote or reads. */
  readonly form: 'plain' | 'code' | 'words'
  readonly from: keyof typeof KNOWN_FROM
  /** A page of the explorer that says more. */
  readonly link?: string
}

export type LayerName = 'you' | 'relay' | 'gateway' | 'issuer' | 'chain'
export type Layer = {
  readonly name: LayerName
  readonly title: string
  readonly entries: readonly Entry[]
  /** What it never sees. */
  readonly never: string
}

/** Bytes of a ciphertext that are shown. */
const SHOWN_BYTES = 32
/** Shorter texts occur in random bytes by chance. */
const SEARCHED_BYTES_MIN = 8

/** The five layers, in the order of the request's way. `origin`: where this page is from, as browsers tell everybody they ask. */
export function layersOf(exchange: ChatExchange, origin: string): readonly Layer[] {
  const request = requestOf(exchange)
  return [
    {
      name: 'you',
      title: 'You',
      entries: entriesOfYou(exchange),
      never: 'Everything is here, and nowhere else all of it.',
    },
    {
      name: 'relay',
      title: 'Relay',
      entries: request === undefined ? [] : entriesOfRelay(exchange, request, origin),
      never: 'Never: prompt, answer, what it costs, the credits. That it is paid for may be guessed from its size.',
    },
    {
      name: 'gateway',
      title: 'Gateway’s enclave',
      entries: entriesOfGateway(exchange, request),
      never: 'Never: your address, your account, who bought the credits.',
    },
    {
      name: 'issuer',
      title: 'Issuer of credits',
      entries: entriesOfIssuer(exchange),
      never: 'Never: your address, prompt, answer, which purchase the credits are from.',
    },
    { name: 'chain', title: 'Chain', entries: entriesOfChain(exchange), never: 'Never: anything of a single request.' },
  ]
}

function entry(
  id: string,
  name: string,
  value: string | readonly string[],
  from: Entry['from'],
  more: Partial<Pick<Entry, 'form' | 'link' | 'note'>> = {},
): Entry {
  return { id, name, lines: typeof value === 'string' ? [value] : value, form: 'plain', from, ...more }
}

function entriesOfYou({ prompt, answer, receipt, payment }: ChatExchange): Entry[] {
  const entries = [entry('prompt', 'Prompt', prompt, 'browser', { form: 'words' })]
  if (answer !== '') entries.push(entry('answer', 'Answer', answer, 'browser', { form: 'words' }))
  if (receipt === undefined) return entries
  const { promptTokens, completionTokens, fee } = receipt.file.private
  const tokens = `${count(promptTokens)} + ${count(completionTokens)} tokens`
  return [
    ...entries,
    entry('usage', 'Usage and fee', [tokens, `${opg(fee)}${payment === undefined ? ', not charged' : ''}`], 'receipt'),
    entry('salts', 'What opens the receipt', 'five salts, derived from this exchange’s key', 'browser'),
  ]
}

function entriesOfRelay(exchange: ChatExchange, request: Recorded, origin: string): Entry[] {
  const header = readClearHeader(request.request)
  const entries = [
    entry(
      'address',
      'Who asks',
      ['your network address', `as browsers tell everybody: ${origin} and which browser it is`],
      'rule',
    ),
    entry('to', 'Whom', `${request.url.host}${request.url.pathname}`, 'bytes', { form: 'code' }),
    entry('sealed-in', `Sealed request, ${count(request.request.length)} bytes`, startOf(request.request), 'bytes', {
      form: 'code',
    }),
  ]
  if (header !== undefined) {
    const { keyId, kem, aead, classBytes, smallerClassBytes } = header
    entries.push(
      entry('header', 'In the clear', `key ${keyId}, ${kem}, ${aead}: the same for everybody`, 'bytes'),
      entry(
        'class',
        'Size class',
        `padded to ${count(classBytes)} bytes: any request of ${count(smallerClassBytes + 1)} to ${count(classBytes)} looks like this`,
        'bytes',
      ),
    )
  }
  if (request.responseBytes > 0) {
    const name = `Sealed answer, ${count(request.responseBytes)} bytes${request.endedMs === undefined ? ' so far' : ''}`
    entries.push(entry('sealed-out', name, startOf(request.response()), 'bytes', { form: 'code' }))
  }
  const times = timingOf(request)
  if (times !== undefined) entries.push(entry('timing', 'Timing', times, 'bytes'))
  const others = othersOf(exchange, request)
  if (others.length > 0) entries.push(entry('others', 'Also asked for', others, 'bytes', { form: 'code' }))
  if (exchange.isDone) entries.push(...searched(exchange, request))
  return entries
}

function timingOf({ sentMs, firstByteMs, endedMs }: Recorded): string | undefined {
  if (firstByteMs === undefined) return undefined
  const first = `first bytes after ${count(Math.round(firstByteMs - sentMs))} ms`
  return endedMs === undefined ? first : `${first}, the end after ${count(Math.round(endedMs - sentMs))} ms`
}

/** What else this exchange asked of the relay, alike ones counted. */
function othersOf({ recorded }: ChatExchange, request: Recorded): string[] {
  const counts = new Map<string, number>()
  for (const other of recorded) {
    if (other === request) continue
    const sealed = other.method === 'GET' ? '' : `, ${count(other.request.length)} sealed bytes`
    const line = `${other.method} ${other.url.pathname}${sealed}`
    counts.set(line, (counts.get(line) ?? 0) + 1)
  }
  return [...counts].map(([line, times]) => (times === 1 ? line : `${line}, ${times} times`))
}

/** Looks for prompt and answer in all that passed through the relay: as they would stand in JSON. */
function searched({ prompt, answer, recorded }: ChatExchange, request: Recorded): Entry[] {
  const total = recorded.reduce((sum, each) => sum + each.request.length + each.responseBytes, 0)
  const found = [
    ['prompt', prompt],
    ['answer', answer],
  ].flatMap(([name = '', text = '']) => {
    const needle = encodeUtf8(JSON.stringify(text).slice(1, -1))
    if (needle.length < SEARCHED_BYTES_MIN) return []
    const places = [request, ...recorded.filter((each) => each !== request)]
    const isThere = places.some((each) => occursIn(needle, each.request) || occursIn(needle, each.response()))
    return [`your ${name}: ${isThere ? 'FOUND IN THE CLEAR' : 'not found'}`]
  })
  return found.length === 0
    ? []
    : [entry('search', `Searched in all ${count(total)} bytes that passed`, found, 'bytes')]
}

function entriesOfGateway({ gateway, receipt, payment, isDone }: ChatExchange, request: Recorded | undefined): Entry[] {
  if (gateway === undefined) return []
  const kind = gateway.isDevelopment ? 'development: no hardware stands behind it' : 'AWS Nitro, by its evidence'
  const entries = [
    entry('enclave', 'Enclave', gateway.enclave, 'registry', { form: 'code', link: `/enclave/${gateway.enclave}` }),
    entry('kind', 'Kind', kind, 'registry'),
    entry('asks', 'Who asks', `the relay ${gateway.url.host}: it hands on no address and no header field`, 'rule'),
  ]
  const opened = receipt?.file.openings?.request.data
  if (opened !== undefined)
    entries.push(entry('opened', 'What it opened', textOf(opened), 'receipt', { form: 'words' }))
  if (receipt !== undefined && request !== undefined) {
    entries.push(
      entry('same', 'Of these sealed bytes', toHex(hashEncapsulated(request.request)), 'receipt', {
        form: 'code',
        note: 'keccak-256 of what left here, and signed as what it opened',
      }),
    )
  }
  if (payment !== undefined) {
    const most = `at most ${opg(payment.maximumFee)}`
    entries.push(
      entry('payment', 'Payment', payment.id, 'wallet', {
        form: 'code',
        note: `${most}; the rest is sealed to the issuer`,
      }),
    )
  } else if (receipt !== undefined || isDone) entries.push(entry('payment', 'Payment', 'unpaid', 'wallet'))
  const bytes =
    request === undefined ? 'the same sealed bytes' : `the same ${count(request.request.length)} sealed bytes`
  entries.push(
    entry('host', 'The host around it', `${bytes}; afterwards a leaf of 32 bytes, and totals now and then`, 'rule'),
  )
  return entries
}

function entriesOfIssuer({ payment, receipt, isDone }: ChatExchange): Entry[] {
  if (payment === undefined) {
    const isUnpaid = receipt !== undefined || isDone
    return isUnpaid ? [entry('nothing', 'Nothing', 'this request was not paid for', 'wallet')] : []
  }
  const { credits } = payment
  const [first] = credits
  const entries = [
    entry('issuer-payment', 'Payment', payment.id, 'wallet', { form: 'code' }),
    entry('for', 'For the gateway', payment.enclave, 'wallet', {
      form: 'code',
      note: `at most ${opg(payment.maximumFee)}`,
    }),
    entry(
      'credits',
      credits.length === 1 ? 'One credit is spent' : `${credits.length} credits are spent`,
      credits.map(({ id, units }) => `${opg(units)}  ${id}`),
      'wallet',
      { form: 'code' },
    ),
  ]
  if (first !== undefined) {
    entries.push(
      entry('blinded', 'What it had signed', toHex(first.blinded), 'wallet', {
        form: 'code',
        note: 'the first of them, blinded: what turns the one into the other never left this browser, and any credit of its worth fits as well',
      }),
    )
  }
  entries.push(entry('blanks', 'Blanks for the change', `${BLANK_SLOTS}, always as many`, 'wallet'))
  if (receipt !== undefined) {
    entries.push(entry('captured', 'Fee that it captures', opg(receipt.file.private.fee), 'receipt'))
  }
  return entries
}

function entriesOfChain({ receipt, settled }: ChatExchange): Entry[] {
  if (receipt === undefined) return []
  const leaf = entry('leaf', 'Leaf, for the aggregator', receipt.leaf, 'receipt', {
    form: 'code',
    note: 'a hash. This page asks the aggregator for its proof, which so sees it with your address; the chain gets a root over all of them',
  })
  if (settled === undefined) return [leaf, entry('waiting', 'On chain', 'nothing yet: waiting for a batch', 'chain')]
  const { proof, batch } = settled
  const head = batch?.heads.find(({ enclave, size }) => enclave === proof.enclave && size === proof.size)
  return [
    leaf,
    entry('head', 'Enclave and root of its log', [proof.enclave, ...(head === undefined ? [] : [head.root])], 'chain', {
      form: 'code',
      note: `over ${count(proof.size)} ${proof.size === 1n ? 'receipt' : 'receipts'}`,
    }),
    ...(head === undefined || head.fees === 0n
      ? []
      : [entry('fees', 'Earned by it so far', `${opg(head.fees)}, all requests together`, 'chain')]),
    entry('batch', 'Settled in', `batch ${proof.batch}, block ${count(proof.block)}`, 'chain', {
      link: `/batch/${proof.batch}`,
    }),
    entry('transaction', 'Transaction', proof.transaction, 'chain', { form: 'code' }),
  ]
}

function startOf(bytes: Uint8Array): string {
  const start = toHex(bytes.subarray(0, SHOWN_BYTES)).slice(2)
  return bytes.length > SHOWN_BYTES ? `${start} …` : start
}

function textOf(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes)
  } catch {
    return toHex(bytes)
  }
}

/**
 * Payments by gateways: reserve, renew, capture, and the capture for nothing of what a gateway forgot.
 *
 * Everything that can be wrong with a payment is found before its credits are burnt. Blanks are signed before the capture is logged, so
 * that the log names what was signed; the signatures leave only after the log is witnessed.
 * @module
 */
import { strict as assert } from 'node:assert'
import type { CheckedBlank } from '#node/credits/fastSigner.ts'
import { isSigner } from '#node/signatures.ts'
import { type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { isRoundedFee, splitChange, totalUnits } from '#protocol/credits/amounts.ts'
import type { Change } from '#protocol/credits/change.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { keysetPhase } from '#protocol/credits/keyset.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import type { Payment, SpentCredit } from '#protocol/credits/payment.ts'
import { type OpenedPayment, openPayment } from '#protocol/credits/sealedPayment.ts'
import type { CompactSignature } from '#protocol/receipt/head.ts'
import { OhttpError } from '#protocol/sealing/ohttpError.ts'
import {
  type CaptureAnswer,
  type CaptureRequest,
  hashCapture,
  hashRenew,
  hashReserve,
  paymentLocator,
  type RenewAnswer,
  type RenewRequest,
  type ReserveAnswer,
  type ReserveRequest,
} from '#protocol/wire/issuerApi.ts'
import { blanksNeeded } from './blanksNeeded.ts'
import { type ChangeEntry, hashBlanks, hashChange, type ReserveEntry } from './entry.ts'
import { IssuerError } from './issuerError.ts'
import { issuerKeccak } from './issuerKeccak.ts'
import type { PaymentState } from './ledger.ts'
import { blankToSign, type OpenBlanks } from './paymentMemory.ts'
import { type IssuerKeyset, type IssuerPorts, keysetOf, requireActive, requireWriter } from './ports.ts'
import type { SpentCredit as StoredSpentCredit } from './store.ts'
import type { Writer } from './writer.ts'

/** Spends the credits of a sealed payment; a repeat of an open payment answers the same. Throws `IssuerError`. */
export async function reserve(ports: IssuerPorts, request: ReserveRequest): Promise<ReserveAnswer> {
  const { gateway, sealedPayment, signature } = request
  const digest = hashReserve({ gateway, payment: toHex(issuerKeccak(sealedPayment)) }, ports.domain)
  requireSigner(digest, signature, gateway)
  // Only the writer says of a payment that it cannot be opened: to a gateway that is the last word.
  requireActive(ports)
  if (!(await ports.chain.isActiveGateway(gateway))) {
    throw new IssuerError('UNKNOWN_GATEWAY', 'the registry has no such active gateway')
  }
  const { id, payment, sealChange } = await open(ports, sealedPayment)
  if (payment.enclave !== gateway) throw new IssuerError('BAD_PAYMENT', 'the payment is for another gateway')
  const keyset = keysetOf(ports, payment.keyset)
  const writer = requireWriter(ports, keyset.id)
  const operation = reserveOperation(ports, id, payment)
  const isNew = writer.ledger(keyset.id).decideReserve(operation).kind === 'append'
  const messages = isNew ? payment.credits.map((credit) => messageOf(ports, keyset, credit)) : []
  const checked = isNew ? await checkPayment(ports, keyset, payment, messages) : []
  if (isNew) requireWriter(ports, keyset.id)
  const credits = messages.map((message, i) => spentCredit(payment, i, message))
  await writer.submit(
    keyset.id,
    (ledger) => {
      const decision = ledger.decideReserve(operation)
      assert(isNew || decision.kind !== 'append', 'a payment that was reserved or refused stays so')
      return decision
    },
    {
      detail: {
        kind: 'reserve',
        keyset: keyset.id,
        payment: id,
        locator: paymentLocator(payment.blanks[0] ?? new Uint8Array()),
        blanks: joinBytes(payment.blanks),
        credits,
      },
      onAppend: () => ports.memory.noteBlanks(id, payment.blanks, checked),
    },
  )
  ports.memory.noteSealer(id, sealChange)
  const expiresAt = writer.ledger(keyset.id).payment(id)?.expiresAt ?? operation.expiresAt
  return { payment: id, maximumFee: payment.maximumFee, expiresAt }
}

/** Keeps a payment open for another while, up to a bound. Throws `IssuerError`. */
export async function renew(ports: IssuerPorts, { payment, signature }: RenewRequest): Promise<RenewAnswer> {
  const { keyset, state } = find(ports, payment)
  requireSigner(hashRenew({ payment }, ports.domain), signature, state.gateway)
  const writer = requireWriter(ports, keyset.id)
  const until = BigInt(Math.floor(ports.now()) + ports.policy.seconds)
  await writer.submit(keyset.id, (ledger) => ledger.decideRenew(payment, until))
  return { expiresAt: writer.ledger(keyset.id).payment(payment)?.expiresAt ?? until }
}

/** Takes the fee and gives the rest back into the blanks; a repeat answers the same. Throws `IssuerError`. */
export async function capture(ports: IssuerPorts, request: CaptureRequest): Promise<CaptureAnswer> {
  const { payment, fee, signature } = request
  const { keyset, state } = find(ports, payment)
  requireSigner(hashCapture({ payment, fee }, ports.domain), signature, state.gateway)
  if (!isRoundedFee(fee)) throw new IssuerError('BAD_REQUEST', 'expected a fee of at most five significant bits')
  const writer = requireWriter(ports, keyset.id)
  await captureFor(ports, writer, keyset, payment, fee)
  const change = ports.memory.change(payment)
  const seal = ports.memory.sealer(payment)
  if (change === undefined || seal === undefined) return { fee }
  return { fee, sealedChange: await seal(change, ports.random) }
}

const EXPIRED_AT_ONCE = 256

/** Captures for nothing what expired, so that its change can be restored. Answers how many; what fails is tried at the next call. */
export async function captureExpired(ports: IssuerPorts): Promise<number> {
  const active = ports.active()
  if ('inactiveBecause' in active) return 0
  let count = 0
  for (const keyset of ports.keysets.values()) {
    const standing = active.standings.get(keyset.id)
    // What expired while nobody wrote gets as long as a fresh payment: its gateway may have been trying all along.
    if (standing?.isOpen !== true || standing.openSeconds < ports.policy.seconds) continue
    const ledger = active.writer.ledger(keyset.id)
    const now = BigInt(Math.floor(ports.now()))
    const expired = [...ledger.openPayments].filter((id) => (ledger.payment(id)?.expiresAt ?? now) < now)
    const group = expired.slice(0, EXPIRED_AT_ONCE)
    const results = await Promise.allSettled(
      group.map((payment) => captureFor(ports, active.writer, keyset, payment, 0n)),
    )
    for (const result of results) {
      // Its gateway captured it meanwhile, or the witnesses are away. Everything else is a fault of ours.
      if (result.status === 'rejected' && !(result.reason instanceof IssuerError)) throw result.reason
      if (result.status === 'fulfilled') count++
    }
  }
  return count
}

async function captureFor(
  ports: IssuerPorts,
  writer: Writer,
  keyset: IssuerKeyset,
  payment: Hex,
  fee: bigint,
): Promise<void> {
  const ledger = writer.ledger(keyset.id)
  const state = ledger.payment(payment)
  const blanks = ports.memory.blanks(payment)
  const isDue = state?.state === 'open' && ledger.decideCapture({ payment, fee, change: payment }).kind === 'append'
  if (isDue) assert(blanks !== undefined, 'the blanks of an open payment are remembered')
  const change = isDue ? await signChange(keyset, blanks ?? { blanks: [] }, splitChange(state.inputs, fee)) : []
  if (isDue) requireWriter(ports, keyset.id)
  const operation = { payment, fee, change: hashChange(change) }
  await writer.submit(
    keyset.id,
    (current) => {
      const decision = current.decideCapture(operation)
      assert(isDue || decision.kind !== 'append', 'a payment that was captured or refused stays so')
      return decision
    },
    {
      detail: { kind: 'capture', payment, change },
      onAppend: () => ports.memory.noteCaptured(payment, openChange(fee, change), ports.now()),
    },
  )
}

async function signChange(
  { signer }: IssuerKeyset,
  open: OpenBlanks,
  exponents: readonly number[],
): Promise<ChangeEntry[]> {
  const signatures = await signer.signBlanks(exponents.map((exponent, i) => blankToSign(open, i, exponent)))
  return exponents.map((exponent, i) => ({
    blank: toHex(issuerKeccak(open.blanks[i] ?? new Uint8Array())),
    exponent,
    signature: signatures[i] ?? new Uint8Array(),
  }))
}

function openChange(fee: bigint, change: readonly ChangeEntry[]): Change {
  return { fee, signatures: change.map(({ exponent, signature }) => ({ exponent, blindSignature: signature })) }
}

async function open(ports: IssuerPorts, sealed: Uint8Array): Promise<OpenedPayment> {
  try {
    return await openPayment(ports.suites, ports.keys, sealed, issuerKeccak)
  } catch (cause) {
    if (!(cause instanceof OhttpError) && !(cause instanceof CreditError)) throw cause
    throw new IssuerError('BAD_PAYMENT', 'the payment cannot be opened, or is none', { cause })
  }
}

function reserveOperation(ports: IssuerPorts, id: Hex, payment: Payment): Omit<ReserveEntry, 'type' | 'keyset'> {
  const now = Math.floor(ports.now())
  return {
    payment: id,
    gateway: payment.enclave,
    maximumFee: payment.maximumFee,
    expiresAt: BigInt(now + ports.policy.seconds),
    latestExpiry: BigInt(now + ports.policy.renewedSecondsMax),
    blanks: hashBlanks(payment.blanks),
    inputs: payment.credits.map(({ exponent, secret }) => ({ exponent, spent: toHex(issuerKeccak(secret)) })),
  }
}

/** Answers the blanks that its change can take, decoded. `messages` are those of its credits. */
async function checkPayment(
  ports: IssuerPorts,
  keyset: IssuerKeyset,
  payment: Payment,
  messages: readonly Uint8Array[],
): Promise<CheckedBlank[]> {
  const phase = keysetPhase(keyset.terms, ports.now())
  if (phase !== 'sign' && phase !== 'spend') {
    throw new IssuerError('WRONG_PHASE', 'credits of this keyset can only be exited now')
  }
  if (messages.some((message) => ports.isExiting(toHex(message)))) {
    throw new IssuerError('SPENT', 'a credit of this payment is being exited')
  }
  const total = totalUnits(payment.credits.map(({ exponent }) => exponent))
  const { credits, blanks } = await keyset.signer.checkPayment({
    credits: payment.credits.map(({ exponent, signature }, i) => ({
      exponent,
      signature,
      message: messages[i] ?? new Uint8Array(),
    })),
    blanks: payment.blanks.slice(0, blanksNeeded(total, payment.maximumFee)),
  })
  if (!credits.every(Boolean)) throw new IssuerError('BAD_CREDIT', 'a credit of this payment does not verify')
  return blanks.map((blank) => {
    if (blank === undefined) throw new IssuerError('BAD_PAYMENT', 'a blank of this payment cannot be signed')
    return blank
  })
}

function messageOf(ports: IssuerPorts, keyset: IssuerKeyset, { exitKey, secret }: SpentCredit): Uint8Array {
  return creditMessage({ ...ports.domain, keyset: keyset.id }, exitKey, secret, issuerKeccak)
}

/** What shows that credit `i` of the payment was spent. */
function spentCredit({ credits }: Payment, i: number, message: Uint8Array): StoredSpentCredit {
  const credit = credits[i]
  assert(credit !== undefined, 'every message is of a credit')
  return { credit: toHex(message), exitKey: credit.exitKey, secret: credit.secret }
}

/** The payment, in whichever keyset it is. Throws `IssuerError`: `EXIT_ONLY`, `UNAVAILABLE`, `UNKNOWN_PAYMENT`. */
function find(ports: IssuerPorts, payment: Hex): { keyset: IssuerKeyset; state: PaymentState } {
  const { writer } = requireActive(ports)
  for (const keyset of ports.keysets.values()) {
    const state = writer.ledger(keyset.id).payment(payment)
    if (state !== undefined) return { keyset, state }
  }
  throw new IssuerError('UNKNOWN_PAYMENT', 'no such payment was reserved here')
}

function requireSigner(digest: Hex, signature: CompactSignature, expected: Hex): void {
  if (isSigner(digest, signature, expected)) return
  throw new IssuerError('BAD_SIGNATURE', "expected the gateway's signature")
}

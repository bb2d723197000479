/**
 * One request, at as many gateways as it takes within a bound: another one is tried as long as nothing of an answer has reached the caller, and the
 * fault may be the gateway's or the way to it. Each attempt is sealed anew, and paid for anew. @module
 */
import { decodeUtf8 } from '#protocol/bytes.ts'
import { isPaidPath, type PaidPath } from '#protocol/requestCost.ts'
import type { InnerRequest } from '#protocol/sealing/binaryHttp.ts'
import { PAYMENT_FIELD } from '#protocol/wire/paymentField.ts'
import { unlessAborted } from './abort.ts'
import { SealpathError } from './errors.ts'
import type { TrustedGateway } from './gateway.ts'
import { type Choice, type GatewayPool, TermsError, type Wish } from './gatewayPool.ts'
import type { FailoverReason, Step } from './options.ts'
import type { ExchangeAccess } from './receiptCheck.ts'
import { exchange, type SealedAnswer } from './sealedFetch.ts'
import type { Payer, PaymentInFlight } from './wallet/payer.ts'

export type Sender = {
  readonly pool: GatewayPool
  readonly access: ExchangeAccess
  /** Undefined for a client that pays nothing. */
  readonly payer: Payer | undefined
  /** How many gateways a request is tried at. */
  readonly attemptsMax: number
  readonly onStep: (step: Step) => void
  /** Told of each gateway before anything is sealed to it. */
  readonly onGateway: (gateway: TrustedGateway) => void
}

/** What one attempt came to when it came to nothing: an error, or an answer that says that the gateway cannot. */
type Failure = {
  readonly gateway: TrustedGateway
  readonly reason: FailoverReason | 'PAYMENT_NOT_OPENED'
  readonly error?: unknown
  readonly answer?: SealedAnswer
}

/**
 * Answers with the first answer that is not the gateway's own failure; when all attempts fail, with the last failure. Throws `SealpathError`,
 * `WalletError`, and the reason of `signal` as soon as it aborts.
 */
export async function sendRequest(
  sender: Sender,
  inner: InnerRequest,
  signal: AbortSignal | undefined,
): Promise<SealedAnswer> {
  const { pool, attemptsMax } = sender
  const request = readRequest(sender, inner)
  const failed: TrustedGateway[] = []
  const mended = new Set<Failure['reason']>()
  let last: Failure | undefined
  do {
    const result = await tryNext(sender, request, failed, last, signal)
    if (result === undefined) break
    if (!isFailure(result)) return result
    last = result
    if (!mended.has(last.reason) && (await mend(sender, last, signal))) mended.add(last.reason)
    else if (last.reason === 'PAYMENT_NOT_OPENED') return concluded(last)
    else {
      failed.push(last.gateway)
      pool.demote(last.gateway)
    }
  } while (failed.length < attemptsMax)
  // What is known leads nowhere: the next request looks for others.
  pool.expire()
  if (last === undefined) throw new SealpathError('NO_GATEWAY', 'there is no gateway to try')
  return concluded(last)
}

/** Looks again at what may have changed since it was read: a key that rotated, an enclave that restarted as a new one. False for other failures. */
async function mend({ pool, payer }: Sender, { reason }: Failure, signal: AbortSignal | undefined): Promise<boolean> {
  if (reason === 'REQUEST_NOT_OPENED') await unlessAborted(pool.refresh(), signal)
  else if (reason === 'PAYMENT_NOT_OPENED') payer?.forgetIssuers()
  else return false
  return true
}

/** Chooses, pays and asks once. Undefined when no gateway is left. */
async function tryNext(
  sender: Sender,
  request: Request,
  failed: readonly TrustedGateway[],
  last: Failure | undefined,
  signal: AbortSignal | undefined,
): Promise<SealedAnswer | Failure | undefined> {
  const choice = await nextChoice(sender.pool, request, failed, signal)
  if (choice === undefined || isFailure(choice)) return choice
  let payment: PaymentInFlight | undefined
  try {
    payment = await payFor(sender, choice, request, signal)
  } catch (error) {
    // Of two failures, the first one is why.
    if (last === undefined || signal?.aborted) throw error
    return concluded(last)
  }
  if (last !== undefined && last.reason !== 'PAYMENT_NOT_OPENED' && failed.includes(last.gateway)) {
    const { gateway, reason } = last
    sender.onStep({ kind: 'failed-over', from: gateway.enclave, to: choice.gateway.enclave, reason })
  }
  last?.answer?.response.body?.cancel().catch(() => undefined)
  sender.onGateway(choice.gateway)
  return attempt(sender, choice, request.inner, payment, signal)
}

function concluded({ answer, error }: Failure): SealedAnswer {
  if (answer !== undefined) return answer
  throw error
}

function isFailure(result: object | undefined): result is Failure {
  return result !== undefined && 'reason' in result
}

type Request = Wish & { readonly inner: InnerRequest; readonly paidPath: PaidPath | undefined }

function readRequest({ payer }: Sender, inner: InnerRequest): Request {
  const isPost = inner.method === 'POST'
  const paidPath = isPost && payer !== undefined && isPaidPath(inner.path) ? inner.path : undefined
  return { inner, paidPath, isPaid: paidPath !== undefined, model: isPost ? modelOf(inner.body) : undefined }
}

/** Undefined for a body that names none: the gateway says what is wrong with it. */
function modelOf(body: Uint8Array): string | undefined {
  try {
    const { model } = JSON.parse(decodeUtf8(body)) as { model?: unknown }
    return typeof model === 'string' ? model : undefined
  } catch {
    return undefined
  }
}

async function nextChoice(
  pool: GatewayPool,
  wish: Wish,
  failed: readonly TrustedGateway[],
  signal: AbortSignal | undefined,
): Promise<Choice | Failure | undefined> {
  try {
    return await unlessAborted(pool.choose(wish, failed), signal)
  } catch (error) {
    if (error instanceof TermsError) return failureOf(error.gateway, error.cause, signal)
    throw error
  }
}

/** The payment of a request that costs something, made for this gateway. Throws `WalletError`, `SealpathError`. */
async function payFor(
  { payer, onStep }: Sender,
  { gateway, terms }: Choice,
  { inner, model = '', paidPath: path }: Request,
  signal: AbortSignal | undefined,
): Promise<PaymentInFlight | undefined> {
  if (payer === undefined || path === undefined || terms === undefined) return undefined
  const paying = payer.pay({ gateway, terms, model, path, body: inner.body })
  try {
    const payment = await unlessAborted(paying, signal)
    if (payment !== undefined) onStep({ kind: 'payment-made', payment: payment.id })
    return payment
  } catch (error) {
    // Whoever left while it was made: it is never sent.
    if (signal?.aborted) paying.then((payment) => payment?.abandon()).catch(() => undefined)
    throw error
  }
}

async function attempt(
  { access }: Sender,
  { gateway, terms }: Choice,
  inner: InnerRequest,
  payment: PaymentInFlight | undefined,
  signal: AbortSignal | undefined,
): Promise<SealedAnswer | Failure> {
  const field = payment === undefined ? [] : [[PAYMENT_FIELD, payment.field] as const]
  const paid = { ...inner, headers: [...inner.headers, ...field] }
  let answer: SealedAnswer
  try {
    answer = await exchange(access, gateway, paid, signal, { payment, terms })
  } catch (error) {
    // Nobody could open it, so nobody handed the payment on. After any other failure somebody may have.
    if (isOf(error, 'REQUEST_NOT_OPENED')) await payment?.abandon()
    else payment?.release()
    return failureOf(gateway, error, signal)
  }
  // However the answer ends: read, cut or left.
  if (payment !== undefined) answer.receipt.then(payment.release, payment.release)
  const reason = await refusalOf(answer.response)
  return reason === undefined ? answer : { gateway, reason, answer }
}

/** Statuses by which a gateway says that it cannot now, though another one may. */
const UNAVAILABLE: ReadonlySet<number> = new Set([429, 500, 502, 503, 504])

async function refusalOf(response: Response): Promise<Failure['reason'] | undefined> {
  if (UNAVAILABLE.has(response.status)) return 'UNAVAILABLE'
  if (response.status !== 402 && response.status !== 404) return undefined
  try {
    const { error } = (await response.clone().json()) as { error?: { code?: unknown; reason?: unknown } }
    if (response.status === 404) return error?.code === 'model_not_found' ? 'MODEL_NOT_FOUND' : undefined
    // What the issuer says of a payment that was sealed to a key that it no longer has.
    return error?.code === 'payment_refused' && error.reason === 'BAD_PAYMENT' ? 'PAYMENT_NOT_OPENED' : undefined
  } catch {
    // The caller reads the same, and meets what is wrong with it.
    return undefined
  }
}

/** Throws what another gateway cannot mend: the caller's wish to stop, a request that is too large, a receipt that is wrong. */
function failureOf(gateway: TrustedGateway, error: unknown, signal: AbortSignal | undefined): Failure {
  signal?.throwIfAborted()
  const reason = PASSING.find((code) => isOf(error, code))
  if (reason === undefined || (error instanceof SealpathError && FINAL_STATUS.test(error.reason ?? ''))) throw error
  return { gateway, reason, error }
}

const PASSING = ['RELAY_FAILED', 'REQUEST_NOT_OPENED', 'ANSWER_CUT', 'TIMED_OUT'] as const
/** Any 4xx of a relay, but those that say: not here, or not now. */
const FINAL_STATUS = /^HTTP_4(?!04|08|29)/

function isOf(error: unknown, code: (typeof PASSING)[number]): boolean {
  return error instanceof SealpathError && error.code === code
}

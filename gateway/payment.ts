/**
 * One request's payment: handed to the issuer at once, while the model already runs; nothing of the answer leaves before the credits are
 * reserved; captured for what was used. Spec: docs/spec.md section 9.
 * @module
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '#node/log.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { ReserveAnswer } from '#protocol/wire/issuerApi.ts'
import { WireError } from '#protocol/wire/json.ts'
import { formatSealed, type PaymentNeeded, parseSealed } from '#protocol/wire/paymentField.ts'
import { type IssuerClient, IssuerRefusal } from './issuerClient.ts'

export type PaymentErrorCode =
  /** No payment came with the request. */
  | 'PAYMENT_REQUIRED'
  /** The payment's maximum is below what the request can cost. */
  | 'PAYMENT_TOO_SMALL'
  /** The issuer refused it: spent, not signed, for another gateway, of a keyset that is over. */
  | 'PAYMENT_REFUSED'
  /** The issuer does not answer: nothing was charged. */
  | 'ISSUER_UNAVAILABLE'

/** `message` goes to the client, inside the seal. `reason` is the issuer's code. */
export class PaymentError extends Error {
  override readonly name = 'PaymentError'
  readonly code: PaymentErrorCode
  readonly needed: PaymentNeeded | undefined
  readonly reason: string | undefined
  constructor(
    code: PaymentErrorCode,
    message: string,
    details: { needed?: PaymentNeeded; reason?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: details.cause })
    this.code = code
    this.needed = details.needed
    this.reason = details.reason
  }

  /** 402, or 503 when it is not the client's to mend. */
  get status(): number {
    return this.code === 'ISSUER_UNAVAILABLE' ? 503 : 402
  }
}

export type PaymentSession = {
  /** Resolves with the most that may be charged once the credits are reserved. Rejects with `PaymentError`. */
  readonly reserved: Promise<bigint>
  /**
   * Captures `fee` once the reserve stands, 0 to return everything. Answers the change trailer's value, or undefined when the issuer did not
   * answer in time: then it is asked again behind the answer's back, and the wallet finds its change in the tiles. Never rejects.
   */
  capture(fee: bigint): Promise<string | undefined>
}

export type Payments = {
  /** Hands over a request's payment. `field` is its header field, `atMost` the units it can cost. Throws `PaymentError` without a payment. */
  begin(field: string | undefined, atMost: bigint): PaymentSession
  /** Captures that are still being asked for. */
  readonly pending: number
}

/** Pauses between attempts at a reserve: an issuer that is taken over from, or waits for its chain, comes back within seconds, and the model runs meanwhile. */
const RESERVE_RETRY_MS: readonly number[] = [100, 250, 500, 1_000, 2_000, 4_000]
/** How long the end of an answer waits for its change. */
const CAPTURE_WAIT_MS = 5_000
/** Pauses between attempts. A reserve that nobody captures returns by itself, so asking ends some time. */
const CAPTURE_RETRY_MS = [250, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000, 120_000, 300_000] as const

/** In milliseconds. */
export type PaymentTiming = {
  /** A reserve is renewed at half of what is left of it, within these bounds. */
  readonly renewMin: number
  readonly renewMax: number
  readonly reserveRetry: readonly number[]
}
const TIMING: PaymentTiming = { renewMin: 5_000, renewMax: 100_000, reserveRetry: RESERVE_RETRY_MS }

export function createPayments(issuer: IssuerClient, log: Logger, timing: PaymentTiming = TIMING): Payments {
  let pending = 0
  // A reserve that is repeated answers the same until it is captured: one payment must not pay for two answers.
  const open = new Set<Hex>()
  const reserveOnce = async (sealed: Uint8Array): Promise<ReserveAnswer> => {
    const answer = await reserve(issuer, sealed, timing.reserveRetry)
    if (open.has(answer.payment)) {
      const message = 'this payment already pays for another request'
      throw new PaymentError('PAYMENT_REFUSED', message, { reason: 'SPENT' })
    }
    open.add(answer.payment)
    void keepReserved(issuer, answer, () => open.has(answer.payment), timing, log)
    return answer
  }
  const capture = async (payment: Hex, fee: bigint): Promise<string | undefined> => {
    pending++
    try {
      return await captureUntilDone(issuer, payment, fee, log)
    } finally {
      open.delete(payment)
      pending--
    }
  }
  return {
    get pending() {
      return pending
    },
    begin(field, atMost) {
      const needed: PaymentNeeded = {
        maximumFee: atMost,
        ...(issuer.enclave === undefined ? {} : { issuer: issuer.enclave }),
      }
      const answer = reserveOnce(readField(field, needed))
      const reserved = answer.then(({ payment, maximumFee }) => {
        if (maximumFee >= atMost) return maximumFee
        // Spent is spent: all of it comes back as change, which the wallet finds in the tiles.
        void capture(payment, 0n)
        const message = `the request can cost ${atMost} units and the payment allows ${maximumFee}: all of it was returned`
        throw new PaymentError('PAYMENT_TOO_SMALL', message, { needed })
      })
      // Whoever asks for the reserve hears of its failure; nobody has to ask.
      reserved.catch(() => undefined)
      return {
        reserved,
        async capture(fee) {
          const { payment } = await answer.catch(() => ({ payment: undefined }))
          if (payment === undefined) return undefined
          const late = sleep(CAPTURE_WAIT_MS, undefined, { ref: false })
          return Promise.race([capture(payment, fee), late])
        },
      }
    },
  }
}

function readField(field: string | undefined, needed: PaymentNeeded): Uint8Array {
  if (field === undefined) {
    const message = `this request can cost up to ${needed.maximumFee} units: send a payment with it`
    throw new PaymentError('PAYMENT_REQUIRED', message, { needed })
  }
  try {
    return parseSealed(field)
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new PaymentError('PAYMENT_REFUSED', 'expected a sealed payment in base64', { needed, cause })
  }
}

/** Asks again while nobody answers: an issuer that has reserved already answers a repeat the same. */
async function reserve(issuer: IssuerClient, sealed: Uint8Array, retry: readonly number[]): Promise<ReserveAnswer> {
  try {
    return await issuer.reserve(sealed)
  } catch (cause) {
    if (isRefusal(cause)) {
      const message = `the issuer refused the payment: ${cause.code}`
      throw new PaymentError('PAYMENT_REFUSED', message, { reason: cause.code, cause })
    }
    const [pause, ...later] = retry
    if (pause === undefined) {
      throw new PaymentError('ISSUER_UNAVAILABLE', 'the issuer does not answer: nothing was charged', { cause })
    }
    await sleep(pause, undefined, { ref: false })
    return reserve(issuer, sealed, later)
  }
}

/** Anything else may pass. */
function isRefusal(error: unknown): error is IssuerRefusal {
  return error instanceof IssuerRefusal && error.code !== 'UNAVAILABLE'
}

/** Renews a reserve while `isOpen`, so that an answer may take longer than a reserve lasts; as long as the issuer agrees. */
async function keepReserved(
  issuer: IssuerClient,
  { payment, expiresAt }: ReserveAnswer,
  isOpen: () => boolean,
  { renewMin, renewMax }: PaymentTiming,
  log: Logger,
): Promise<void> {
  let until = Number(expiresAt)
  for (;;) {
    const half = ((until - Date.now() / 1000) * 1000) / 2
    await sleep(Math.min(Math.max(half, renewMin), renewMax), undefined, { ref: false })
    if (!isOpen()) return
    try {
      const renewed = Number((await issuer.renew(payment)).expiresAt)
      if (renewed <= until) {
        log.warn('reserve is renewed no further', { secondsLeft: Math.round(until - Date.now() / 1000) })
        return
      }
      until = renewed
    } catch (error) {
      // What passes is tried again at the next turn; a refusal is the last word.
      if (isRefusal(error)) return
    }
  }
}

async function captureUntilDone(
  issuer: IssuerClient,
  payment: Hex,
  fee: bigint,
  log: Logger,
): Promise<string | undefined> {
  for (const pause of CAPTURE_RETRY_MS) {
    try {
      const { sealedChange } = await issuer.capture(payment, fee)
      return sealedChange === undefined ? undefined : formatSealed(sealedChange)
    } catch (error) {
      if (isRefusal(error)) {
        log.warn('capture refused', { code: error.code })
        return undefined
      }
      await sleep(pause, undefined, { ref: false })
    }
  }
  log.warn('capture given up', { attempts: CAPTURE_RETRY_MS.length })
  return undefined
}

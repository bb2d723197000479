/** What went wrong, in words for the person who asked. @module */
import { SealpathError } from '../../sdk/errors.ts'
import { WalletError } from '../../sdk/wallet/walletError.ts'
import { opg } from '../format.ts'

export type Problem = {
  /** `payment`: credits would help. `stopped`: the person did it. */
  readonly kind: 'payment' | 'stopped' | 'failed'
  readonly says: string
}

/** Whom the page was asking. */
export type Places = { readonly rpcUrl: string; readonly relayUrl: string; readonly isOnline: boolean }

/** An answer of a gateway that is no answer: its status, and what it says as OpenAI's interface does. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
  readonly status: number
  /** As the gateway says it: a word for programs, and the most that the request can cost, in units. */
  readonly code: string | undefined
  readonly maximumFee: bigint | undefined
  constructor(status: number, message: string, details: { code?: string; maximumFee?: bigint } = {}) {
    super(message)
    this.status = status
    this.code = details.code
    this.maximumFee = details.maximumFee
  }
}

/** Reads the body of a response that is no success. */
export async function readRefusal(response: Response): Promise<RefusedError> {
  const text = await response.text()
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown; code?: unknown; maximum_fee_units?: unknown } }
    const fee = error?.maximum_fee_units
    return new RefusedError(response.status, typeof error?.message === 'string' ? error.message : text, {
      ...(typeof error?.code === 'string' ? { code: error.code } : {}),
      ...(typeof fee === 'string' && /^\d{1,18}$/.test(fee) ? { maximumFee: BigInt(fee) } : {}),
    })
  } catch {
    // Not JSON: the text itself is all there is.
    return new RefusedError(response.status, text)
  }
}

/** Any error of asking. One that nobody foresaw is said with its own message. */
export function problemOf(error: unknown, places: Places): Problem {
  if (error instanceof DOMException && error.name === 'AbortError') {
    return {
      kind: 'stopped',
      says: 'Stopped. What came before is not complete, and has no receipt. Of a payment the part that was not used comes back by itself.',
    }
  }
  if (error instanceof RefusedError) return problemOfRefusal(error)
  if (error instanceof WalletError) return problemOfWallet(error)
  if (!places.isOnline) return failed('Your browser is offline. Nothing was sent.')
  if (error instanceof SealpathError) return failed(sentenceOf(error, places))
  return failed(`That did not work: ${error instanceof Error ? error.message : 'nobody knows why'}.`)
}

function failed(says: string): Problem {
  return { kind: 'failed', says }
}

function problemOfRefusal({ status, code, message, maximumFee }: RefusedError): Problem {
  if (code === 'payment_required') {
    const most = maximumFee === undefined ? '' : `: at most ${opg(maximumFee)} for this request`
    return {
      kind: 'payment',
      says: `This gateway answers for credits${most}. Nothing was answered and nothing was charged: open a wallet below, then send again.`,
    }
  }
  if (status === 402) {
    return {
      kind: 'payment',
      says: `The payment was not taken: ${message}. What was not spent comes back by itself: send again.`,
    }
  }
  if (status === 429 || status >= 500) {
    return failed(`The gateway cannot answer now: ${message}. Wait a moment, then send again.`)
  }
  return failed(`The gateway answers ${status}: ${message}.`)
}

function problemOfWallet(error: WalletError): Problem {
  if (error.code !== 'INSUFFICIENT') return failed(`Your wallet cannot pay: ${error.message}.`)
  const { amounts } = error
  const what =
    amounts === undefined
      ? 'Your wallet holds no credits that can be spent'
      : `This request can cost up to ${opg(amounts.needed)}, and your wallet reaches ${opg(amounts.spendable)}`
  return { kind: 'payment', says: `${what}. Nothing was sent: buy credits below, then send again.` }
}

function sentenceOf({ code, reason, message }: SealpathError, { rpcUrl, relayUrl }: Places): string {
  const [relay, chain] = [hostOf(relayUrl), hostOf(rpcUrl)]
  const because = reason === undefined ? '' : ` (${reason})`
  switch (code) {
    case 'CHAIN_FAILED':
      return `The chain’s endpoint ${chain} does not answer: nothing was sealed, as nobody says which gateways to trust. Name another under Sources.`
    case 'RELAY_FAILED':
      return reason?.startsWith('HTTP_') === true
        ? `The relay ${relay} answers ${reason.slice('HTTP_'.length)}: it refuses, or is full. Try again in a moment, or name another under Sources.`
        : `The relay ${relay} does not answer. Without it nothing reaches a gateway: try again, or name another under Sources.`
    case 'NO_GATEWAY':
      return `Behind the relay ${relay} nobody answers whom the registry names: there is no gateway to ask now.`
    case 'EVIDENCE_REFUSED':
      return `The gateway behind the relay ${relay} is not trusted${because}: ${message}. Nothing was sealed to it.`
    case 'REQUEST_NOT_OPENED':
      return 'The gateway could not open the request: its keys changed, or relay and gateway do not belong together. Send again.'
    case 'TIMED_OUT':
      return 'The gateway took longer than allowed. What came before is not complete, and has no receipt.'
    case 'ANSWER_CUT':
      return 'The answer broke off. What came before is not complete, and has no receipt.'
    case 'RECEIPT_MISSING':
      return 'The answer came without a receipt: do not rely on it.'
    case 'RECEIPT_REJECTED':
      return `The receipt does not fit what was asked and answered${because}: do not rely on the answer.`
    case 'ISSUER_REFUSED':
      return `The issuer of the credits refuses${because}: ${message}.`
    default:
      return `That did not work${because}: ${message}.`
  }
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url
}

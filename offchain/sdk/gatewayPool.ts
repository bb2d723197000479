/**
 * The gateways that a client may use, in an order that only chance decided: a request goes to the first that serves its model under the policy, so
 * each gateway that would do is as likely. What gateways serve and charge is asked inside the seal, and only when it matters.
 * @module
 */
import type { Hex } from '#protocol/bytes.ts'
import { SealpathError } from './errors.ts'
import type { TrustedGateway } from './gateway.ts'
import type { GatewayTerms } from './gatewayTerms.ts'
import { concernsModels, type ModelRefusal, modelRefusal } from './modelPolicy.ts'
import type { GatewayPolicy } from './options.ts'
import { type RandomWord, shuffled } from './random.ts'

export type PoolPorts = {
  /** Reads registry and evidence: every gateway to trust, once for each relay resource that leads to it. */
  readonly find: () => Promise<readonly TrustedGateway[]>
  readonly readTerms: (gateway: TrustedGateway) => Promise<GatewayTerms>
  readonly word: RandomWord
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number
}

export type Choice = {
  readonly gateway: TrustedGateway
  /** Undefined where nothing depended on them. */
  readonly terms: GatewayTerms | undefined
}

/** What a request wants of its gateway. */
export type Wish = {
  readonly model: string | undefined
  /** Whether it is paid for: then the price must be known. */
  readonly isPaid: boolean
}

/** How long gateways and their terms are used before they are read again. */
const RECHECK_MS = 300_000
/** How many further gateways are asked for their terms at once when the first does not do. */
const TERMS_AHEAD = 8

export class GatewayPool {
  readonly #ports: PoolPorts
  readonly #policy: GatewayPolicy
  #order: TrustedGateway[] = []
  #terms = new Map<Hex, Promise<GatewayTerms>>()
  #readAt = Number.NEGATIVE_INFINITY
  #reading: Promise<void> | undefined

  constructor(ports: PoolPorts, policy: GatewayPolicy) {
    this.#ports = ports
    this.#policy = policy
  }

  /**
   * The gateway for a request, none of `avoided`. Undefined when none is left to try. Throws `SealpathError`: those of `PoolPorts.find`; `NO_GATEWAY`
   * with a `ModelRefusal` as its reason when the policy leaves none; a `TermsError` when a gateway that might do does not tell its terms.
   */
  async choose(wish: Wish, avoided: readonly TrustedGateway[] = []): Promise<Choice | undefined> {
    if (this.#ports.now() - this.#readAt > RECHECK_MS) await this.refresh()
    const candidates = this.#candidates(avoided)
    if (!this.#needsTerms(wish)) {
      const [gateway] = candidates
      return gateway && { gateway, terms: undefined }
    }
    let refusal: ModelRefusal | undefined
    for (const [i, gateway] of candidates.entries()) {
      if (i > 0) for (const next of candidates.slice(i, i + TERMS_AHEAD)) this.#termsOf(next).catch(() => undefined)
      const terms = await this.#termsOf(gateway).catch((cause: unknown) => {
        throw new TermsError(gateway, cause)
      })
      const found = modelRefusal(this.#policy, terms, wish.model)
      if (found === undefined) return { gateway, terms }
      refusal ??= found
    }
    const [first] = candidates
    if (first === undefined) return undefined
    if (concernsModels(this.#policy)) {
      throw new SealpathError('NO_GATEWAY', `no gateway serves this model as your policy wants it: ${refusal}`, {
        ...(refusal === undefined ? {} : { reason: refusal }),
      })
    }
    // A model that nobody serves: a gateway says so itself, in the words that the application knows.
    return { gateway: first, terms: await this.#termsOf(first) }
  }

  /** Reads registry and evidence again, now. Throws what `PoolPorts.find` throws. */
  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  /** Puts a gateway that failed behind all others. */
  demote(gateway: TrustedGateway): void {
    const isIt = (other: TrustedGateway) => isSameWay(gateway, other)
    this.#order = [...this.#order.filter((other) => !isIt(other)), ...this.#order.filter(isIt)]
  }

  /** Has everything read again before the next request: what is known led nowhere. */
  expire(): void {
    this.#readAt = Number.NEGATIVE_INFINITY
  }

  async #read(): Promise<void> {
    const found = await this.#ports.find()
    this.#order = randomOrder(found, this.#ports.word)
    this.#terms = new Map()
    this.#readAt = this.#ports.now()
  }

  /** Behind a relay through which something failed, everything else may fail too: what other relays lead to comes first. */
  #candidates(avoided: readonly TrustedGateway[]): TrustedGateway[] {
    const origins = new Set(avoided.map(({ url }) => url.origin))
    const left = this.#order.filter((gateway) => !avoided.some((other) => isSameWay(gateway, other)))
    return left.toSorted((a, b) => Number(origins.has(a.url.origin)) - Number(origins.has(b.url.origin)))
  }

  #needsTerms({ model, isPaid }: Wish): boolean {
    const hasChoice = new Set(this.#order.map(({ enclave }) => enclave)).size > 1
    return isPaid || concernsModels(this.#policy) || (hasChoice && model !== undefined)
  }

  #termsOf(gateway: TrustedGateway): Promise<GatewayTerms> {
    const { enclave } = gateway
    const known = this.#terms.get(enclave)
    if (known !== undefined) return known
    const terms = this.#terms
    const read = this.#ports.readTerms(gateway)
    terms.set(enclave, read)
    // Nothing that failed is remembered.
    read.catch(() => terms.delete(enclave))
    return read
  }
}

/**
 * Enclaves in random order, and each reached by a random one of its ways; further ways come behind all first ones. However many ways lead to an enclave,
 * it is as likely as any other.
 */
export function randomOrder(found: readonly TrustedGateway[], word: RandomWord): TrustedGateway[] {
  const byEnclave = new Map<Hex, TrustedGateway[]>()
  for (const gateway of found) byEnclave.set(gateway.enclave, [...(byEnclave.get(gateway.enclave) ?? []), gateway])
  const ways = shuffled([...byEnclave.values()], word).map((same) => shuffled(same, word))
  const rounds = Math.max(0, ...ways.map(({ length }) => length))
  return Array.from({ length: rounds }, (_, round) => ways.flatMap((same) => same.slice(round, round + 1))).flat()
}

/** The same enclave, reached through the same relay resource: what was read again is a new object. */
function isSameWay(a: TrustedGateway, b: TrustedGateway): boolean {
  return a.enclave === b.enclave && a.url.href === b.url.href
}

/** A gateway that does not tell what it serves and charges. `cause` says why. */
export class TermsError extends Error {
  override readonly name = 'TermsError'
  readonly gateway: TrustedGateway
  constructor(gateway: TrustedGateway, cause: unknown) {
    super('a gateway does not tell what it serves and charges', { cause })
    this.gateway = gateway
  }
}

/**
 * The sealing keys of an enclave and their succession: while one set of keys is served, the next may be made and announced; once it is live in the
 * registry it is served in its place, and requests sealed to the old one still open for a while, so that nobody's fails.
 *
 * The untrusted host decides when. It can make clients look for keys more often, and nothing else: an old set ends on time, and at most two are
 * live besides the one that is made.
 * @module
 */
import { generateGatewayKey, KeyRing } from '#node/sealing/keyRing.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { GatewayKey } from '#protocol/sealing/exchange.ts'
import { encodeKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { KEM_X_WING, KEM_X25519, type SealingSuites } from '#protocol/sealing/suite.ts'

/** Clients look at the registry every five minutes; the registry knows a document for days. */
export const KEY_OVERLAP_SECONDS = 3_600

/** Keys that are offered together: X-Wing first, X25519 for clients without it. `document` is their `application/ohttp-keys`. */
type KeySet = { readonly keys: readonly GatewayKey[]; readonly document: Uint8Array; readonly hash: Hex }

/** Key identifiers are one byte; sets take turns. */
const KEY_IDS = 256

export class SealingKeys {
  /** What requests are opened with. */
  readonly ring: KeyRing
  readonly #suites: SealingSuites<Uint8Array>
  readonly #overlapMs: number
  #current: KeySet
  #next: Promise<KeySet> | undefined
  #isOverlapping = false
  #nextKeyId: number

  private constructor(suites: SealingSuites<Uint8Array>, overlapSeconds: number, first: KeySet) {
    this.ring = new KeyRing()
    this.#suites = suites
    this.#overlapMs = overlapSeconds * 1000
    this.#current = first
    this.#nextKeyId = first.keys.length
    for (const key of first.keys) this.ring.add(key)
  }

  static async create(suites: SealingSuites<Uint8Array>, overlapSeconds: number): Promise<SealingKeys> {
    return new SealingKeys(suites, overlapSeconds, await makeKeySet(suites, 0))
  }

  /** The document that is served. */
  get document(): Uint8Array {
    return this.#current.document
  }

  /** keccak-256 of the document that is served. */
  get hash(): Hex {
    return this.#current.hash
  }

  /** Hash of the document that comes next: made now, or before and not used yet. Throws `SealingKeysError` (`TOO_SOON`). */
  async next(): Promise<Hex> {
    if (this.#isOverlapping) throw new SealingKeysError('TOO_SOON', 'the keys before these still open requests')
    this.#next ??= makeKeySet(this.#suites, this.#nextKeyId)
    return (await this.#next).hash
  }

  /** Serves the next document from now on. A repeat changes nothing. Throws `SealingKeysError` (`UNKNOWN_KEYS`). */
  async use(hash: Hex): Promise<void> {
    if (hash === this.#current.hash) return
    const next = await this.#next
    // Asked again, because another call may have come first.
    if (hash === this.#current.hash) return
    if (next?.hash !== hash) throw new SealingKeysError('UNKNOWN_KEYS', 'these keys were not made here, or are gone')
    const old = this.#current
    for (const key of next.keys) this.ring.add(key)
    this.#current = next
    this.#next = undefined
    this.#nextKeyId = (this.#nextKeyId + next.keys.length) % KEY_IDS
    this.#isOverlapping = true
    setTimeout(() => {
      for (const { config } of old.keys) this.ring.remove(config.keyId)
      this.#isOverlapping = false
    }, this.#overlapMs).unref()
  }
}

async function makeKeySet(suites: SealingSuites<Uint8Array>, firstKeyId: number): Promise<KeySet> {
  const keys: GatewayKey[] = []
  for (const [i, kemId] of [KEM_X_WING, KEM_X25519].entries()) {
    keys.push(await generateGatewayKey(suites, (firstKeyId + i) % KEY_IDS, kemId))
  }
  const document = encodeKeyConfigList(keys.map(({ config }) => config))
  return { keys, document, hash: toHex(keccak256(document)) }
}

export class SealingKeysError extends Error {
  override readonly name = 'SealingKeysError'
  readonly code: 'TOO_SOON' | 'UNKNOWN_KEYS'
  constructor(code: 'TOO_SOON' | 'UNKNOWN_KEYS', message: string) {
    super(message)
    this.code = code
  }
}

/**
 * A standby's side of the handover: asks the issuers it is configured with for their keysets, and for their word that it may follow them.
 * Asks again whenever the vault names another writer, for only the present writer's word counts, and from time to time, for who answers now
 * may be dead then. Nothing of it is written down.
 * @module
 */
import type { AttesterConfig, EnclaveChain } from '#node/enclave/config.ts'
import type { Enclave } from '#node/enclave/enclave.ts'
import { errorFields, type Logger } from '#node/log.ts'
import { pause } from '#node/rounds.ts'
import { callSealed } from '#node/sealing/sealedCall.ts'
import { decodeUtf8, encodeUtf8, type Hex, toBase64, toHex } from '#protocol/bytes.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { type HandedKeyset, openHandover } from '#protocol/credits/sealedHandover.ts'
import { isSuccessionBy, type VaultDomain } from '#protocol/credits/succession.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type CompactSignature, signDigest } from '#protocol/receipt/head.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import type { PublicEvidence } from '#protocol/wire/agentApi.ts'
import { ApiErrorSchema } from '#protocol/wire/aggregatorApi.ts'
import { HandoverAnswerSchema, hashHandover } from '#protocol/wire/handoverApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import type { ChainReader } from './chain.ts'
import { type SecretKeyset, secretKeyset } from './keysetKeys.ts'
import { fetchPeer } from './peerDocuments.ts'
import { ownMeasurement, type PeerRefusalCode, verifyPeer } from './peerEnclave.ts'

export type TakerOptions = {
  /** Base URLs of the issuers that are asked. */
  readonly urls: readonly string[]
  readonly enclave: Pick<Enclave, 'statement' | 'privateKey' | 'keys' | 'keyConfigs' | 'evidence'>
  readonly attester: AttesterConfig['kind']
  readonly binding: EnclaveChain
  readonly domain: VaultDomain
  readonly roots: readonly PinnedRoot[]
  /** Measurements that are believed besides our own. */
  readonly predecessors: readonly Hex[]
  readonly chain: Pick<ChainReader, 'writers'>
  readonly suites: SealingSuites
  /** Told of every keyset once, when it is new. */
  readonly onKeyset: (keyset: SecretKeyset) => Promise<void>
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly log: Logger
  readonly timing: TakerTiming
}

/** In milliseconds: how often the vault is asked for the writer, and how often every issuer is asked though nothing changed. */
export type TakerTiming = { readonly pollMs: number; readonly renewMs: number }

/** Why an issuer's answer was not taken. */
export type TakeRefusalCode =
  | PeerRefusalCode
  /** The giver refused; its code is logged. */
  | 'REFUSED'
  /** The secret keys do not give the keyset. */
  | 'KEYS_MISMATCH'
  /** The succession was not signed by the giver, or names another enclave. */
  | 'BAD_SUCCESSION'
  /** Our operator agent has not asked for evidence yet. */
  | 'NO_EVIDENCE'

export type TakeResult = { readonly ok: true } | { readonly ok: false; readonly code: TakeRefusalCode; reason?: string }

const TIMEOUT_MS = 15_000

export class HandoverTaker {
  readonly #options: TakerOptions
  readonly #closing = new AbortController()
  readonly #loop: Promise<void>
  readonly #keysets = new Map<Hex, SecretKeyset>()
  /** By keyset, then by the writer that signed. */
  readonly #successions = new Map<Hex, Map<Hex, CompactSignature>>()
  /** Whom the vault named last, by keyset. */
  readonly #writers = new Map<Hex, Hex>()
  readonly #results = new Map<string, string>()
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(options: TakerOptions) {
    this.#options = options
    this.#loop = this.#run()
  }

  /** Why this enclave could not take a writer's place now. It must then leave the database to others. */
  get notReady(): string | undefined {
    if (this.#keysets.size === 0) {
      const reasons = [...new Set(this.#results.values())].filter((result) => result !== '').join(', ')
      return `no issuer has handed over its keysets yet${reasons === '' ? '' : `: ${reasons}`}`
    }
    const mayFollow = [...this.#writers].some(
      ([keyset, writer]) => this.#isOurs(writer) || this.successionBy(keyset, writer) !== undefined,
    )
    return mayFollow ? undefined : 'no writer of these keysets has named this enclave its successor yet'
  }

  /** The word of `writer` that this enclave may follow it. */
  successionBy(keyset: Hex, writer: Hex): CompactSignature | undefined {
    return this.#successions.get(keyset)?.get(writer.toLowerCase() as Hex)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { urls, timing } = this.#options
    while (!this.#closing.signal.aborted) {
      const hasChanged = await this.#readWriters()
      const isDue = performance.now() - this.#askedAt >= timing.renewMs
      // Who writes a keyset needs nobody's word any more.
      const isOurs = (keyset: Hex) => this.#isOurs(this.#writers.get(keyset))
      const isNeeded = this.#keysets.size === 0 || ![...this.#keysets.keys()].every(isOurs)
      const asked = isNeeded ? urls.filter((url) => hasChanged || isDue || this.#results.get(url) !== '') : []
      if (isDue) this.#askedAt = performance.now()
      await Promise.all(asked.map((url) => this.#ask(url)))
      // What a first answer brought shall be of use at once.
      if (asked.length > 0) await this.#readWriters()
      await pause(timing.pollMs, this.#closing.signal)
    }
  }

  #isOurs(writer: Hex | undefined): boolean {
    return writer === this.#options.enclave.statement.enclave.toLowerCase()
  }

  /** Whether another writer is named than the last time. */
  async #readWriters(): Promise<boolean> {
    let hasChanged = false
    for (const keyset of this.#keysets.keys()) {
      try {
        const writer = (await this.#options.chain.writers(keyset)).at(-1)?.toLowerCase() as Hex | undefined
        if (writer === undefined || writer === this.#writers.get(keyset)) continue
        this.#writers.set(keyset, writer)
        hasChanged = true
      } catch (error) {
        this.#options.log.warn('the writer cannot be read', { keyset, ...errorFields(error) })
      }
    }
    return hasChanged
  }

  async #ask(url: string): Promise<void> {
    const from = new URL(url).host
    let result: string
    try {
      const taken = await this.#take(url)
      result = taken.ok ? '' : [taken.code, taken.reason].filter((part) => part !== undefined).join(' ')
    } catch (error) {
      const { error: name, code } = errorFields(error)
      result = code ?? name
    }
    // Said when it changes: an issuer that was left may be dead for ever.
    if (this.#results.get(url) !== result) {
      if (result === '') this.#options.log.info('handover taken', { from })
      else this.#options.log.warn('no handover', { from, reason: result })
    }
    this.#results.set(url, result)
  }

  async #take(url: string): Promise<TakeResult> {
    const { enclave, suites } = this.#options
    const own = enclave.evidence()
    if (own === undefined) return { ok: false, code: 'NO_EVIDENCE' }
    const peer = await this.#checkGiver(url, own)
    if (!peer.ok) return peer
    const { keyConfigs } = enclave
    const digest = hashHandover({ giver: peer.enclave, keyConfigs: toHex(keccak256(keyConfigs)) }, this.#options.domain)
    const body = toJson({
      evidence: { ...own, document: toBase64(own.document) },
      keyConfigs: toBase64(keyConfigs),
      signature: signDigest(digest, enclave.privateKey),
    })
    const answer = await callSealed(
      { suites, url: new URL('/gateway', url).href, config: peer.config, timeoutMs: TIMEOUT_MS },
      { method: 'POST', path: '/v1/handover', body: encodeUtf8(body) },
    )
    const text = decodeUtf8(answer.body)
    if (answer.status !== 200) {
      return { ok: false, code: 'REFUSED', reason: parseJson(ApiErrorSchema, text, 'refusal').error.code }
    }
    const { sealed } = parseJson(HandoverAnswerSchema, text, 'handover')
    return this.#accept(peer.enclave, await openHandover(suites, enclave.keys, sealed))
  }

  async #checkGiver(url: string, own: PublicEvidence): Promise<ReturnType<typeof verifyPeer>> {
    const { attester, predecessors } = this.#options
    const measurements = new Set([ownMeasurement(attester, own), ...predecessors])
    const documents = await fetchPeer(url, TIMEOUT_MS)
    return verifyPeer(documents, { ...this.#options, measurements }, BigInt(Math.floor(this.#options.now())))
  }

  /** All of an answer or nothing: a giver that is wrong once is wrong. */
  async #accept(giver: Hex, handed: readonly HandedKeyset[]): Promise<TakeResult> {
    const fresh: SecretKeyset[] = []
    try {
      for (const { keyset, succession, ...rest } of handed) {
        if (succession !== undefined && !this.#isOwnSuccession(giver, keyset, succession)) {
          return { ok: false, code: 'BAD_SUCCESSION' }
        }
        if (this.#keysets.has(keyset)) continue
        const made = keysetOf(this.#options.domain, rest)
        if (made?.id !== keyset) return { ok: false, code: 'KEYS_MISMATCH' }
        fresh.push(made)
      }
      for (const keyset of fresh) {
        await this.#options.onKeyset(keyset)
        this.#keysets.set(keyset.id, keyset)
      }
    } finally {
      for (const { keyset, secretKeys } of handed) {
        // The keys that were taken are these very bytes.
        if (this.#keysets.get(keyset)?.secretKeys !== secretKeys) for (const key of secretKeys) key.fill(0)
      }
    }
    for (const { keyset, succession } of handed) {
      if (succession === undefined) continue
      const known = this.#successions.get(keyset) ?? new Map<Hex, CompactSignature>()
      this.#successions.set(keyset, known.set(giver.toLowerCase() as Hex, succession))
    }
    return { ok: true }
  }

  #isOwnSuccession(giver: Hex, keyset: Hex, succession: CompactSignature): boolean {
    const { domain, enclave } = this.#options
    return isSuccessionBy(giver, { keyset, successor: enclave.statement.enclave }, domain, succession)
  }
}

/** Undefined for keys or times of which no keyset can be made. */
function keysetOf(
  domain: VaultDomain,
  { secretKeys, ...times }: Omit<HandedKeyset, 'keyset' | 'succession'>,
): SecretKeyset | undefined {
  try {
    return secretKeyset(domain, times, secretKeys)
  } catch (error) {
    if (error instanceof CreditError) return undefined
    throw error
  }
}

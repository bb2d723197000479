/**
 * What a gateway says to the issuer of its clients' credits. The issuer is checked like any enclave: its document, and that it binds the keys it
 * serves to the issuer's role on this chain. A false one could only make the gateway work for nothing. Of several, one writes and the others
 * stand by: whoever answered last is asked first, and the next one when it does not answer or is not the writer.
 * @module
 */
import { AppError } from '#node/appError.ts'
import { callSealed } from '#node/sealing/sealedCall.ts'
import { signDigest } from '#node/signatures.ts'
import { readBody } from '#protocol/boundedBody.ts'
import { decodeUtf8, encodeUtf8, type Hex, toBase64, toHex } from '#protocol/bytes.ts'
import { EVIDENCE_AGE_SECONDS_MAX } from '#protocol/evidence/appraisal.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { bindsKeyConfigs } from '#protocol/evidence/keyAnnouncement.ts'
import { ENCLAVE_ROLE, verifyStatement } from '#protocol/evidence/statement.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type KeyConfig, parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { KEM_X_WING, type SealingSuites } from '#protocol/sealing/suite.ts'
import type { WholeAnswer } from '#protocol/sealing/wholeExchange.ts'
import { PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { ApiErrorSchema } from '#protocol/wire/aggregatorApi.ts'
import {
  type CaptureAnswer,
  CaptureAnswerSchema,
  hashCapture,
  hashRenew,
  hashReserve,
  type IssuerDomain,
  type RenewAnswer,
  RenewAnswerSchema,
  type ReserveAnswer,
  ReserveAnswerSchema,
} from '#protocol/wire/issuerApi.ts'
import { parseJson, type Schema, toJson } from '#protocol/wire/json.ts'

export type IssuerClientOptions = {
  /** Base URLs of the issuer and of those that may take its place. */
  readonly urls: readonly string[]
  /** Where both stand: the issuer's statement must name the same chain and registry. */
  readonly chain: { readonly chainId: number; readonly registry: Hex; readonly vault: Hex }
  /** Reference values of issuers; any where undefined, which is for local chains. */
  readonly measurements?: readonly Hex[]
  readonly roots: (document: Uint8Array) => readonly PinnedRoot[]
  readonly suites: SealingSuites
  /** The gateway's own enclave and its key. */
  readonly enclave: Hex
  readonly privateKey: Uint8Array
  readonly nowSeconds: () => number
}

/** An answer of the issuer that is a refusal. `code` is an IssuerErrorCode. */
export class IssuerRefusal extends Error {
  override readonly name = 'IssuerRefusal'
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export type IssuerClient = {
  /** The enclave of the issuer that answered last; undefined until one was reached. */
  readonly enclave: Hex | undefined
  /** Throws `IssuerRefusal`, and `AppError` (`PEER_FAILED`) when the issuer cannot be reached or is not what it should be. */
  reserve(sealedPayment: Uint8Array): Promise<ReserveAnswer>
  /** Keeps a reserve for another while. */
  renew(payment: Hex): Promise<RenewAnswer>
  capture(payment: Hex, fee: bigint): Promise<CaptureAnswer>
}

const TIMEOUT_MS = 15_000
const DOCUMENT_BYTES_MAX = 65_536
const CHECKED_FOR_SECONDS = 600

/** Refusals of an issuer that is not the writer, or that the payment was not sealed to: another one may take it. */
const ASK_ANOTHER: ReadonlySet<string> = new Set([
  'UNAVAILABLE',
  'EXIT_ONLY',
  'UNKNOWN_KEYSET',
  'UNKNOWN_PAYMENT',
  'BAD_PAYMENT',
])

type Checked = { readonly enclave: Hex; readonly config: KeyConfig; readonly until: number }

/** Connects when first used; an issuer is checked again every ten minutes, and when it stops opening what is sealed to it. */
export function createIssuerClient(options: IssuerClientOptions): IssuerClient {
  const domain: IssuerDomain = { chainId: options.chain.chainId, vault: options.chain.vault }
  const peers = options.urls.map((url) => createPeer(options, url))
  let last: Peer | undefined
  const call = async <T>(path: string, body: unknown, schema: Schema<T>): Promise<T> => {
    const failures: unknown[] = []
    for (const peer of peers.toSorted((a, b) => Number(b === last) - Number(a === last))) {
      try {
        const answer = await peer.call(path, body, schema)
        last = peer
        return answer
      } catch (error) {
        if (error instanceof IssuerRefusal && !ASK_ANOTHER.has(error.code)) {
          last = peer
          throw error
        }
        failures.push(error)
      }
    }
    throw mostTelling(failures)
  }
  return {
    get enclave() {
      return (last ?? peers[0])?.enclave
    },
    reserve(sealedPayment) {
      const payment = toHex(keccak256(sealedPayment))
      const digest = hashReserve({ gateway: options.enclave, payment }, domain)
      const body = {
        gateway: options.enclave,
        sealedPayment: toBase64(sealedPayment),
        signature: signDigest(digest, options.privateKey),
      }
      return call('/v1/reserve', body, ReserveAnswerSchema)
    },
    renew(payment) {
      const signature = signDigest(hashRenew({ payment }, domain), options.privateKey)
      return call('/v1/renew', { payment, signature }, RenewAnswerSchema)
    },
    capture(payment, fee) {
      const signature = signDigest(hashCapture({ payment, fee }, domain), options.privateKey)
      return call('/v1/capture', { payment, fee, signature }, CaptureAnswerSchema)
    },
  }
}

/**
 * Only the writer says of a payment that it is bad, whoever cannot be reached meanwhile. Otherwise, where one of them may still say yes, the
 * refusals of the others are not the last word.
 */
function mostTelling(failures: readonly unknown[]): unknown {
  const refusal = (code: string) => failures.find((error) => error instanceof IssuerRefusal && error.code === code)
  const unreached = failures.find((error) => !(error instanceof IssuerRefusal))
  return refusal('BAD_PAYMENT') ?? refusal('UNAVAILABLE') ?? unreached ?? failures[0]
}

/** One of the issuers. */
type Peer = {
  readonly enclave: Hex | undefined
  call<T>(path: string, body: unknown, schema: Schema<T>): Promise<T>
}

function createPeer(options: IssuerClientOptions, base: string): Peer {
  let checked: Checked | undefined
  const check = async (): Promise<Checked> => {
    if (checked === undefined || checked.until < options.nowSeconds()) checked = await checkIssuer(options, base)
    return checked
  }
  const url = new URL('/gateway', base).href
  const ask = async (request: { method: 'POST'; path: string; body: Uint8Array }): Promise<WholeAnswer> => {
    const { config } = await check()
    try {
      return await callSealed({ suites: options.suites, url, config, timeoutMs: TIMEOUT_MS }, request)
    } catch (error) {
      checked = undefined
      throw error
    }
  }
  return {
    get enclave() {
      return checked?.enclave
    },
    async call(path, body, schema) {
      const request = { method: 'POST' as const, path, body: encodeUtf8(toJson(body)) }
      const wasChecked = checked !== undefined
      const answer = await ask(request).catch((error: unknown) => {
        // It has other keys by now, or was restarted with others: that is seen at once, and costs nobody their request.
        if (wasChecked && error instanceof AppError && error.code === 'NOT_OPENED') return ask(request)
        throw error
      })
      const text = decodeUtf8(answer.body)
      if (answer.status === 200) return parseJson(schema, text, `issuer answer of ${path}`)
      const { error } = parseJson(ApiErrorSchema, text, 'issuer error')
      throw new IssuerRefusal(error.code, error.message)
    },
  }
}

async function checkIssuer(options: IssuerClientOptions, url: string): Promise<Checked> {
  const { chainId, registry } = options.chain
  const evidenceText = decodeUtf8(await fetchDocument(new URL('/evidence', url)))
  const keyBytes = await fetchDocument(new URL('/ohttp-keys', url))
  const { statement, document, announcement } = parseJson(PublicEvidenceSchema, evidenceText, 'issuer evidence')
  const verdict = verifyNitroEvidence(
    document,
    {
      roots: options.roots(document),
      ageSecondsMax: EVIDENCE_AGE_SECONDS_MAX,
      ...(options.measurements === undefined ? {} : { measurements: new Set(options.measurements) }),
    },
    BigInt(Math.floor(options.nowSeconds())),
  )
  if (!verdict.ok) throw refuse(`its evidence does not verify: ${verdict.code}`)
  const role = ENCLAVE_ROLE.issuer
  const isBound = verifyStatement(verdict.evidence.userData, { ...statement, role }, { chainId, registry }).ok
  const isOurs = statement.role === 'issuer' && statement.chainId === chainId && statement.registry === registry
  if (!isBound || !isOurs) throw refuse('its evidence does not bind it as an issuer on this chain')
  const isKeyBound = bindsKeyConfigs(statement, announcement, keyBytes, { chainId, registry })
  if (!isKeyBound) throw refuse('it serves other keys than its evidence binds')
  const configs = parseKeyConfigList(keyBytes)
  const config = configs.find(({ kemId }) => kemId === KEM_X_WING) ?? configs[0]
  if (config === undefined) throw refuse('it offers no key that this gateway knows')
  return { enclave: statement.enclave, config, until: options.nowSeconds() + CHECKED_FOR_SECONDS }
}

async function fetchDocument(url: URL): Promise<Uint8Array> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    if (!response.ok) {
      await response.body?.cancel()
      throw new RangeError(`expected a document, got ${response.status}`)
    }
    return await readBody(response.body, DOCUMENT_BYTES_MAX)
  } catch (cause) {
    throw new AppError('PEER_FAILED', `the issuer ${url.host} serves no ${url.pathname}`, { cause, retryable: true })
  }
}

function refuse(reason: string): AppError {
  return new AppError('PEER_FAILED', `the issuer is not to be used: ${reason}`, { retryable: true })
}

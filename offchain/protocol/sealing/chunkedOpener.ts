/** Chunked Oblivious HTTP (draft-ietf-ohai-chunked-ohttp-08), the opening side of client and gateway. @module */
import { CHUNK_LIMITS, type ChunkLimits, ChunkReader } from './chunkReader.ts'
import { CHUNKED_LABELS, ChunkedResponseSealer, chunkNonce, FINAL_AAD } from './chunkSealing.ts'
import {
  decrypting,
  deriveResponseKeys,
  type Exchange,
  exportSecretOf,
  type GatewayKey,
  type GatewayKeys,
  HEADER_BYTES,
  NO_BYTES,
  type RecipientRoute,
  responseNonceBytes,
  routeRequest,
  setupRecipient,
} from './exchange.ts'
import { OhttpError } from './ohttpError.ts'
import type { MaybeBytes, RandomBytes, SealingSuite, SealingSuites, SenderSession } from './suite.ts'

/** Opens one ciphertext; the position in the stream and the AAD are its own business. */
type OpenChunk = (ciphertext: Uint8Array, isFinal: boolean) => Promise<Uint8Array>

/**
 * Emits each chunk once it authenticates. What was emitted is provisional until `end` has returned: only a final chunk
 * that opens makes the message complete. Calls must not overlap; after a failure every call throws `CLOSED`.
 */
abstract class ChunkedOpener {
  protected readonly reader: ChunkReader
  #open: OpenChunk | undefined
  #tagBytes = 0
  #isClosed = false

  constructor(limits: ChunkLimits) {
    this.reader = new ChunkReader(limits)
  }

  /** Reads the head of the message; undefined until it is complete. */
  protected abstract readHead(): Promise<{ open: OpenChunk; tagBytes: number } | undefined>

  /** Takes the next bytes of the message and returns the plaintexts of the chunks they complete, none of them empty. Throws `OhttpError`. */
  push(bytes: Uint8Array): Promise<Uint8Array[]> {
    return this.#guarded(async () => {
      this.reader.append(bytes)
      const plaintexts: Uint8Array[] = []
      const open = await this.#opener()
      if (open === undefined) return plaintexts
      for (;;) {
        const ciphertext = this.reader.next(this.#tagBytes)
        if (ciphertext === undefined) return plaintexts
        plaintexts.push(await open(ciphertext, false))
      }
    })
  }

  /** The plaintext of the final chunk, which may be empty. Throws `OhttpError`: `TRUNCATED` when the message was cut. */
  end(): Promise<Uint8Array> {
    return this.#guarded(async () => {
      const open = await this.#opener()
      const ciphertext = this.reader.finish()
      if (open === undefined || ciphertext.length < this.#tagBytes) {
        throw new OhttpError('TRUNCATED', 'the message ended within its final chunk')
      }
      const plaintext = await open(ciphertext, true)
      this.#isClosed = true
      return plaintext
    })
  }

  async #opener(): Promise<OpenChunk | undefined> {
    if (this.#open !== undefined) return this.#open
    const head = await this.readHead()
    this.#open = head?.open
    this.#tagBytes = head?.tagBytes ?? 0
    return this.#open
  }

  async #guarded<Value>(run: () => Promise<Value>): Promise<Value> {
    if (this.#isClosed) throw new OhttpError('CLOSED', 'the message has ended or failed before')
    try {
      return await run()
    } catch (error) {
      this.#isClosed = true
      throw error
    }
  }
}

/** Client: opens one chunked response. */
export class ChunkedResponseOpener extends ChunkedOpener {
  readonly #suite: SealingSuite
  readonly #session: SenderSession

  constructor(suite: SealingSuite, session: SenderSession, limits: ChunkLimits = CHUNK_LIMITS) {
    super(limits)
    this.#suite = suite
    this.#session = session
  }

  protected override async readHead(): Promise<{ open: OpenChunk; tagBytes: number } | undefined> {
    const responseNonce = this.reader.head(responseNonceBytes(this.#suite))
    if (responseNonce === undefined) return undefined
    const { enc } = this.#session
    const keys = await deriveResponseKeys(this.#suite, this.#session, CHUNKED_LABELS, enc, responseNonce)
    let count = 0
    const open: OpenChunk = (ciphertext, isFinal) => {
      const nonce = chunkNonce(keys.nonce, count++)
      return decrypting(() => keys.cipher.open(nonce, isFinal ? FINAL_AAD : NO_BYTES, ciphertext))
    }
    return { open, tagBytes: this.#suite.Nt }
  }
}

/** The gateway's end of a chunked exchange, there as soon as the request's head has been read. */
export interface OpenedChunkedExchange<Result extends MaybeBytes> extends Exchange {
  /** The key it was sealed for. */
  readonly key: GatewayKey
  /** At most one per request. */
  createResponseSealer(random: RandomBytes): Promise<ChunkedResponseSealer<Result>>
}

/** Gateway: opens one chunked request. Nothing may be acted on before `end` has returned. */
export class ChunkedRequestOpener<Result extends MaybeBytes> extends ChunkedOpener {
  readonly #suites: SealingSuites<Result>
  readonly #keys: GatewayKeys
  #header: Uint8Array | undefined
  #route: RecipientRoute<Result> | undefined
  #exchange: OpenedChunkedExchange<Result> | undefined

  constructor(suites: SealingSuites<Result>, keys: GatewayKeys, limits: ChunkLimits = CHUNK_LIMITS) {
    super(limits)
    this.#suites = suites
    this.#keys = keys
  }

  /** Throws `OhttpError` (`TRUNCATED`) while the head has not been read. */
  get exchange(): OpenedChunkedExchange<Result> {
    if (this.#exchange === undefined) throw new OhttpError('TRUNCATED', 'the request ended within its head')
    return this.#exchange
  }

  protected override async readHead(): Promise<{ open: OpenChunk; tagBytes: number } | undefined> {
    this.#header ??= this.reader.head(HEADER_BYTES)
    if (this.#header === undefined) return undefined
    this.#route ??= await routeRequest(this.#suites, this.#keys, this.#header)
    const { key, suite } = this.#route
    const enc = this.reader.head(suite.Nenc)?.slice()
    if (enc === undefined) return undefined
    const session = await setupRecipient(this.#route, CHUNKED_LABELS, this.#header, enc)
    this.#exchange = {
      key,
      enc,
      exportSecret: exportSecretOf(session),
      async createResponseSealer(random) {
        const responseNonce = random(responseNonceBytes(suite))
        const keys = await deriveResponseKeys(suite, session, CHUNKED_LABELS, enc, responseNonce)
        return new ChunkedResponseSealer(keys.cipher, keys.nonce, suite.Nt, responseNonce)
      },
    }
    return {
      open: (ciphertext, isFinal) => decrypting(() => session.open(ciphertext, isFinal ? FINAL_AAD : NO_BYTES)),
      tagBytes: suite.Nt,
    }
  }
}

/**
 * Chunked Oblivious HTTP (draft-ietf-ohai-chunked-ohttp-08): the client's sealing of requests. Responses are sealed in
 * `chunkSealing.ts`; both are opened in `chunkedOpener.ts`.
 *
 * ```
 * encapsulated request  = header(7) ‖ enc(Nenc) ‖ chunks        chunk sealed by the HPKE context
 * encapsulated response = nonce(max(Nn, Nk)) ‖ chunks           chunk i sealed with response nonce XOR i
 * chunks = n * { length(varint), ciphertext }, 0(varint), ciphertext of the final chunk with AAD "final"
 * ``` @module
 */
import { concatBytes } from '../bytes.ts'
import { ChunkedResponseOpener } from './chunkedOpener.ts'
import type { ChunkLimits } from './chunkReader.ts'
import { CHUNKED_LABELS, checkChunk, checkFinalChunk, FINAL_AAD, FINAL_PREFIX, splitPlaintext } from './chunkSealing.ts'
import { type Exchange, exportSecretOf, NO_BYTES, setupSender } from './exchange.ts'
import type { KeyConfig } from './keyConfig.ts'
import type { SealingSuites } from './suite.ts'
import { encodeVarint } from './varint.ts'

export interface SealedChunkedRequest extends Exchange {
  /** The whole encapsulated request, to be sent as `message/ohttp-chunked-req`. */
  readonly encapsulated: Uint8Array<ArrayBuffer>
  openResponse(limits?: ChunkLimits): ChunkedResponseOpener
}

/** Client: seals the complete `plaintext` in chunks of at most `CHUNK_BYTES_SEND`. Throws `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function sealChunkedRequest(
  suites: SealingSuites,
  config: KeyConfig,
  plaintext: Uint8Array,
): Promise<SealedChunkedRequest> {
  const sealer = await createChunkedRequestSealer(suites, config)
  const parts: Uint8Array[] = [sealer.head]
  const pieces = splitPlaintext(plaintext)
  for (const piece of pieces.slice(0, -1)) parts.push(await sealer.chunk(piece))
  parts.push(await sealer.final(pieces.at(-1) ?? NO_BYTES))
  return {
    encapsulated: concatBytes(...parts),
    enc: sealer.enc,
    exportSecret: sealer.exportSecret,
    openResponse: sealer.openResponse,
  }
}

export interface ChunkedRequestSealer extends Exchange {
  /** Header and enc, to be sent first. */
  readonly head: Uint8Array
  /** A chunk of 1 to `CHUNK_BYTES_SEND` bytes, ready to be sent. Throws `OhttpError` (`EMPTY_CHUNK`, `CHUNK_TOO_LARGE`). */
  chunk(plaintext: Uint8Array): Promise<Uint8Array>
  /** The final chunk, which may be empty. */
  final(plaintext: Uint8Array): Promise<Uint8Array>
  openResponse(limits?: ChunkLimits): ChunkedResponseOpener
}

/** Client: a chunked request sealed part by part. Throws `OhttpError` (`UNSUPPORTED_SUITE`, `BAD_KEY`). */
export async function createChunkedRequestSealer(
  suites: SealingSuites,
  config: KeyConfig,
): Promise<ChunkedRequestSealer> {
  const { suite, head, session } = await setupSender(suites, config, CHUNKED_LABELS)
  return {
    head,
    enc: session.enc,
    exportSecret: exportSecretOf(session),
    async chunk(plaintext) {
      checkChunk(plaintext)
      const ciphertext = await session.seal(plaintext, NO_BYTES)
      return concatBytes(encodeVarint(ciphertext.length), ciphertext)
    },
    async final(plaintext) {
      checkFinalChunk(plaintext)
      return concatBytes(FINAL_PREFIX, await session.seal(plaintext, FINAL_AAD))
    },
    openResponse: (limits) => new ChunkedResponseOpener(suite, session, limits),
  }
}

/** Where the command line takes attestation documents and roots from: files in any usual form, and what a gateway serves. @module */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { AttesterError } from '#node/attesters/attester.ts'
import { parseDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { readBody } from '#protocol/boundedBody.ts'
import { BytesError, decodeUtf8, fromBase64, fromHex } from '#protocol/bytes.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { PublicEvidenceSchema, type Statement } from '#protocol/wire/agentApi.ts'
import { parseJson, WireError } from '#protocol/wire/json.ts'

/** A document, and the statement that came with it. Nothing here is verified yet. */
export type EvidenceInput = { readonly document: Uint8Array; readonly statement: Statement | undefined }

/** Reads a file: a document in bytes, base64 or hex, or the JSON of /evidence. Throws `Error` with a sentence for people. */
export function readEvidence(path: string): EvidenceInput {
  return parseEvidence(readBytes(path), path)
}

/** Asks `url` for the JSON of /evidence, or for a document in any form that a file may have. Throws `Error` with a sentence for people. */
export async function fetchEvidence(url: string): Promise<EvidenceInput> {
  let response: Response
  let bytes: Uint8Array
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    bytes = await readBody(response.body, INPUT_BYTES_MAX)
  } catch (cause) {
    throw cause instanceof RangeError ? tooLong(url) : new InputError(`no answer from ${url}`, { cause })
  }
  if (!response.ok) throw new InputError(`${url} answers ${response.status}`)
  return parseEvidence(bytes, url)
}

/** The root that the person names, the development attester's file or a certificate: only its certificate counts. Throws `Error` with a sentence for people. */
export function readDevelopmentRoot(path: string): PinnedRoot {
  const bytes = readBytes(path)
  try {
    if (bytes[0] === '{'.charCodeAt(0)) return pinDevelopmentRoot(parseDevelopmentRoot(decodeUtf8(bytes)))
    return pinDevelopmentRoot({ certificate: new Uint8Array(new X509Certificate(bytes).raw) })
  } catch (cause) {
    const reason =
      cause instanceof AttesterError ? cause.message : 'expected the file of the development attester, PEM or DER'
    throw new InputError(`${path} holds no development root: ${reason}`, { cause })
  }
}

/** Longest input taken: a document of the largest size in hex, with room for a statement. */
const INPUT_BYTES_MAX = 65_536
const TIMEOUT_MS = 10_000

function parseEvidence(bytes: Uint8Array, origin: string): EvidenceInput {
  // Documents begin with a byte above 127 and never are text.
  if (bytes.some((byte) => byte > 0x7f || byte === 0)) return { document: bytes, statement: undefined }
  const text = decodeUtf8(bytes).trim()
  if (text.startsWith('{')) return parsePublicEvidence(text, origin)
  const digits = text.replace(/\s+/g, '')
  try {
    const isHex = /^(?:0x)?(?:[0-9a-fA-F]{2})+$/.test(digits)
    const document = isHex ? fromHex(digits.startsWith('0x') ? digits : `0x${digits}`) : fromBase64(digits)
    return { document, statement: undefined }
  } catch (cause) {
    if (!(cause instanceof BytesError)) throw cause
    throw new InputError(
      `${origin} is no attestation document: expected its bytes, base64, hex or the JSON of /evidence`,
      { cause },
    )
  }
}

function parsePublicEvidence(text: string, origin: string): EvidenceInput {
  try {
    return parseJson(PublicEvidenceSchema, text, 'evidence')
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new InputError(`${origin} is not what /evidence answers: ${cause.message}`, { cause })
  }
}

function readBytes(path: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = new Uint8Array(readFileSync(path))
  } catch {
    // Whatever the reason, the file is what the person has to look at.
    throw new InputError(`cannot read ${path}`)
  }
  if (bytes.length > INPUT_BYTES_MAX) throw tooLong(path)
  return bytes
}

function tooLong(origin: string): InputError {
  return new InputError(`${origin} is too long: expected at most ${INPUT_BYTES_MAX} bytes`)
}

/** What the person gave cannot be used; the message says why. */
class InputError extends Error {
  override readonly name = 'InputError'
}

/** What another enclave serves to everybody, fetched: its evidence and its key configurations. Nothing of it is believed here. @module */
import { AppError } from '#node/appError.ts'
import { readBody } from '#protocol/boundedBody.ts'
import { decodeUtf8 } from '#protocol/bytes.ts'
import { PublicEvidenceSchema } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import type { PeerDocuments } from './peerEnclave.ts'

const DOCUMENT_BYTES_MAX = 65_536

/** Fetches both from the base URL. Throws `AppError` (`PEER_FAILED`, retryable), and `WireError` for evidence that is none. */
export async function fetchPeer(url: string, timeoutMs: number): Promise<PeerDocuments> {
  const [evidence, keyConfigs] = await Promise.all(
    ['/evidence', '/ohttp-keys'].map((path) => fetchBytes(new URL(path, url), timeoutMs)),
  )
  if (evidence === undefined || keyConfigs === undefined) throw new Error('expected two documents')
  return { evidence: parseJson(PublicEvidenceSchema, decodeUtf8(evidence), 'evidence'), keyConfigs }
}

async function fetchBytes(url: URL, timeoutMs: number): Promise<Uint8Array> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) })
    if (!response.ok) {
      await response.body?.cancel()
      throw new RangeError(`expected a document, got ${response.status}`)
    }
    return await readBody(response.body, DOCUMENT_BYTES_MAX)
  } catch (cause) {
    throw new AppError('PEER_FAILED', `${url.host} serves no ${url.pathname}`, { cause, retryable: true })
  }
}

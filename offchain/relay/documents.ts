/** The public documents of gateways, fetched by the relay so that no gateway learns who asked. @module */
import { limitBody } from './limitBody.ts'

const DOCUMENT_BYTES_MAX = 65_536

/** The document's bytes; undefined when it is missing, too large, or did not come within `timeoutMs`: a client tries another gateway either way. */
export async function readDocument(url: URL, timeoutMs: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
    if (!answer.ok) {
      await answer.body?.cancel()
      return undefined
    }
    const { stream } = limitBody(answer.body, DOCUMENT_BYTES_MAX)
    return new Uint8Array(await new Response(stream).arrayBuffer())
  } catch {
    return undefined
  }
}

/** What relays serve to everybody: which gateways they lead to, and those gateways' documents. Each is bounded in time and size. @module */
import { readBody } from '#protocol/boundedBody.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { RelayDirectorySchema } from '#protocol/wire/relayApi.ts'
import { SealpathError } from './errors.ts'
import type { RelayFetch } from './options.ts'

const DOCUMENT_TIMEOUT_MS = 15_000
/** A directory of a thousand gateways, and more than any other document of a relay. */
const DOCUMENT_BYTES_MAX = 524_288

/** The relay resources of all relays that answer. Throws `SealpathError` (`RELAY_FAILED`) when none does. */
export async function readDirectories(relayUrl: string | readonly string[], ask?: RelayFetch): Promise<URL[]> {
  const relays = typeof relayUrl === 'string' ? [relayUrl] : relayUrl
  const answers = await Promise.allSettled(relays.map((url) => readDirectory(url, ask)))
  const read = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  const [first] = answers
  if (read.length === 0 && first?.status === 'rejected') throw first.reason
  return read.flat()
}

async function readDirectory(relayUrl: string, ask: RelayFetch | undefined): Promise<URL[]> {
  const text = await fetchDocumentText(new URL('/gateways', relayUrl), ask)
  try {
    const { gateways } = parseJson(RelayDirectorySchema, text, 'relay directory')
    return gateways.map(({ path }) => new URL(path, relayUrl))
  } catch (cause) {
    throw new SealpathError('RELAY_FAILED', 'the relay does not list its gateways as specified', { cause })
  }
}

/** The document as text. Throws as `fetchDocument` does. */
export async function fetchDocumentText(url: URL, ask?: RelayFetch): Promise<string> {
  return new TextDecoder().decode(await fetchDocument(url, ask))
}

/** Asks with the platform's `fetch` unless another is given. Throws `SealpathError` (`RELAY_FAILED`). */
export async function fetchDocument(url: URL, ask: RelayFetch = fetch): Promise<Uint8Array> {
  try {
    const response = await ask(url, { signal: AbortSignal.timeout(DOCUMENT_TIMEOUT_MS) })
    if (!response.ok) {
      await response.body?.cancel()
      throw new SealpathError('RELAY_FAILED', `the relay answered ${response.status} for ${url.pathname}`)
    }
    return await readBody(response.body, DOCUMENT_BYTES_MAX)
  } catch (cause) {
    if (cause instanceof SealpathError) throw cause
    if (cause instanceof RangeError) {
      throw new SealpathError('RELAY_FAILED', `the relay sent more than ${DOCUMENT_BYTES_MAX} bytes for one document`)
    }
    throw new SealpathError('RELAY_FAILED', `no answer from the relay ${url.host}`, { cause })
  }
}

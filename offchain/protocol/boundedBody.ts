/** What a peer answers, read only as far as an answer of it may reach. @module */
import { joinBytes } from './bytes.ts'

/** A body of `fetch`, or any stream of Node's. Streams of browsers may not be iterable. */
export type Body = ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>

/** The whole body, empty where there is none. Throws `RangeError` when it has more than `bytesMax` bytes, and takes no further ones from the peer. */
export async function readBody(body: Body | null, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of partsOf(body)) {
    bytes += part.length
    if (bytes > bytesMax) throw new RangeError(`expected an answer of at most ${bytesMax} bytes`)
    parts.push(part)
  }
  return joinBytes(parts)
}

/** The same as text; what is no UTF-8 becomes U+FFFD. */
export async function readBodyText(body: Body | null, bytesMax: number): Promise<string> {
  return new TextDecoder().decode(await readBody(body, bytesMax))
}

async function* partsOf(body: Body | null): AsyncGenerator<Uint8Array, void, undefined> {
  if (body === null) return
  if (!('getReader' in body)) return yield* body
  const reader = body.getReader()
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
  } finally {
    // Does nothing to a stream that has ended.
    await reader.cancel()
  }
}

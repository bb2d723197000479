/** A request body that breaks off above a size, for bodies that do not declare one. @module */

export type LimitedBody = { readonly stream: ReadableStream<Uint8Array> | null; isExceeded(): boolean }

/** `source` unchanged up to `bytesMax`; beyond it the stream errors. Nothing is held back. */
export function limitBody(source: ReadableStream<Uint8Array> | null, bytesMax: number): LimitedBody {
  if (source === null) return { stream: null, isExceeded: () => false }
  let seen = 0
  const limiter = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      seen += chunk.length
      if (seen > bytesMax) controller.error(new RangeError('body too large'))
      else controller.enqueue(chunk)
    },
  })
  // The pipe rejects when either side ends early; whoever reads the stream sees that as an error.
  source.pipeTo(limiter.writable).catch(() => {})
  return { stream: limiter.readable, isExceeded: () => seen > bytesMax }
}

/** Leaves of logs from an aggregator's tiles: docs/spec.md section 8. Whose leaves they are is for the settled roots to say. @module */
import type { Hex } from '#protocol/bytes.ts'
import { TILE_WIDTH } from '#protocol/log/tiles.ts'

/** `width` leaves, 32 bytes each, or why there are none. */
export type LeafTile =
  | { readonly ok: true; readonly leaves: Uint8Array }
  | { readonly ok: false; readonly reason: string }

export type LeafSource = {
  readonly url: string
  /** The first `width` leaves from `index * 256` on. Never throws. */
  read(enclave: Hex, index: number, width: number): Promise<LeafTile>
}

const LEAF_BYTES = 32
const TIMEOUT_MS = 15_000
const ATTEMPTS = 3
const PAUSE_MS = 500

export function openLeafSource(url: string): LeafSource {
  const base = url.endsWith('/') ? url.slice(0, -1) : url
  return {
    url,
    async read(enclave, index, width) {
      const query = width === TILE_WIDTH ? '' : `?width=${width}`
      const place = `${base}/v1/tiles/${enclave}/0/${index}${query}`
      for (let attempt = 1; ; attempt++) {
        const answer = await readOnce(place, width * LEAF_BYTES)
        if (typeof answer !== 'string') return { ok: true, leaves: answer }
        if (answer === MISSING || attempt === ATTEMPTS) return { ok: false, reason: answer }
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      }
    },
  }
}

const MISSING = 'it does not have them'

/** The body, which must have `length` bytes, or a sentence about what came instead. */
async function readOnce(url: string, length: number): Promise<Uint8Array | string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
    if (!response.ok) {
      await response.body?.cancel()
      return response.status === 404 ? MISSING : `it answered with status ${response.status}`
    }
    const body = new Uint8Array(length)
    let size = 0
    for await (const part of response.body ?? []) {
      if (size + part.length > length) return 'it answered with more than was asked for'
      body.set(part, size)
      size += part.length
    }
    return size === length ? body : 'it answered with less than was asked for'
  } catch {
    // Refused, cut or too slow: to the audit it is all the same.
    return 'it does not answer'
  }
}

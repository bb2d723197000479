/** How much a message may be unless its reader says otherwise. The framing: chunkedOhttp.test.ts. @module */
import { expect, it } from 'vitest'
import { CHUNK_LIMITS, ChunkReader } from './chunkReader.ts'

it('takes messages of 67,108,864 bytes and not one more', () => {
  const reader = new ChunkReader(CHUNK_LIMITS)
  reader.append(new Uint8Array(67_108_864))
  expect(() => reader.append(new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }))
})

/** HKDF-SHA256 as node:crypto has it whole, for salts below, at and above the block of the hash. */
import { hkdfSync } from 'node:crypto'
import { expect, it } from 'vitest'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { nodeHkdfSha256 } from './nodeAlgorithms.ts'

it.each([0, 1, 32, 63, 64, 65, 1152])(
  'derives what node:crypto derives under a salt of %i bytes',
  async (saltBytes) => {
    const salt = Uint8Array.from({ length: saltBytes }, (_, i) => i + 1)
    const secret = Uint8Array.from({ length: 48 }, (_, i) => 7 * i)
    const info = encodeUtf8('what for')
    const kdf = nodeHkdfSha256()
    const given = salt.slice()
    const prk = await kdf.Extract(given, secret)
    for (const lengthBytes of [1, 32, 33, 100]) {
      const expected = new Uint8Array(hkdfSync('sha256', secret, salt, info, lengthBytes))
      expect(toHex(await kdf.Expand(prk, info, lengthBytes))).toBe(toHex(expected))
    }
    // Its own buffers are wiped, and nobody else's.
    expect(given).toEqual(salt)
  },
)

import { expect, it } from 'vitest'
import { fromHex, type Hex, toHex } from '../bytes.ts'
import { collapseSignature, expandSignature, signDigest } from './head.ts'

const KEY = new Uint8Array(32).fill(1)
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const signatures = Array.from({ length: 16 }, (_, i) => signDigest(toHex(new Uint8Array(32).fill(i)), KEY))

it('a signature has one form of 64 bytes and one of 65, with either parity', () => {
  for (const signature of signatures) expect(collapseSignature(expandSignature(signature))).toEqual(signature)
  expect(new Set(signatures.map((signature) => expandSignature(signature).slice(-2)))).toEqual(new Set(['1b', '1c']))
})

it('a signature of 65 bytes is none with a v besides 27 and 28, or with a high s', () => {
  for (const signature of signatures) {
    const expanded = expandSignature(signature)
    for (const v of ['00', '01', '1a', '1d', 'ff']) {
      expect(collapseSignature(`${expanded.slice(0, -2)}${v}` as Hex)).toBeUndefined()
    }
    // The same signature's other form: n - s and the other parity.
    const s = ORDER - BigInt(toHex(fromHex(expanded, 65).subarray(32, 64)))
    const high = `${expanded.slice(0, 66)}${s.toString(16).padStart(64, '0')}${expanded.endsWith('1b') ? '1c' : '1b'}`
    expect(collapseSignature(high as Hex)).toBeUndefined()
  }
})

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromHex, toHex } from '#protocol/bytes.ts'
import { generateAttestation, isFresh } from '../../scripts/attestation/generate.ts'
import { type AttestationChain, deployAttestation } from '../../scripts/attestation/measure.ts'
import { seededNumbers } from '../../scripts/attestation/p384Cases.ts'
import { deployCaller } from '../support/cryptographyCaller.ts'

const GAS_PER_BLOCK_MAX = 20_500

let chain: AttestationChain
beforeAll(async () => {
  chain = await deployAttestation()
})
afterAll(async () => {
  await chain.close()
})

/** `length` bytes that follow from the length. */
function message(length: number): Uint8Array {
  const next = seededNumbers(`message of ${length}`)
  const digits = Array.from({ length: Math.ceil(length / 48) }, () => next().toString(16).padStart(96, '0')).join('')
  return fromHex(`0x${digits}`).subarray(0, length)
}

function digest(bytes: Uint8Array): string {
  return `0x${createHash('sha384').update(bytes).digest('hex')}`
}

describe('SHA-384 on chain', () => {
  it('has the generator’s code, and the committed files are what the generators write', async () => {
    for (const file of generateAttestation()) expect(isFresh(file), file.url.pathname).toBe(true)
  })

  it('gives the digests of FIPS 180-4’s examples', async () => {
    const empty = await chain.call(chain.sha384, new Uint8Array(0))
    expect(toHex(empty.data)).toBe(
      '0x38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b',
    )
    const abc = await chain.call(chain.sha384, fromHex('0x616263'))
    expect(toHex(abc.data)).toBe(
      '0xcb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7',
    )
  })

  it('agrees with node:crypto on every length from 0 to 300 and on long messages, 48 bytes each', async () => {
    const lengths = [...Array.from({ length: 301 }, (_, length) => length), 1023, 1024, 4441, 10_000, 65_537]
    for (const length of lengths) {
      const bytes = message(length)
      const { data } = await chain.call(chain.sha384, bytes)
      expect(toHex(data), `length ${length}`).toBe(digest(bytes))
    }
  })

  it('agrees with node:crypto on bytes of all ones and of all zeros', async () => {
    for (const byte of [0x00, 0x80, 0xff]) {
      const bytes = new Uint8Array(500).fill(byte)
      expect(toHex((await chain.call(chain.sha384, bytes)).data)).toBe(digest(bytes))
    }
  })

  it('agrees with the plain Solidity reference, also as a contract calls it', async () => {
    const caller = await deployCaller(chain)
    for (const length of [0, 1, 111, 112, 127, 128, 129, 240, 700]) {
      const hex = toHex(message(length))
      const expected = await caller.referenceDigestOf(hex)
      expect(expected).toBe(digest(message(length)))
      expect(await caller.digestOf(chain.sha384, hex)).toBe(expected)
    }
  })

  it('is not mistaken for an account without code', async () => {
    const caller = await deployCaller(chain)
    await expect(caller.digestOf(`0x${'11'.repeat(20)}`, '0x616263')).rejects.toThrow(/Sha384NoAnswer/)
  })

  it('costs at most 20,500 gas for each block of 128 bytes', async () => {
    const none = await chain.gasOf(chain.sha384, new Uint8Array(0))
    for (const blocks of [1, 8, 35]) {
      const gas = await chain.gasOf(chain.sha384, new Uint8Array(128 * blocks))
      expect(Number(gas - none) / blocks).toBeLessThanOrEqual(GAS_PER_BLOCK_MAX)
    }
  })
})

import { AbiCoder, id, keccak256 } from 'ethers'
import { describe, expect, it } from 'vitest'
import { measurementOf, TEE_TYPE_NITRO } from './measurement.ts'

const PCRS = [1, 2, 3].map((value) => new Uint8Array(48).fill(value))
const [PCR0 = new Uint8Array(), PCR1 = new Uint8Array(), PCR2 = new Uint8Array()] = PCRS

describe('measurement', () => {
  it('is the hash of the type and the three PCRs in ABI encoding, as ethers makes it', () => {
    const encoded = AbiCoder.defaultAbiCoder().encode(
      ['bytes32', 'bytes', 'bytes', 'bytes'],
      [id('aws-nitro'), PCR0, PCR1, PCR2],
    )
    expect(TEE_TYPE_NITRO).toBe(id('aws-nitro'))
    expect(measurementOf('nitro', PCR0, PCR1, PCR2)).toBe(keccak256(encoded))
    expect(measurementOf('development', PCR0, PCR1, PCR2)).toBe(keccak256(encoded))
  })

  it('differs for the same PCRs in another order', () => {
    const orders = [
      measurementOf('nitro', PCR0, PCR1, PCR2),
      measurementOf('nitro', PCR1, PCR0, PCR2),
      measurementOf('nitro', PCR0, PCR2, PCR1),
    ]
    expect(new Set(orders).size).toBe(3)
  })
})

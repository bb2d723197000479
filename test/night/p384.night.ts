import { p384 } from '@noble/curves/nist.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toHex } from '#protocol/bytes.ts'
import { encodeP384Call, makeP384Hints } from '#protocol/evidence/p384Hints.ts'
import { verifyP384Model } from '#protocol/evidence/p384ModelVerify.ts'
import { type AttestationChain, deployAttestation } from '../../scripts/attestation/measure.ts'
import { edgeCases, randomCases } from '../../scripts/attestation/p384Cases.ts'
import { deployReference } from '../support/cryptographyCaller.ts'
import { answerOf, flipBits } from '../support/p384Answers.ts'

const FLIPS = 2_000
const SIGNATURES_FLIPPED = 4
const ORACLE_GAS = 400_000_000n
const ORACLE_CASES = 12

let chain: AttestationChain
beforeAll(async () => {
  chain = await deployAttestation()
})
afterAll(async () => {
  await chain.close()
})

describe('P-384 on chain, the long run', () => {
  it('accepts every edge case and 200 random signatures, as model and @noble/curves do', async () => {
    for (const { name, input } of [...edgeCases(), ...randomCases('night', 200)]) {
      const { hash, signature, publicKey } = input
      const options = { prehash: false, lowS: false, format: 'compact' } as const
      expect(p384.verify(signature, hash, publicKey, options), name).toBe(true)
      const call = encodeP384Call(input, makeP384Hints(input))
      expect(verifyP384Model(call), name).toBe('ACCEPTED')
      expect(await answerOf(chain, call), name).toBe('ACCEPTED')
    }
  })

  it('accepts none of 2,000 single flipped bits, and gives the model’s reasons', async () => {
    for (const [index, { input }] of randomCases('night flips', SIGNATURES_FLIPPED).entries()) {
      const call = encodeP384Call(input, makeP384Hints(input))
      for (const { at, data } of flipBits(call, `night ${index}`, FLIPS / SIGNATURES_FLIPPED)) {
        const answer = await answerOf(chain, data)
        expect(answer, `signature ${index} byte ${at}`).not.toBe('ACCEPTED')
        expect(answer, `signature ${index} byte ${at}`).toBe(verifyP384Model(data))
      }
    }
  })

  it('agrees with the slow Solidity verifier on valid and spoilt signatures', async () => {
    const slow = await deployAttestation({ gasCap: ORACLE_GAS })
    try {
      const verify = await deployReference(slow)
      const edges = edgeCases()
      const cases = Array.from({ length: ORACLE_CASES }, (_, i) => edges[i * Math.floor(edges.length / ORACLE_CASES)])
      for (const [index, edge] of cases.entries()) {
        if (edge === undefined) throw new Error('expected a case')
        const call = encodeP384Call(edge.input, new Uint8Array(0))
        expect(await verify(toHex(call)), edge.name).toBe(true)
        if (index % 3 !== 0) continue
        const spoilt = { ...edge.input, hash: edge.input.hash.map((byte, i) => (i === 47 ? byte ^ 1 : byte)) }
        expect(await verify(toHex(encodeP384Call(spoilt, new Uint8Array(0)))), edge.name).toBe(false)
        expect(() => makeP384Hints(spoilt)).toThrow(expect.objectContaining({ code: 'BAD_SIGNATURE' }))
      }
    } finally {
      await slow.close()
    }
  })
})

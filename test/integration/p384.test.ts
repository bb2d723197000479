import { p384 } from '@noble/curves/nist.js'
import { toFunctionSelector } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, decodeUint, encodeUint, fromHex, joinBytes, toHex } from '#protocol/bytes.ts'
import { buildChain, encodeGeneratorTable } from '#protocol/evidence/p384Chain.ts'
import { encodeP384Call, makeP384Hints, type P384Input } from '#protocol/evidence/p384Hints.ts'
import { GENERATOR, mod, N, P } from '#protocol/evidence/p384Model.ts'
import { verifyP384Model } from '#protocol/evidence/p384ModelVerify.ts'
import type { P384Reason } from '#protocol/evidence/p384Reasons.ts'
import { type AttestationChain, deployAttestation, measureP384 } from '../../scripts/attestation/measure.ts'
import { edgeCases, randomCases } from '../../scripts/attestation/p384Cases.ts'
import { REFUSED_SELECTOR } from '../../scripts/attestation/p384Layout.ts'
import { deployCaller, deployReference } from '../support/cryptographyCaller.ts'
import { nitroSignatures } from '../support/nitroSignatures.ts'
import { answerOf, flipBits } from '../support/p384Answers.ts'

const GAS_MAX = 600_000
const HINT_BYTES_MAX = 15_800
const FLIPS = 270
const ORACLE_GAS = 400_000_000n
/** Every which edge case the commit tier runs; the night tier runs them all. */
const EDGE_STRIDE = 4
const FIRST_OPERATION = 1058

let chain: AttestationChain
beforeAll(async () => {
  chain = await deployAttestation()
})
afterAll(async () => {
  await chain.close()
})

const [SAMPLE] = randomCases('sample', 1)
if (SAMPLE === undefined) throw new Error('expected a case')
const { input: INPUT } = SAMPLE
const HINTS = makeP384Hints(INPUT)
const CALL = encodeP384Call(INPUT, HINTS)

/** The sample's calldata with `bytes` at `at`. */
function replaced(at: number, bytes: Uint8Array): Uint8Array {
  const data = CALL.slice()
  data.set(bytes, at)
  return data
}

describe('valid signatures', () => {
  it('are accepted: random ones, as the model says', async () => {
    for (const { name, input } of randomCases('valid', 40)) {
      const call = encodeP384Call(input, makeP384Hints(input))
      expect(verifyP384Model(call), name).toBe('ACCEPTED')
      expect(await answerOf(chain, call), name).toBe('ACCEPTED')
    }
  })

  it('are accepted: edge cases, which @noble/curves takes for valid too', async () => {
    const cases = edgeCases().filter((_, index) => index % EDGE_STRIDE === 0)
    expect(cases.length).toBeGreaterThan(100)
    for (const { name, input } of cases) {
      const { hash, signature, publicKey } = input
      expect(p384.verify(signature, hash, publicKey, { prehash: false, lowS: false, format: 'compact' }), name).toBe(
        true,
      )
      const call = encodeP384Call(input, makeP384Hints(input))
      expect(await answerOf(chain, call), name).toBe('ACCEPTED')
      expect(verifyP384Model(call), name).toBe('ACCEPTED')
    }
  })

  it('are accepted with both s', async () => {
    const { hash, signature, publicKey } = INPUT
    const s = encodeUint(N - decodeUint(signature.subarray(48)), 48)
    const twin = { hash, signature: concatBytes(signature.subarray(0, 48), s), publicKey }
    expect(await answerOf(chain, encodeP384Call(twin, makeP384Hints(twin)))).toBe('ACCEPTED')
  })

  it('are what the slow Solidity verifier says too', async () => {
    const slow = await deployAttestation({ gasCap: ORACLE_GAS })
    try {
      const verify = await deployReference(slow)
      expect(await verify(toHex(CALL.subarray(0, 240)))).toBe(true)
      for (const spoilt of [replaced(48, new Uint8Array(48)), replaced(239, Uint8Array.of((CALL[239] ?? 0) ^ 1))]) {
        expect(await verify(toHex(spoilt.subarray(0, 240)))).toBe(false)
      }
    } finally {
      await slow.close()
    }
  })
})

const DOCUMENTS = nitroSignatures()
if (DOCUMENTS.length === 0) console.warn('skipped: vectors/nitro is absent, real signatures are not verified on chain')
describe.skipIf(DOCUMENTS.length === 0)('real AWS documents', () => {
  it('have every signature accepted on chain, hashed on chain', async () => {
    for (const { name, signatures } of DOCUMENTS) {
      if (name.startsWith('nitro-')) expect(signatures.length, name).toBeGreaterThanOrEqual(5)
      for (const { message, signature, publicKey } of signatures) {
        const { data: hash } = await chain.call(chain.sha384, message)
        const input = { hash, signature, publicKey }
        expect(await answerOf(chain, encodeP384Call(input, makeP384Hints(input))), name).toBe('ACCEPTED')
      }
    }
  })
})

describe('refusals', () => {
  const [hash, r, s] = [CALL.subarray(0, 48), CALL.subarray(48, 96), CALL.subarray(96, 144)]
  const number = (value: bigint) => encodeUint(value, 48)
  const operation = (value: number) => replaced(FIRST_OPERATION, encodeUint(BigInt(value), 2))
  const x = decodeUint(CALL.subarray(144, 192))
  const y = decodeUint(CALL.subarray(192, 240))
  const yR = decodeUint(CALL.subarray(241, 289))
  /** Chains of our own on top of the sample's tables: hash, r, s are those of the sample. */
  const stream = (...parts: readonly Uint8Array[]) => joinBytes([CALL.subarray(0, FIRST_OPERATION - 1), ...parts])
  const op = (value: number) => encodeUint(BigInt(value), 2)
  const slope = new Uint8Array(48)

  const cases: readonly (readonly [string, P384Reason, Uint8Array])[] = [
    ['r = 0', 'SIGNATURE_RANGE', replaced(48, number(0n))],
    ['s = 0', 'SIGNATURE_RANGE', replaced(96, number(0n))],
    ['r = n', 'SIGNATURE_RANGE', replaced(48, number(N))],
    ['s = n', 'SIGNATURE_RANGE', replaced(96, number(N))],
    ['r of all ones', 'SIGNATURE_RANGE', replaced(48, number(2n ** 384n - 1n))],
    ['x = p', 'KEY_RANGE', replaced(144, number(P))],
    ['y = p', 'KEY_RANGE', replaced(192, number(P))],
    ['x of all ones', 'KEY_RANGE', replaced(144, number(2n ** 384n - 1n))],
    ['a key off the curve', 'KEY_NOT_ON_CURVE', replaced(192, number(mod(y + 1n, P)))],
    ['the key (0, 0)', 'KEY_NOT_ON_CURVE', replaced(144, new Uint8Array(96))],
    ['x and y exchanged', 'KEY_NOT_ON_CURVE', replaced(144, concatBytes(number(y), number(x)))],
    ['the flag 2', 'POINT_RANGE', replaced(240, Uint8Array.of(2))],
    ['r + n ≥ p', 'POINT_RANGE', replaced(240, Uint8Array.of(1))],
    ['y_R = p', 'POINT_RANGE', replaced(241, number(P))],
    ['R off the curve', 'POINT_NOT_ON_CURVE', replaced(241, number(mod(yR + 1n, P)))],
    ['another r', 'POINT_NOT_ON_CURVE', replaced(48, number(offCurve(decodeUint(r))))],
    ['−R for R', 'SLOPE', replaced(241, number(P - yR))],
    ['a tangent of the table', 'SLOPE', replaced(289, slope)],
    ['a chord of the table', 'SLOPE', replaced(337, slope)],
    ['201 doublings', 'STREAM', replaced(FIRST_OPERATION - 1, Uint8Array.of(201))],
    ['a first operation with doublings', 'STREAM', operation(0x1800)],
    ['a first operation that subtracts', 'STREAM', operation(0x0a00)],
    ['a first operation that is the last', 'STREAM', operation(0x0900)],
    ['a first operation without a point', 'STREAM', operation(0x0400)],
    ['entry 255 of G’s table', 'STREAM', operation(0x00ff)],
    ['entry 8 of Q’s table, which is R’s entry 0', 'STREAM', operation(0x0808)],
    ['entry 8 of R’s table', 'STREAM', operation(0x0c08)],
    ['entry 255 of R’s table', 'STREAM', operation(0x0cff)],
    ['a run of doublings that is the last', 'STREAM', stream(Uint8Array.of(0), op(0x0800), op(0x0501))],
    ['a point of no kind', 'STREAM', stream(Uint8Array.of(0), op(0x0800), op(0x1400))],
    ['Q + Q as an addition', 'EXCEPTIONAL', stream(Uint8Array.of(0), op(0x0800), op(0x0800), slope)],
    ['Q − Q that is not the last', 'EXCEPTIONAL', stream(Uint8Array.of(0), op(0x0800), op(0x0a00), slope)],
    ['2Q + Q through Q + Q', 'EXCEPTIONAL', stream(Uint8Array.of(1), op(0x0800), op(0x1800), slope, slope)],
    ['Q + Q as the end', 'SUM', stream(Uint8Array.of(0), op(0x0800), op(0x0900))],
    ['Q − R as the end', 'SUM', stream(Uint8Array.of(0), op(0x0800), op(0x0f00))],
    ['Q − Q, where R has no weight', 'WEIGHT', stream(Uint8Array.of(0), op(0x0800), op(0x0b00))],
    ['R − R', 'WEIGHT', stream(Uint8Array.of(0), op(0x0c00), op(0x0f00))],
    ['R − R with a doubling too many', 'STREAM', stream(Uint8Array.of(1), op(0x0c00), op(0x0f00))],
    ['another hash', 'SCALAR_G', replaced(0, number(decodeUint(hash) ^ 1n))],
    ['another s', 'SCALAR_Q', replaced(96, number(N - decodeUint(s)))],
    ['a byte more', 'LENGTH', concatBytes(CALL, Uint8Array.of(0))],
    ['48 bytes more', 'LENGTH', concatBytes(CALL, CALL.subarray(-48))],
  ]

  it.each(cases)('%s: %s', async (_, reason, data) => {
    expect(await answerOf(chain, data)).toBe(reason)
    expect(verifyP384Model(data)).toBe(reason)
  })

  it('the weight of Q cannot be left out, even if R is a known multiple of G', async () => {
    // R = 7·G, so 7·G − R = O shows nothing about Q.
    const nonce = 7n
    const point = p384.Point.BASE.multiply(nonce).toAffine()
    const q = { x, y }
    const chainBytes = buildChain({ g: nonce, q: 0n, r: -1n }, q, point, 200)
    if (chainBytes === undefined) throw new Error('expected a chain')
    const head = joinBytes([hash, number(mod(point.x, N)), s, number(x), number(y), Uint8Array.of(0), number(point.y)])
    const data = concatBytes(head, chainBytes)
    expect(await answerOf(chain, data)).toBe('SCALAR_Q')
    expect(verifyP384Model(data)).toBe('SCALAR_Q')
  })

  it('a call with no data, or cut at any field, operation or byte near the end', async () => {
    const lengths = [0, 1, 47, 48, 96, 144, 192, 239, 240, 241, 288, 289, 337, 1056, 1057, 1058, 1060, 5_000]
    for (let less = 1; less <= 60; less++) lengths.push(CALL.length - less)
    for (const length of lengths) {
      const data = CALL.subarray(0, length)
      expect(await answerOf(chain, data), `length ${length}`).not.toBe('ACCEPTED')
    }
  })

  it('every single flipped bit of a sample, with the reason that the model gives', async () => {
    for (const { at, data } of flipBits(CALL, 'commit', FLIPS)) {
      const answer = await answerOf(chain, data)
      expect(answer, `byte ${at}`).not.toBe('ACCEPTED')
      expect(answer, `byte ${at}`).toBe(verifyP384Model(data))
    }
  })

  it('hints of another signature, key or hash', async () => {
    const [a, b] = randomCases('crossed', 2)
    if (a === undefined || b === undefined) throw new Error('expected two cases')
    const hints = makeP384Hints(a.input)
    const mixes: readonly P384Input[] = [
      b.input,
      { ...a.input, publicKey: b.input.publicKey },
      { ...a.input, hash: b.input.hash },
    ]
    for (const mix of mixes) expect(await answerOf(chain, encodeP384Call(mix, hints))).not.toBe('ACCEPTED')
  })
})

describe('the deployment', () => {
  it('has the table that the generator makes and refuses any other', async () => {
    const client = await chain.connection.viem.getPublicClient()
    expect(await client.getCode({ address: chain.table })).toBe(toHex(encodeGeneratorTable()))
    const { viem } = chain.connection
    await expect(viem.deployContract('P384Verifier', [chain.sha384])).rejects.toThrow(/P384WrongTable/)
    await expect(viem.deployContract('P384Verifier', [`0x${'11'.repeat(20)}`])).rejects.toThrow(/P384WrongTable/)
  })

  it('reverts with the selector of P384Refused(uint256)', () => {
    expect(toFunctionSelector('P384Refused(uint256)')).toBe(REFUSED_SELECTOR)
  })

  it('is asked by contracts through P384.accepts, which takes no account without code for it', async () => {
    const caller = await deployCaller(chain)
    expect(await caller.accepts(chain.p384, toHex(CALL))).toBe(true)
    expect(await caller.accepts(chain.p384, toHex(replaced(0, new Uint8Array(1))))).toBe(false)
    expect(await caller.accepts(`0x${'11'.repeat(20)}`, toHex(CALL))).toBe(false)
    expect(await caller.accepts(chain.sha384, toHex(CALL))).toBe(false)
  })
})

describe('gas', () => {
  it('of MODEXP is that of EIP-7883 on the network used', async () => {
    const modexp = `0x${'5'.padStart(40, '0')}` as const
    const identity = `0x${'4'.padStart(40, '0')}` as const
    const input = (base: number, exponent: Uint8Array, modulus: number) =>
      joinBytes([
        ...[base, exponent.length, modulus].map((length) => encodeUint(BigInt(length), 32)),
        new Uint8Array(base).fill(0xab),
        exponent,
        new Uint8Array(modulus).fill(0xff),
      ])
    const ones = new Uint8Array(48).fill(0xff)
    // max(500, complexity · iterations): 16 if at most 32 bytes, else 2·ceil(bytes/8)²; 16·(bytes of exponent − 32) + bits of its first 32 − 1.
    const expected: readonly (readonly [Uint8Array, number])[] = [
      [input(96, fromHex('0x01'), 48), 500],
      [input(32, ones.subarray(0, 32), 32), 16 * 255],
      [input(48, ones, 48), 2 * 36 * (16 * 16 + 255)],
      [input(64, new Uint8Array(64).fill(0xff), 64), 2 * 64 * (16 * 32 + 255)],
    ]
    for (const [data, gas] of expected) {
      const identityGas = 15 + 3 * Math.ceil(data.length / 32)
      const difference = Number((await chain.gasOf(modexp, data)) - (await chain.gasOf(identity, data)))
      expect(difference + identityGas).toBe(gas)
    }
  })

  it('of a verification and bytes of its hints are within their bounds', async () => {
    const { gas, hintBytes, sha384Block, deployment } = await measureP384(12)
    expect(gas.max).toBeLessThanOrEqual(GAS_MAX)
    expect(gas.min).toBeGreaterThan(300_000)
    expect(hintBytes.max).toBeLessThanOrEqual(HINT_BYTES_MAX)
    expect(sha384Block).toBeLessThanOrEqual(20_500)
    for (const used of Object.values(deployment)) expect(Number(used)).toBeLessThan(16_777_216)
  })
})

/** A number near `r` that is the x of no point. */
function offCurve(r: bigint): bigint {
  for (let value = r + 1n; ; value++) {
    try {
      p384.Point.fromHex(`02${value.toString(16).padStart(96, '0')}`)
    } catch {
      // No point has this x: it is the one sought.
      return value
    }
  }
}

it('the base point of the model is that of the curve', () => {
  expect(p384.Point.BASE.toAffine()).toEqual(GENERATOR)
})

/** Spoilt evidence: every flipped bit and every cut is refused on chain with the client's code, whatever part it hits, at no more gas. @module */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, fromHex, toHex } from '#protocol/bytes.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { seededNumbers } from '../../scripts/attestation/p384Cases.ts'
import { type EvidenceChain, startEvidenceChain } from '../support/evidenceChain.ts'
import { readEvidenceVector } from '../support/evidenceVector.ts'
import { askClient, codeOnChain, countCodes, flipBit, isHintCode, splitHints } from '../support/mutations.ts'

/** Half of them in the document, half in the hints. */
const FLIPS = 2_000
const SEED = 'nitro mutation 1'
/** Steps that share no factor with the sizes of fields. */
const DOCUMENT_STEP = 61
const HINTS_STEP = 499
/** A refusal may cost a little more than the acceptance: a flipped length can make the contract read on before it finds out. */
const GAS_PERCENT_MAX = 105n

const VECTOR = readEvidenceVector()
const ROOT = { certificate: fromHex(VECTOR.root), isDevelopment: true }
const DOCUMENT = fromHex(VECTOR.document)
const COLD = fromHex(VECTOR.hints)
const WARM = makeNitroHints(
  DOCUMENT,
  authorityIds(DOCUMENT).map(() => true),
)
const TIME = BigInt(VECTOR.issuedAt)

let chain: EvidenceChain
let gasMax: bigint

beforeAll(async () => {
  chain = await startEvidenceChain(ROOT, VECTOR.issuedAt)
  await chain.send('verify', [VECTOR.document, VECTOR.hints])
  gasMax = ((await chain.ask(DOCUMENT, WARM, { time: TIME })).gas * GAS_PERCENT_MAX) / 100n
})
afterAll(() => chain?.close())

/** The contract's code. No answer but EvidenceRefused passes `ask`; running out of gas anywhere inside would show in the gas. */
async function refusalOf(document: Uint8Array, hints: Uint8Array, what: string): Promise<string> {
  const { code, gas } = await chain.ask(document, hints, { time: TIME })
  expect(code, what).not.toBe('ACCEPTED')
  expect(gas, what).toBeLessThanOrEqual(gasMax)
  return code
}

it('the document of every run is accepted by client and contract, with the hints that the hint maker makes', async () => {
  expect(askClient(DOCUMENT, ROOT, TIME)).toBe('ACCEPTED')
  const hints = makeNitroHints(
    DOCUMENT,
    authorityIds(DOCUMENT).map(() => false),
  )
  expect(hints).toEqual(COLD)
  expect((await chain.ask(DOCUMENT, WARM, { time: TIME })).code).toBe('ACCEPTED')
})

describe('under cached CA certificates', () => {
  it('the contract refuses 1,000 flipped bits of the document with the code of the client', async () => {
    const next = seededNumbers(`${SEED} document`)
    const codes: string[] = []
    for (let i = 0; i < FLIPS / 2; i++) {
      const bit = Number(next() % BigInt(8 * DOCUMENT.length))
      const spoilt = flipBit(DOCUMENT, bit)
      const client = askClient(spoilt, ROOT, TIME)
      expect(client, `bit ${bit}`).not.toBe('ACCEPTED')
      const code = await refusalOf(spoilt, WARM, `bit ${bit}`)
      expect(code, `bit ${bit}`).toBe(codeOnChain(DOCUMENT, bit >> 3, client))
      codes.push(code)
    }
    console.info(`seed '${SEED}', document: ${countCodes(codes)}`)
  })

  it('the contract refuses 1,000 flipped bits of the hints, which no client sees', async () => {
    const next = seededNumbers(`${SEED} hints`)
    const codes: string[] = []
    for (let i = 0; i < FLIPS / 2; i++) {
      const bit = Number(next() % BigInt(8 * WARM.length))
      const code = await refusalOf(DOCUMENT, flipBit(WARM, bit), `bit ${bit}`)
      expect(isHintCode(WARM, bit >> 3, code), `bit ${bit}: ${code}`).toBe(true)
      codes.push(code)
    }
    console.info(`seed '${SEED}', hints: ${countCodes(codes)}`)
  })

  it('every bit of the lengths before the hints is refused', async () => {
    const [leaf = new Uint8Array()] = splitHints(WARM)
    for (const at of [0, 1, 2 + leaf.length, 3 + leaf.length]) {
      for (let bit = 8 * at; bit < 8 * at + 8; bit++) {
        const code = await refusalOf(DOCUMENT, flipBit(WARM, bit), `bit ${bit}`)
        expect(isHintCode(WARM, at, code), `bit ${bit}: ${code}`).toBe(true)
      }
    }
  })

  it('a document that is cut is refused as such, and so is one byte more', async () => {
    for (let length = 0; length < DOCUMENT.length; length += DOCUMENT_STEP) {
      const cut = DOCUMENT.subarray(0, length)
      expect(await refusalOf(cut, WARM, `length ${length}`)).toBe('CBOR_TRUNCATED')
      expect(askClient(cut, ROOT, TIME)).toBe('CBOR_TRUNCATED')
    }
    const longer = concatBytes(DOCUMENT, Uint8Array.of(0))
    expect(await refusalOf(longer, WARM, 'a byte more')).toBe('CBOR_TRAILING_BYTES')
    expect(askClient(longer, ROOT, TIME)).toBe('CBOR_TRAILING_BYTES')
  })

  it('hints that are cut are refused as such, and so is one byte more', async () => {
    const [leaf = new Uint8Array()] = splitHints(WARM)
    const lengths = [0, 1, 2, 3, 1 + leaf.length, 2 + leaf.length, 3 + leaf.length, 4 + leaf.length, WARM.length - 1]
    for (let length = HINTS_STEP; length < WARM.length; length += HINTS_STEP) lengths.push(length)
    for (const length of lengths) {
      expect(await refusalOf(DOCUMENT, WARM.subarray(0, length), `length ${length}`)).toBe('HINTS_LENGTH')
    }
    const longer = concatBytes(WARM, Uint8Array.of(0))
    expect(await refusalOf(DOCUMENT, longer, 'a byte more')).toBe('HINTS_LENGTH')
  })

  it('hints that are cut and say so are refused by the signature', async () => {
    const [leaf = new Uint8Array(), last = new Uint8Array()] = splitHints(WARM)
    const stream = (...parts: readonly Uint8Array[]) =>
      concatBytes(...parts.flatMap((part) => [encodeUint(BigInt(part.length), 2), part]))
    for (let length = 0; length < last.length; length += HINTS_STEP) {
      const what = `length ${length}`
      expect(await refusalOf(DOCUMENT, stream(leaf, last.subarray(0, length)), what)).toBe('BAD_DOCUMENT_SIGNATURE')
      const cutLeaf = leaf.subarray(0, Math.min(length, leaf.length - 1))
      expect(await refusalOf(DOCUMENT, stream(cutLeaf, last), what)).toBe('BAD_CHAIN_SIGNATURE')
    }
    const longer = stream(leaf, concatBytes(last, new Uint8Array(48)))
    expect(await refusalOf(DOCUMENT, longer, '48 bytes more')).toBe('BAD_DOCUMENT_SIGNATURE')
  })
})

describe('of a cold chain', () => {
  it('each signature fails alone by one flipped bit of its hints, and no failed transaction leaves a CA certificate cached', async () => {
    const fresh = await startEvidenceChain(ROOT, VECTOR.issuedAt)
    try {
      let at = 0
      const parts = splitHints(COLD)
      expect(parts.length).toBe(5)
      for (const [index, part] of parts.entries()) {
        const spoilt = flipBit(COLD, 8 * (at + 2 + (part.length >> 1)))
        const { code } = await fresh.ask(DOCUMENT, spoilt, { time: TIME })
        expect(code, `signature ${index}`).toBe(index < 4 ? 'BAD_CHAIN_SIGNATURE' : 'BAD_DOCUMENT_SIGNATURE')
        await expect(fresh.send('verify', [VECTOR.document, toHex(spoilt)])).rejects.toThrow()
        at += 2 + part.length
      }
      // Were a CA certificate cached, its hints would be left over.
      expect((await fresh.ask(DOCUMENT, COLD, { time: TIME })).code).toBe('ACCEPTED')
    } finally {
      await fresh.close()
    }
  })
})

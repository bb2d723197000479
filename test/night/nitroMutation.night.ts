/** Every single flipped bit and every cut of one document and of the hints of one signature, on chain and in the client. @module */
import { sha384 } from '@noble/hashes/sha2.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeUint, fromHex, toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { encodeP384Call, makeP384Hints } from '#protocol/evidence/p384Hints.ts'
import { P384_REASONS } from '#protocol/evidence/p384Reasons.ts'
import { REFUSED_SELECTOR } from '../../scripts/attestation/p384Layout.ts'
import { type EvidenceChain, startEvidenceChain } from '../support/evidenceChain.ts'
import { readEvidenceVector } from '../support/evidenceVector.ts'
import { askClient, codeOnChain, countCodes, flipBit } from '../support/mutations.ts'
import { nitroVectors } from '../support/nitroVectors.ts'

const VECTOR = readEvidenceVector()
const ROOT = { certificate: fromHex(VECTOR.root), isDevelopment: true }
const DOCUMENT = fromHex(VECTOR.document)
const WARM = makeNitroHints(
  DOCUMENT,
  authorityIds(DOCUMENT).map(() => true),
)
const TIME = BigInt(VECTOR.issuedAt)
const GAS_PERCENT_MAX = 105n
/** Calls under way at once: the client's work for one is done while the chain does the others'. */
const AT_ONCE = 16
const HINTS_AT = 240

/** What the P-384 contract is asked about the document's own signature. */
const CALL = callOfDocument()

let chain: EvidenceChain
let documentGasMax: bigint
let signatureGasMax: bigint

beforeAll(async () => {
  chain = await startEvidenceChain(ROOT, VECTOR.issuedAt)
  await chain.send('verify', [VECTOR.document, VECTOR.hints])
  const accepted = await chain.ask(DOCUMENT, WARM, { time: TIME })
  expect(accepted.code).toBe('ACCEPTED')
  documentGasMax = (accepted.gas * GAS_PERCENT_MAX) / 100n
  const { isSuccess, gas } = await chain.measure(chain.p384, CALL)
  expect(isSuccess).toBe(true)
  signatureGasMax = (gas * GAS_PERCENT_MAX) / 100n
})
afterAll(() => chain?.close())

describe('one document', () => {
  it('is refused with any one bit flipped, by contract and client with the same code', async () => {
    const codes = await collect(8 * DOCUMENT.length, async (bit) => {
      const spoilt = flipBit(DOCUMENT, bit)
      const asked = chain.ask(spoilt, WARM, { time: TIME })
      const client = askClient(spoilt, ROOT, TIME)
      const { code, gas } = await asked
      expect(client, `bit ${bit}`).not.toBe('ACCEPTED')
      expect(code, `bit ${bit}`).toBe(codeOnChain(DOCUMENT, bit >> 3, client))
      expect(gas, `bit ${bit}`).toBeLessThanOrEqual(documentGasMax)
      return code
    })
    expect(codes).toHaveLength(8 * DOCUMENT.length)
    console.info(`every bit of a document: ${countCodes(codes)}`)
  })

  it('is refused at every length but its own', async () => {
    await collect(DOCUMENT.length, async (length) => {
      const cut = DOCUMENT.subarray(0, length)
      const { code, gas } = await chain.ask(cut, WARM, { time: TIME })
      expect(code, `length ${length}`).toBe('CBOR_TRUNCATED')
      expect(gas, `length ${length}`).toBeLessThanOrEqual(documentGasMax)
      expect(askClient(cut, ROOT, TIME), `length ${length}`).toBe('CBOR_TRUNCATED')
      return code
    })
  })

  it('is refused with hints of every length but their own', async () => {
    await collect(WARM.length, async (length) => {
      const { code, gas } = await chain.ask(DOCUMENT, WARM.subarray(0, length), { time: TIME })
      expect(code, `length ${length}`).toBe('HINTS_LENGTH')
      expect(gas, `length ${length}`).toBeLessThanOrEqual(documentGasMax)
      return code
    })
  })
})

describe('one signature', () => {
  it('is refused by the P-384 contract with any one bit flipped of hash, r, s, key and hints', async () => {
    const reasons = await collect(8 * CALL.length, (bit) => reasonOf(flipBit(CALL, bit), `bit ${bit}`))
    console.info(`every bit of a signature, its key and its hints: ${countCodes(reasons)}`)
  })

  it('is refused by the P-384 contract with hints of every length but their own', async () => {
    const reasons = await collect(CALL.length - HINTS_AT, (length) =>
      reasonOf(CALL.subarray(0, HINTS_AT + length), `length ${length}`),
    )
    console.info(`hints of every length: ${countCodes(reasons)}`)
  })
})

const REAL = nitroVectors().filter(({ kind }) => kind === 'positive')
if (REAL.length === 0) console.warn('skipped: vectors/nitro is absent, no real document is spoilt')

describe.skipIf(REAL.length === 0)('a real document', () => {
  it('is refused by the client with any one bit flipped', () => {
    const newest = REAL.at(-1)
    if (newest === undefined) throw new Error('expected a document')
    const { bytes, issuedAt } = newest
    const root = { certificate: AWS_NITRO_ROOT.certificate, isDevelopment: false }
    expect(askClient(bytes, root, issuedAt)).toBe('ACCEPTED')
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      expect(askClient(flipBit(bytes, bit), root, issuedAt), `bit ${bit}`).not.toBe('ACCEPTED')
    }
  })
})

/** The results of `ask` for 0 to `count` - 1, in order. */
async function collect(count: number, ask: (index: number) => Promise<string>): Promise<string[]> {
  const results: string[] = []
  for (let start = 0; start < count; start += AT_ONCE) {
    const length = Math.min(AT_ONCE, count - start)
    results.push(...(await Promise.all(Array.from({ length }, (_, index) => ask(start + index)))))
  }
  return results
}

/** Why the P-384 contract refuses `data`. Nothing but P384Refused with a known reason passes, at no more gas than the acceptance. */
async function reasonOf(data: Uint8Array, what: string): Promise<string> {
  const { isSuccess, output, gas } = await chain.measure(chain.p384, data)
  expect(isSuccess, what).toBe(false)
  expect(gas, what).toBeLessThanOrEqual(signatureGasMax)
  expect(output.length, what).toBe(36)
  expect(toHex(output.subarray(0, 4)), what).toBe(REFUSED_SELECTOR)
  const number = Number(decodeUint(output.subarray(4)))
  const reason = Object.entries(P384_REASONS).find(([, value]) => value === number)?.[0]
  expect(reason, what).toBeDefined()
  return reason ?? ''
}

function callOfDocument(): Uint8Array {
  const { certificate, signature, signedBytes } = parseNitroDocument(DOCUMENT)
  const input = { hash: sha384(signedBytes), signature, publicKey: parseCertificate(certificate).publicKey }
  return encodeP384Call(input, makeP384Hints(input))
}

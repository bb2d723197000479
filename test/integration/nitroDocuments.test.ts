/** Every real document of ../shared/vectors/nitro on chain, with a cold chain: at its own time, at the edges of its life, and outside. @module */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { type EvidenceChain, startEvidenceChain } from '../support/evidenceChain.ts'
import { askClient } from '../support/mutations.ts'
import { type NitroVector, nitroVectors } from '../support/nitroVectors.ts'

const ROOT = { certificate: AWS_NITRO_ROOT.certificate, isDevelopment: false }
/** Before the first document. */
const START = Date.UTC(2021, 0, 1) / 1000
/** Cryptography of a cold chain, without calldata and intrinsic gas. */
const GAS_MAX = 5_200_000n

const VECTORS = nitroVectors()
if (VECTORS.length === 0) console.warn('skipped: vectors/nitro is absent, no real document is verified on chain')

let chain: EvidenceChain
beforeAll(async () => {
  if (VECTORS.length > 0) chain = await startEvidenceChain(ROOT, START)
})
afterAll(() => chain?.close())

describe.skipIf(VECTORS.length === 0)('real documents', () => {
  const genuine = VECTORS.filter(({ kind }) => kind !== 'crypto-negative')

  it('are all covered: genuine ones, debug mode, a bad signature, another root', () => {
    expect(genuine.length).toBeGreaterThanOrEqual(6)
    expect(VECTORS.filter(({ kind }) => kind === 'policy-negative').length).toBeGreaterThanOrEqual(1)
    expect(VECTORS.length - genuine.length).toBeGreaterThanOrEqual(2)
  })

  it.each(genuine)(
    'pass every check of the cryptography at their own time and to the ends of their life: $name',
    async (vector) => {
      const { bytes, issuedAt, validFrom, validUntil } = vector
      const hints = coldHints(bytes)
      for (const time of [issuedAt, validFrom, validUntil]) {
        const { code, result, gas } = await chain.ask(bytes, hints, { time })
        expect(code, `at ${time}`).toBe(finalCode(vector))
        expect(gas).toBeLessThanOrEqual(GAS_MAX)
        if (result === undefined) continue
        const { bootPcrs, userData = new Uint8Array() } = parseNitroDocument(bytes)
        const measurement = measurementOf('nitro', ...bootPcrs)
        expect(result).toMatchObject({
          measurement,
          userData: toHex(userData),
          issuedAt,
          validUntil,
          development: false,
        })
      }
    },
  )

  it.each(genuine)(
    'are refused a second before and a second after, by client and contract alike: $name',
    async (vector) => {
      const { bytes, validFrom, validUntil } = vector
      const hints = coldHints(bytes)
      for (const [time, code] of [
        [validFrom - 1n, 'CERTIFICATE_NOT_YET_VALID'],
        [validUntil + 1n, 'CERTIFICATE_EXPIRED'],
        [validUntil + 100n * 86_400n, 'CERTIFICATE_EXPIRED'],
      ] as const) {
        expect((await chain.ask(bytes, hints, { time })).code, `at ${time}`).toBe(code)
        expect(askClient(bytes, ROOT, time), `at ${time}`).toBe(code)
      }
    },
  )

  it('with a bad signature are refused for it, with hints that fit everything else', async () => {
    const spoilt = vectorNamed('badsig-veracruz')
    const { bytes } = vectorNamed('prod-veracruz')
    const { code } = await chain.ask(spoilt.bytes, coldHints(bytes), { time: spoilt.issuedAt })
    expect(code).toBe('BAD_DOCUMENT_SIGNATURE')
    expect(askClient(spoilt.bytes, ROOT, spoilt.issuedAt)).toBe(code)
  })

  it('under another root are refused before any signature is looked at', async () => {
    const { bytes, issuedAt } = vectorNamed('customroot')
    const { code, gas } = await chain.ask(bytes, new Uint8Array(), { time: issuedAt })
    expect(code).toBe('ROOT_NOT_PINNED')
    expect(gas).toBeLessThan(150_000n)
    expect(askClient(bytes, ROOT, issuedAt)).toBe(code)
  })
})

/** What the contract says of a genuine document whose chain is valid. */
function finalCode({ kind }: NitroVector): string {
  return kind === 'policy-negative' ? 'DEBUG_MODE' : 'ACCEPTED'
}

function coldHints(bytes: Uint8Array): Uint8Array {
  const cached = authorityIds(bytes).map(() => false)
  return makeNitroHints(bytes, cached)
}

function vectorNamed(part: string): NitroVector {
  const found = VECTORS.find(({ name }) => name.includes(part))
  if (found === undefined) throw new Error(`expected a vector named ${part}`)
  return found
}

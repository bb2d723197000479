/**
 * What other verifiers got wrong, each on chain and in the client: revocations that do not stick, ancestors whose end nobody sees, milliseconds
 * taken for seconds, PCRs by position. Paths: nitroPaths.test.ts. Encodings: nitroEncodings.test.ts.
 * @module
 */
import { p384 } from '@noble/curves/nist.js'
import { encodeAbiParameters, keccak256 as keccakHex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nitroVerifierAbi } from '#chain/generated/abis.ts'
import { issueCertificate, type KeyedCertificate } from '#node/attesters/developmentCertificate.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type EvidenceChain, startEvidenceChain } from '../support/evidenceChain.ts'
import {
  COLD,
  DOCUMENT,
  documentOf,
  GOOD,
  hintsUnder,
  IDS,
  NOW,
  ROOT,
  TIME,
  underCached,
  WARM,
} from '../support/goodChain.ts'
import { askClient } from '../support/mutations.ts'
import { issueLeaf, ODD_USER_DATA, pcrOf, twinOf } from '../support/oddEvidence.ts'

const HOUR = 3_600
const [REGIONAL, ZONAL, INSTANCE] = GOOD.authorities

let chain: EvidenceChain
beforeAll(async () => {
  chain = await startEvidenceChain(ROOT, NOW)
})
afterAll(() => chain?.close())

async function codeOf(document: Uint8Array, hints: Uint8Array, time: bigint = TIME): Promise<string> {
  return (await chain.ask(document, hints, { time })).code
}

describe('a revocation sticks', () => {
  const REVOKED = 'CERTIFICATE_REVOKED'

  it('before its chain was ever seen: presented again and again, nothing of it is cached', async () => {
    await chain.undoing(async () => {
      await chain.send('revoke', [revocationId(REGIONAL)])
      for (let i = 0; i < 2; i++) {
        expect(await codeOf(DOCUMENT, COLD)).toBe(REVOKED)
        await expect(chain.send('verify', [toHex(DOCUMENT), toHex(COLD)])).rejects.toThrow()
      }
    })
  })

  it.each([
    ['regional', REGIONAL],
    ['zonal', ZONAL],
    ['instance', INSTANCE],
    ['leaf', GOOD.leaf],
  ] as const)(
    'for the %s certificate of a chain that was cached, with cold hints and with warm ones',
    async (_, certificate) => {
      await underCached(chain, async () => {
        expect(await codeOf(DOCUMENT, WARM)).toBe('ACCEPTED')
        await chain.send('revoke', [revocationId(certificate)])
        expect(await codeOf(DOCUMENT, WARM)).toBe(REVOKED)
        await expect(chain.send('verify', [toHex(DOCUMENT), toHex(WARM)])).rejects.toThrow()
        expect(await codeOf(DOCUMENT, WARM)).toBe(REVOKED)
        // Cold hints fit a chain that is not cached: a CA is found revoked before they are looked at, a leaf is not reached.
        expect(await codeOf(DOCUMENT, COLD)).toBe(certificate === GOOD.leaf ? 'BAD_CHAIN_SIGNATURE' : REVOKED)
      })
    },
  )

  it('for the twin of the certificate with the other valid signature, and for one issued again under its serial number', async () => {
    const twin = twinOf(INSTANCE.certificate, p384.Point.Fn.ORDER)
    const { serial } = parseCertificate(INSTANCE.certificate)
    const again = issueCertificate({
      role: 'instance',
      commonName: 'another name',
      nowSeconds: NOW,
      issuer: ZONAL,
      serial: bytesOf(serial),
    })
    const leafAgain = issueLeaf(again, NOW)
    const bundle = (last: Uint8Array) => [...GOOD.bundle.slice(0, 3), last]
    const documents = [
      documentOf({ bundle: bundle(twin) }),
      documentOf({ bundle: bundle(again.certificate), certificate: leafAgain.certificate, key: leafAgain.key }),
    ]
    await underCached(chain, async () => {
      for (const document of documents) expect(await codeOf(document, hintsUnder(document, IDS))).toBe('ACCEPTED')
      await chain.send('revoke', [revocationId(INSTANCE)])
      for (const document of documents) expect(await codeOf(document, hintsUnder(document, IDS))).toBe(REVOKED)
    })
  })

  it('and takes nothing else with it: another leaf, another serial number, another issuer', async () => {
    const sibling = issueLeaf(INSTANCE, NOW)
    const document = documentOf({ certificate: sibling.certificate, key: sibling.key })
    const { serial } = parseCertificate(INSTANCE.certificate)
    await chain.undoing(async () => {
      await chain.send('revoke', [revocationId(GOOD.leaf)])
      await chain.send('revoke', [revocationIdOf(INSTANCE, serial + 1n)])
      await chain.send('revoke', [revocationIdOf(ZONAL, serial)])
      expect(await codeOf(document, makeNitroHints(document, []))).toBe('ACCEPTED')
      expect(await codeOf(DOCUMENT, COLD)).toBe(REVOKED)
    })
  })

  it('and concerns what the contract answered: the ids of all certificates below the root, cold and cached alike', async () => {
    const certificates = [REGIONAL, ZONAL, INSTANCE, GOOD.leaf].map(revocationId)
    expect((await chain.ask(DOCUMENT, COLD, { time: TIME })).result?.certificates).toEqual(certificates)
    await underCached(chain, async () => {
      expect((await chain.ask(DOCUMENT, WARM, { time: TIME })).result?.certificates).toEqual(certificates)
    })
  })

  it('because the contract has no function that takes it back', () => {
    const writing = nitroVerifierAbi.flatMap((item) =>
      item.type === 'function' && item.stateMutability === 'nonpayable' ? [item.name] : [],
    )
    expect(writing.sort()).toEqual(['acceptOwnership', 'renounceOwnership', 'revoke', 'transferOwnership', 'verify'])
  })
})

describe('time', () => {
  it('of issue is answered in seconds, and the end of validity is that of the certificate that ends first', async () => {
    const late = NOW + 22 * HOUR
    const leaf = issueLeaf(INSTANCE, late)
    const document = documentOf({ nowSeconds: late, certificate: leaf.certificate, key: leaf.key })
    const { result } = await chain.ask(document, makeNitroHints(document, []), { time: BigInt(late) })
    expect(result).toMatchObject({ issuedAt: BigInt(late), validUntil: TIME + BigInt(23 * HOUR) })
    expect((await chain.ask(DOCUMENT, COLD, { time: TIME })).result).toMatchObject({
      issuedAt: TIME,
      validUntil: TIME + BigInt(3 * HOUR),
    })
    // A client's age limit is two hours here. Compared with the timestamp's milliseconds, no document would ever be too old.
    expect(askClient(DOCUMENT, ROOT, TIME + 7_200n)).toBe('ACCEPTED')
    expect(askClient(DOCUMENT, ROOT, TIME + 7_201n)).toBe('TOO_OLD')
  })

  it('ends a chain with any ancestor, cached or not, although the leaf is valid', async () => {
    const late = NOW + 22 * HOUR
    const leaf = issueLeaf(INSTANCE, late)
    const document = documentOf({ nowSeconds: late, certificate: leaf.certificate, key: leaf.key })
    const [last, after] = [TIME + BigInt(23 * HOUR), TIME + BigInt(23 * HOUR) + 1n]
    const cold = makeNitroHints(document, [])
    expect(await codeOf(document, cold, last)).toBe('ACCEPTED')
    expect(await codeOf(document, cold, after)).toBe('CERTIFICATE_EXPIRED')
    await underCached(chain, async () => {
      const warm = hintsUnder(document, IDS)
      expect(await codeOf(document, warm, last)).toBe('ACCEPTED')
      expect(await codeOf(document, warm, after)).toBe('CERTIFICATE_EXPIRED')
    })
    expect(askClient(document, ROOT, last)).toBe('ACCEPTED')
    expect(askClient(document, ROOT, after)).toBe('CERTIFICATE_EXPIRED')
  })
})

describe('PCRs are read by index, never by position', () => {
  const zero = new Uint8Array(48)

  it('so that a debug enclave whose later PCRs are set is refused as such', async () => {
    for (const [a, b] of [
      [3, 4],
      [4, 8],
      [15, 16],
    ] as const) {
      const pcrs = [...[0, 1, 2].map((index) => [index, zero] as const), [a, pcrOf(a)] as const, [b, pcrOf(b)] as const]
      const document = documentOf({ pcrs })
      expect(await codeOf(document, makeNitroHints(document, []))).toBe('DEBUG_MODE')
      expect(askClient(document, ROOT, TIME)).toBe('DEBUG_MODE')
    }
  })

  it('so that one of the first three that is not zero is enough not to be in debug mode, and is measured at its own place', async () => {
    // The last byte is enough too.
    const oneByte = new Uint8Array(48).fill(1, 47)
    for (const [set, value] of [
      [0, pcrOf(9)],
      [1, pcrOf(9)],
      [2, pcrOf(9)],
      [0, oneByte],
      [1, oneByte],
      [2, oneByte],
    ] as const) {
      const boot = [0, 1, 2].map((index) => (index === set ? value : zero))
      const document = documentOf({ pcrs: boot.map((value, index) => [index, value] as const) })
      const { code, result } = await chain.ask(document, makeNitroHints(document, []), { time: TIME })
      expect(code).toBe('ACCEPTED')
      const [pcr0 = zero, pcr1 = zero, pcr2 = zero] = boot
      expect(result?.measurement).toBe(measurementOf('development', pcr0, pcr1, pcr2))
    }
  })

  it('so that signed images with few PCRs, gaps and any order are accepted and measured alike', async () => {
    const expected = measurementOf('development', pcrOf(0), pcrOf(1), pcrOf(2))
    for (const indexes of [
      [0, 1, 2],
      [2, 1, 0, 8],
      [31, 16, 2, 8, 0, 1],
      [0, 1, 2, 31],
    ]) {
      const document = documentOf({ pcrs: indexes.map((index) => [index, pcrOf(index)] as const) })
      const { code, result } = await chain.ask(document, makeNitroHints(document, []), { time: TIME })
      expect(code, indexes.join()).toBe('ACCEPTED')
      expect(result).toMatchObject({ measurement: expected, userData: toHex(ODD_USER_DATA) })
      expect(askClient(document, ROOT, TIME)).toBe('ACCEPTED')
    }
  })
})

function revocationId(certificate: Pick<KeyedCertificate, 'certificate'>): Hex {
  return revocationIdOf(certificate, parseCertificate(certificate.certificate).serial)
}

/** keccak256(keccak256(issuer's Name), serial), as NitroVerifier.isRevoked has it. */
function revocationIdOf({ certificate }: Pick<KeyedCertificate, 'certificate'>, serial: bigint): Hex {
  const issuer = toHex(keccak256(parseCertificate(certificate).issuer))
  return keccakHex(encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint256' }], [issuer, serial]))
}

function bytesOf(serial: bigint): Uint8Array {
  const hex = serial.toString(16)
  return fromHex(`0x${hex.padStart(hex.length + (hex.length % 2), '0')}`)
}

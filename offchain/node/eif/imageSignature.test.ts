/** Signature sections: who signed is measured, what was signed is checked, anything else is refused. @module */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { issueCertificate } from '#node/attesters/developmentCertificate.ts'
import { fromHex, toBase64 } from '#protocol/bytes.ts'
import {
  pcr0Payload,
  pcrOf,
  SAMPLE,
  SECTION,
  signatureContent,
  signatureSection,
  signCose,
  writeImage,
} from '../../../test/support/enclaveImage.ts'
import { parseImageSignature, verifyImageSignature } from './imageSignature.ts'
import { measureImage } from './measureImage.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-eif-signature-'))
afterAll(() => rmSync(folder, { recursive: true }))

const SIGNER = issueCertificate({ role: 'root', commonName: 'a signer of images', nowSeconds: 1_790_000_000 })
const PEM = pemOf(SIGNER.certificate)
const { kernel, cmdline, boot, code } = SAMPLE
const PARTS = [kernel, cmdline, boot, code]
const PCR0 = pcrOf(...PARTS.map(({ content }) => content))
const SECTION_BYTES = signatureSection(PEM, SIGNER.key, PCR0)

describe('a signed image', () => {
  it('has the PCR8 of the certificate in DER, the PCR0 of an unsigned one, and a signature that holds', async () => {
    const measured = await measure(SECTION_BYTES)
    expect(Buffer.from(measured.pcr8 ?? []).toString('hex')).toBe(pcrOf(SIGNER.certificate))
    expect(Buffer.from(measured.pcr0).toString('hex')).toBe(PCR0)
    expect(measured.isSignatureValid).toBe(true)
  })

  it('with a signature over another PCR0, or by another key, is measured and said to be badly signed', async () => {
    const stranger = issueCertificate({ role: 'root', commonName: 'a stranger', nowSeconds: 1_790_000_000 })
    const sections = [
      signatureSection(PEM, SIGNER.key, pcrOf(kernel.content)),
      signatureSection(PEM, stranger.key, PCR0),
      signatureContent(PEM, signCose(Buffer.from(PCR0, 'hex'), SIGNER.key)),
    ]
    for (const section of sections) {
      expect(await measure(section)).toMatchObject({ isSignatureValid: false })
    }
  })

  it('is measured by the first certificate of its file', async () => {
    const stranger = issueCertificate({ role: 'root', commonName: 'a stranger', nowSeconds: 1_790_000_000 })
    const { pcr8 } = await measure(signatureSection(`${PEM}${pemOf(stranger.certificate)}`, SIGNER.key, PCR0))
    expect(Buffer.from(pcr8 ?? []).toString('hex')).toBe(pcrOf(SIGNER.certificate))
  })

  it.each([
    ['an empty section', Buffer.alloc(0)],
    ['no signature in the list', Buffer.from([0x80])],
    ['two signatures', Buffer.concat([Buffer.from([0x82]), SECTION_BYTES.subarray(1), SECTION_BYTES.subarray(1)])],
    ['a byte more', Buffer.concat([SECTION_BYTES, Buffer.from([0])])],
    ['no certificate', Buffer.from('81a1697369676e617475726580', 'hex')],
    ['another field', Buffer.from('81a1616180', 'hex')],
    ['a number that is no byte', withBigNumber()],
    ['a certificate that is no PEM', signatureContent('a certificate', signCose(new Uint8Array(), SIGNER.key))],
    ['a certificate in DER', signatureContent(SIGNER.certificate, signCose(new Uint8Array(), SIGNER.key))],
    ['a broken certificate', signatureContent(PEM.replace('MII', 'MIA'), signCose(new Uint8Array(), SIGNER.key))],
    ['no COSE_Sign1', signatureContent(PEM, Buffer.from([0x83, 0x40, 0xa0, 0x40]))],
    ['a COSE_Sign1 of five', signatureContent(PEM, Buffer.from([0x85, 0x40, 0xa0, 0x40, 0x40, 0x40]))],
  ])('with %s is refused', async (_what, section) => {
    await expect(measure(section)).rejects.toMatchObject({ name: 'EifError', code: 'BAD_SIGNATURE' })
  })

  it('with more than 65,536 bytes of signature is refused', async () => {
    await expect(measure(Buffer.alloc(65_536))).rejects.toMatchObject({ code: 'BAD_SIGNATURE' })
    await expect(measure(Buffer.alloc(65_537))).rejects.toMatchObject({ code: 'SECTION_TOO_LONG' })
  })

  it('with any bit of its signature section changed is refused, badly signed or signed by somebody else', () => {
    const pcr0 = Buffer.from(PCR0, 'hex')
    const isGood = (section: Buffer): boolean => {
      const signature = parseImageSignature(section)
      const isSame = Buffer.from(SIGNER.certificate).equals(signature.certificate)
      return isSame && verifyImageSignature(signature, pcr0)
    }
    expect(isGood(SECTION_BYTES)).toBe(true)
    const start = SECTION_BYTES.indexOf('signature', 'latin1')
    // Bits of the PEM's own lines may change without a change of the certificate; the signature's may not.
    const bit = fc.integer({ min: 8 * start, max: 8 * SECTION_BYTES.length - 1 })
    fc.assert(
      fc.property(bit, (at) => {
        const changed = Buffer.from(SECTION_BYTES)
        changed.writeUInt8(changed.readUInt8(at >> 3) ^ (1 << (at & 7)), at >> 3)
        try {
          expect(isGood(changed)).toBe(false)
        } catch (error) {
          expect(error).toMatchObject({ code: 'BAD_SIGNATURE' })
        }
      }),
      { numRuns: 1_000, seed: 19 },
    )
  })

  it('is signed with the algorithm of its key, and over nothing else than PCR0', () => {
    const pcr0 = Buffer.from(PCR0, 'hex')
    const isGood = (cose: Uint8Array): boolean => verifyImageSignature({ certificate: SIGNER.certificate, cose }, pcr0)
    expect(isGood(signCose(pcr0Payload(PCR0), SIGNER.key))).toBe(true)
    // ES256 and ES512, each signature right for a P-384 key; then a header that names no algorithm.
    for (const algorithm of [
      { header: '43a10126', hash: 'sha256' },
      { header: '44a1013823', hash: 'sha512' },
      { header: '41a0', hash: 'sha384' },
    ]) {
      expect(isGood(signCose(pcr0Payload(PCR0), SIGNER.key, algorithm))).toBe(false)
    }
    expect(isGood(signCose(pcr0, SIGNER.key))).toBe(false)
  })
})

describe('images that other tools wrote', () => {
  type Expected = { image: string; sha256: string; pcrs: Record<'0' | '1' | '2' | '8', string> }
  const vectors = new URL('../../../test/vectors/eif/', import.meta.url)
  const { images } = JSON.parse(readFileSync(new URL('images.json', vectors), 'utf8')) as { images: Expected[] }

  it.each(images)('measure as those tools say, and their signatures hold: $image', async ({ image, sha256, pcrs }) => {
    const bytes = readFileSync(new URL(image, vectors))
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256)
    const path = join(folder, image)
    writeFileSync(path, bytes)
    const { pcr0, pcr1, pcr2, pcr8, isSignatureValid } = await measureImage(path)
    expect(isSignatureValid).toBe(true)
    for (const [index, value] of [
      ['0', pcr0],
      ['1', pcr1],
      ['2', pcr2],
      ['8', pcr8],
    ] as const) {
      expect([index, value]).toEqual([index, fromHex(`0x${pcrs[index]}`)])
    }
  })

  it('are signed with each of the three algorithms', () => {
    expect(images.map(({ image }) => image)).toEqual(['es256.eif', 'es384.eif', 'es512.eif'])
  })
})

async function measure(section: Uint8Array): ReturnType<typeof measureImage> {
  const path = join(folder, 'signed.eif')
  writeFileSync(path, writeImage([...PARTS, { type: SECTION.signature, content: section }]))
  return await measureImage(path)
}

/** 0x184 where the COSE_Sign1 has 0x84 as its first byte. */
function withBigNumber(): Buffer {
  const at = SECTION_BYTES.indexOf('1884', SECTION_BYTES.indexOf('signature', 'latin1'), 'hex')
  return Buffer.concat([SECTION_BYTES.subarray(0, at), Buffer.from('190184', 'hex'), SECTION_BYTES.subarray(at + 2)])
}

function pemOf(der: Uint8Array): string {
  const lines = toBase64(der).replace(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

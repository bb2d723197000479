import { describe, expect, it } from 'vitest'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from './awsRoot.ts'
import { type Certificate, parseCertificate } from './certificate.ts'
import { findConstraintViolation, findInvalidDate, findValidityEnd } from './certificateChain.ts'

const BASE = parseCertificate(AWS_NITRO_ROOT.certificate)

describe('constraints of a chain', () => {
  it('holds for the shape of a Nitro chain, and for the shortest', () => {
    expect(findConstraintViolation(nitroChain())).toBeUndefined()
    expect(findConstraintViolation([ca('a', 'a'), leaf('a', 'b')])).toBeUndefined()
  })

  it.each<[string, string, number, Partial<Certificate>]>([
    ['another issuer', 'CHAIN_NAME', 2, { issuer: encodeUtf8('x') }],
    ['an issuer that only starts like the subject before', 'CHAIN_NAME', 2, { issuer: encodeUtf8('regional ') }],
    ['another issuer of the leaf', 'CHAIN_NAME', 4, { issuer: encodeUtf8('zonal') }],
    ['no CA flag', 'CHAIN_NOT_CA', 3, { isCa: false }],
    ['no CA flag on the root', 'CHAIN_NOT_CA', 0, { isCa: false }],
    ['no right to sign certificates', 'CHAIN_KEY_USAGE', 1, { canSignCertificates: false }],
    ['a path length too small by one', 'CHAIN_PATH_LENGTH', 1, { pathLength: 1 }],
    ['a path length of zero above a CA', 'CHAIN_PATH_LENGTH', 2, { pathLength: 0 }],
    ['a path length on the root too small by one', 'CHAIN_PATH_LENGTH', 0, { pathLength: 2 }],
    ['a leaf that is a CA', 'LEAF_IS_CA', 4, { isCa: true }],
    ['a leaf that may not sign data', 'LEAF_KEY_USAGE', 4, { canSignData: false }],
  ])('refuses %s', (_, code, index, change) => {
    const chain = nitroChain().map((certificate, at) => (at === index ? { ...certificate, ...change } : certificate))
    expect(findConstraintViolation(chain)).toMatchObject({ code })
  })

  it.each([
    [0, 'the root certificate'],
    [1, 'CA certificate 1'],
    [3, 'CA certificate 3'],
    [4, 'the leaf certificate'],
  ])('says which certificate is wrong: number %i', (index, name) => {
    const wrong: Partial<Certificate> = index === 4 ? { issuer: encodeUtf8('x') } : { canSignCertificates: false }
    const chain = nitroChain().map((certificate, at) => (at === index ? { ...certificate, ...wrong } : certificate))
    expect(findConstraintViolation(chain)?.message).toContain(name)
  })
})

describe('dates of a chain', () => {
  const chain = nitroChain().map((certificate, index) => ({
    ...certificate,
    notBefore: 100n,
    notAfter: 200n + BigInt((index + 3) % 5),
  }))

  it('include the first and the last second, and end with the first certificate that ends', () => {
    expect(findInvalidDate(chain, 100n)).toBeUndefined()
    expect(findInvalidDate(chain, 200n)).toBeUndefined()
    expect(findInvalidDate(chain, 99n)).toMatchObject({ code: 'CERTIFICATE_NOT_YET_VALID' })
    expect(findInvalidDate(chain, 201n)).toMatchObject({ code: 'CERTIFICATE_EXPIRED' })
    expect(findValidityEnd(chain)).toBe(200n)
  })

  it('are those of every certificate, ancestors too', () => {
    for (let index = 0; index < chain.length; index++) {
      const early = chain.map((certificate, at) => (at === index ? { ...certificate, notAfter: 149n } : certificate))
      expect(findInvalidDate(early, 150n)).toMatchObject({ code: 'CERTIFICATE_EXPIRED' })
      expect(findValidityEnd(early)).toBe(149n)
      const late = chain.map((certificate, at) => (at === index ? { ...certificate, notBefore: 151n } : certificate))
      expect(findInvalidDate(late, 150n)).toMatchObject({ code: 'CERTIFICATE_NOT_YET_VALID' })
    }
  })
})

function nitroChain(): Certificate[] {
  return [
    ca('root', 'root'),
    ca('root', 'regional', 2),
    ca('regional', 'zonal', 1),
    ca('zonal', 'instance', 0),
    leaf('instance', 'enclave'),
  ]
}

function ca(issuer: string, subject: string, pathLength?: number): Certificate {
  return { ...BASE, issuer: encodeUtf8(issuer), subject: encodeUtf8(subject), pathLength }
}

function leaf(issuer: string, subject: string): Certificate {
  return { ...ca(issuer, subject), isCa: false, canSignCertificates: false }
}

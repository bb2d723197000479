/** HKDF-SHA256 in JavaScript against the vectors of RFC 5869, appendix A. @module */
import { expect, it } from 'vitest'
import { fromHex, toHex } from '../bytes.ts'
import { nobleHkdfSha256 } from './nobleHkdf.ts'

const IKM = fromHex(`0x${'0b'.repeat(22)}`)

it.each([
  {
    name: 'A.1',
    salt: '0x000102030405060708090a0b0c',
    info: '0xf0f1f2f3f4f5f6f7f8f9',
    prk: '0x077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5',
    okm: '0x3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    name: 'A.3, without salt and info',
    salt: '0x',
    info: '0x',
    prk: '0x19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04',
    okm: '0x8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
])('extracts and expands as RFC 5869 does: $name', async ({ salt, info, prk, okm }) => {
  const kdf = nobleHkdfSha256()
  const extracted = await kdf.Extract(fromHex(salt), IKM)
  expect(toHex(extracted)).toBe(prk)
  expect(toHex(await kdf.Expand(extracted, fromHex(info), 42))).toBe(okm)
})

it('is a KDF of two stages only', async () => {
  await expect(nobleHkdfSha256().Derive(IKM, 32)).rejects.toThrow('two stages')
})

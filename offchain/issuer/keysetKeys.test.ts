import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSigner } from '#node/credits/fastSigner.ts'
import { verifySignature } from '#protocol/credits/blindSignature.ts'
import { hashKeyset } from '#protocol/credits/keyset.ts'
import { hashToG1 } from '#protocol/credits/message.ts'
import { decodeEip2537G2, decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { createFileKeys, createKeysetKeys, encodeKeys, generateKeyset, writeKeysetFile } from './keysetKeys.ts'

const DOMAIN = { chainId: 31_337, vault: `0x${'7a'.repeat(20)}` } as const
const TIMES = { signUntil: 2_000_000_000, spendUntil: 2_010_000_000, exitUntil: 2_050_000_000 }
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-keys-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('a fresh keyset', () => {
  it('has 24 keys that all differ, and its public keys check what its secret ones sign', async () => {
    const { id, keyset, secretKeys } = generateKeyset(DOMAIN, TIMES)
    expect(id).toBe(hashKeyset(keyset))
    expect(secretKeys).toHaveLength(24)
    const signer = await createSigner(secretKeys)
    const message = new Uint8Array(32).fill(5)
    const [signature] = signer.signBlanks([{ exponent: 23, blinded: encodeG1(hashToG1(message)) }])
    const key = keyset.keys[23]
    if (signature === undefined || key === undefined) throw new Error('expected a signature and a key')
    expect(verifySignature(message, decodeG1(signature), key)).toBe(true)
    const encoded = encodeKeys(keyset)
    expect(encoded).toHaveLength(24 * 256)
    expect(decodeEip2537G2(encoded.subarray(23 * 256)).equals(key)).toBe(true)
  })

  it('is read from its file as it was written, and the file is for its owner only and never written over', async () => {
    const fresh = generateKeyset(DOMAIN, TIMES)
    const path = join(folder, 'keyset.json')
    writeKeysetFile(path, fresh)
    const [read] = await createFileKeys({ files: [path] }, DOMAIN).read()
    expect(read?.id).toBe(fresh.id)
    expect(read?.secretKeys).toEqual(fresh.secretKeys)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(() => writeKeysetFile(path, fresh)).toThrow('EEXIST')
  })
})

describe('keys as configured', () => {
  const NOW = 1_900_000_000.5

  it('are born anew at every boot, in phases that follow one another', async () => {
    const generate = { signDays: 30, spendDays: 10, exitDays: 365 }
    const open = () => createKeysetKeys({ generate }, DOMAIN, NOW).read()
    const [first] = await open()
    const [second] = await open()
    const day = 86_400
    expect(first?.keyset).toMatchObject({
      ...DOMAIN,
      signUntil: 1_900_000_000 + 30 * day,
      spendUntil: 1_900_000_000 + 40 * day,
      exitUntil: 1_900_000_000 + 405 * day,
    })
    expect(second?.keyset.signUntil).toBe(first?.keyset.signUntil)
    expect(second?.id).not.toBe(first?.id)
  })

  it('are none at boot for a standby, and those of the files where there are files', async () => {
    expect(await createKeysetKeys({ from: ['http://issuer.test'] }, DOMAIN, NOW).read()).toEqual([])
    const fresh = generateKeyset(DOMAIN, TIMES)
    const path = join(folder, 'keyset.json')
    writeKeysetFile(path, fresh)
    const [read] = await createKeysetKeys({ files: [path] }, DOMAIN, NOW).read()
    expect(read?.id).toBe(fresh.id)
    expect(() => createKeysetKeys({ files: [path] }, { ...DOMAIN, chainId: 1 }, NOW)).toThrow('chain 1 is not local')
  })
})

describe('keys in files', () => {
  it('are refused on a chain that is not local, unless that is wanted', async () => {
    const open = (allowDevelopment: boolean) =>
      createFileKeys({ files: [], allowDevelopment }, { ...DOMAIN, chainId: 1 })
    expect(() => open(false)).toThrow('chain 1 is not local')
    expect(await open(true).read()).toEqual([])
  })

  it.each([
    ['is not there', undefined],
    ['is no JSON', 'no'],
    ['has too few keys', JSON.stringify({ format: 'sealpath-keyset-keys/1', ...TIMES, secretKeys: [] })],
    [
      'has a key of zero',
      JSON.stringify({
        format: 'sealpath-keyset-keys/1',
        ...TIMES,
        secretKeys: Array(24).fill(`0x${'00'.repeat(32)}`),
      }),
    ],
    [
      'has one key twice',
      JSON.stringify({
        format: 'sealpath-keyset-keys/1',
        ...TIMES,
        secretKeys: Array(24).fill(`0x${'01'.repeat(32)}`),
      }),
    ],
  ])('are refused when a file %s, by its name and without a word of it', async (_, content) => {
    const path = join(folder, 'keyset.json')
    if (content !== undefined) writeFileSync(path, content)
    await expect(createFileKeys({ files: [path] }, DOMAIN).read()).rejects.toMatchObject({
      code: 'BAD_CONFIG',
      message: expect.stringContaining(path) as string,
    })
  })
})

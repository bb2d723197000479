/** Wycheproof's P-384 files against the contract, where they lie in ../shared/vectors; and the harness itself, always. @module */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { p384 } from '@noble/curves/nist.js'
import { sha384 } from '@noble/hashes/sha2.js'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { type AttestationChain, deployAttestation } from '../../scripts/attestation/measure.ts'
import { judge, type WycheproofFile } from '../support/wycheproof.ts'

const VECTORS = fileURLToPath(new URL('../../../shared/vectors/', import.meta.url))
const FILES = existsSync(VECTORS)
  ? readdirSync(VECTORS, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /ecdsa_secp384r1_sha384\w*\.json$/.test(name),
    )
  : []
if (FILES.length === 0) process.stdout.write('skipped: Wycheproof, because ../shared/vectors has no file of it\n')

let chain: AttestationChain
beforeAll(async () => {
  chain = await deployAttestation()
})
afterAll(async () => {
  await chain.close()
})

it.each(FILES)('accepts every valid signature of %s and no other', async (name) => {
  const file = JSON.parse(readFileSync(join(VECTORS, name), 'utf8')) as WycheproofFile
  const verdicts = await judge(chain, file)
  expect(verdicts.length).toBeGreaterThan(0)
  expect(verdicts.filter(({ expected, actual }) => expected === 'valid' && actual !== 'valid')).toEqual([])
  expect(verdicts.filter(({ expected, actual }) => expected === 'invalid' && actual !== 'invalid')).toEqual([])
})

it('judges a file of our own as its cases say, in both encodings', async () => {
  const secretKey = new Uint8Array(48).fill(7)
  const text = (bytes: Uint8Array) => toHex(bytes).slice(2)
  const publicKey = { curve: 'secp384r1', uncompressed: text(p384.getPublicKey(secretKey, false)) }
  const message = encodeUtf8('a message')
  const sign = (format: 'compact' | 'der') =>
    p384.sign(sha384(message), secretKey, { prehash: false, lowS: false, format })
  const cases = (format: 'compact' | 'der') => {
    const signature = sign(format)
    const changed = signature.slice()
    changed[20] = (changed[20] ?? 0) ^ 1
    return [
      { tcId: 1, msg: text(message), sig: text(signature), result: 'valid' as const },
      { tcId: 2, msg: text(encodeUtf8('another')), sig: text(signature), result: 'invalid' as const },
      { tcId: 3, msg: text(message), sig: text(changed), result: 'invalid' as const },
      { tcId: 4, msg: text(message), sig: text(signature.subarray(1)), result: 'invalid' as const },
      { tcId: 5, msg: text(message), sig: '', result: 'invalid' as const },
      { tcId: 6, msg: text(message), sig: text(new Uint8Array(96)), result: 'invalid' as const },
    ]
  }
  const group = (type: string, tests: ReturnType<typeof cases>) => ({ type, sha: 'SHA-384', publicKey, tests })
  const testGroups = [group('EcdsaP1363Verify', cases('compact')), group('EcdsaVerify', cases('der'))]
  const verdicts = await judge(chain, { testGroups })
  expect(verdicts).toHaveLength(12)
  expect(verdicts.filter(({ expected, actual }) => expected !== actual)).toEqual([])
})

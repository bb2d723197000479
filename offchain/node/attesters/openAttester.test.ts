import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as v from 'valibot'
import { afterAll, describe, expect, it } from 'vitest'
import { AppError } from '#node/appError.ts'
import { parseDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { readConfig } from '#node/role.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { type AttesterConfig, AttesterConfigSchema } from '../enclave/config.ts'
import { openAttester } from './openAttester.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-attester-'))
afterAll(() => rmSync(folder, { recursive: true }))
const rootFile = join(folder, 'root.json')
const development: AttesterConfig = { kind: 'development', rootFile }

describe('the development attester', () => {
  it.each([31_337, 1_337])('is opened on the local chain %d, under the root of its file', async (chainId) => {
    const attester = await openAttester(development, chainId, 'gateway')
    expect(attester.kind).toBe('development')
    const document = await attester.attest({ userData: new Uint8Array(32).fill(5) })
    const root = parseDevelopmentRoot(readFileSync(rootFile, 'utf8'))
    const now = BigInt(Math.floor(Date.now() / 1000))
    const verdict = verifyNitroEvidence(document, { roots: [pinDevelopmentRoot(root)], ageSecondsMax: 60n }, now)
    expect(verdict).toMatchObject({ ok: true, evidence: { kind: 'development', isDebug: false } })
  })

  it.each([
    [1, undefined],
    [8453, undefined],
    [8453, false],
    [31_338, undefined],
  ])('is refused on chain %d, and leaves no root behind', async (chainId, allowDevelopment) => {
    const absent = join(folder, 'absent.json')
    const config = {
      kind: 'development',
      rootFile: absent,
      ...(allowDevelopment === false && { allowDevelopment }),
    } as const
    const error = await openAttester(config, chainId, 'gateway').catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(AppError)
    expect(error).toMatchObject({
      code: 'BAD_CONFIG',
      message:
        `chain ${chainId} is not local and development evidence proves nothing: ` +
        'use the nitro attester, or set attester.allowDevelopment to true if that is what you want',
    })
    expect(existsSync(absent)).toBe(false)
  })

  it('is opened on any chain where the configuration says so', async () => {
    expect((await openAttester({ ...development, allowDevelopment: true }, 8453, 'gateway')).kind).toBe('development')
  })

  it('names a file that holds no development root', async () => {
    const broken = join(folder, 'broken.json')
    writeFileSync(broken, '{}')
    await expect(openAttester({ kind: 'development', rootFile: broken }, 31_337, 'gateway')).rejects.toMatchObject({
      name: 'AppError',
      code: 'BAD_CONFIG',
      message: expect.stringContaining(`${broken} holds no development root`),
    })
  })
})

it.skipIf(existsSync('/dev/nsm'))('the nitro attester is refused outside an enclave, whatever the chain', async () => {
  for (const chainId of [31_337, 8453]) {
    await expect(openAttester({ kind: 'nitro' }, chainId, 'gateway')).rejects.toMatchObject({
      name: 'AppError',
      code: 'BAD_CONFIG',
      message: expect.stringContaining('/dev/nsm'),
    })
  }
})

describe('the configuration', () => {
  it.each([{ kind: 'nitro' }, development, { ...development, allowDevelopment: true }])('takes %j', (attester) => {
    expect(readConfig(ConfigSchema, save(attester)).attester).toEqual(attester)
  })

  it.each([{}, { kind: 'other' }, { kind: 'development' }, { ...development, allowDevelopment: 'yes' }])(
    'refuses %j',
    (attester) => {
      expect(() => readConfig(ConfigSchema, save(attester))).toThrow(
        expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringMatching(/: attester\b/) }),
      )
    },
  )
})

const ConfigSchema = v.object({ attester: AttesterConfigSchema })

function save(attester: unknown): string {
  const path = join(folder, 'config.json')
  writeFileSync(path, JSON.stringify({ attester }))
  return path
}

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { AppError } from '#node/appError.ts'
import { parseDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { readConfig } from '#node/role.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { openAttester } from './attester.ts'
import { type AttesterConfig, GatewayConfigSchema } from './config.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-attester-'))
afterAll(() => rmSync(folder, { recursive: true }))
const rootFile = join(folder, 'root.json')
const development: AttesterConfig = { kind: 'development', rootFile }

describe('the development attester', () => {
  it.each([31_337, 1_337])('is opened on the local chain %d, under the root of its file', async (chainId) => {
    const attester = await openAttester(development, chainId)
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
    const error = await openAttester(config, chainId).catch((caught: unknown) => caught)
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
    expect((await openAttester({ ...development, allowDevelopment: true }, 8453)).kind).toBe('development')
  })

  it('names a file that holds no development root', async () => {
    const broken = join(folder, 'broken.json')
    writeFileSync(broken, '{}')
    await expect(openAttester({ kind: 'development', rootFile: broken }, 31_337)).rejects.toMatchObject({
      name: 'AppError',
      code: 'BAD_CONFIG',
      message: expect.stringContaining(`${broken} holds no development root`),
    })
  })
})

it.skipIf(existsSync('/dev/nsm'))('the nitro attester is refused outside an enclave, whatever the chain', async () => {
  for (const chainId of [31_337, 8453]) {
    await expect(openAttester({ kind: 'nitro' }, chainId)).rejects.toMatchObject({
      name: 'AppError',
      code: 'BAD_CONFIG',
      message: expect.stringContaining('/dev/nsm'),
    })
  }
})

describe('the configuration', () => {
  it.each([{ kind: 'nitro' }, development, { ...development, allowDevelopment: true }])('takes %j', (attester) => {
    expect(readConfig(GatewayConfigSchema, save(attester)).attester).toEqual(attester)
  })

  it.each([{}, { kind: 'other' }, { kind: 'development' }, { ...development, allowDevelopment: 'yes' }])(
    'refuses %j',
    (attester) => {
      expect(() => readConfig(GatewayConfigSchema, save(attester))).toThrow(
        expect.objectContaining({ code: 'BAD_CONFIG', message: expect.stringMatching(/: attester\b/) }),
      )
    },
  )
})

function save(attester: unknown): string {
  const address = `0x${'12'.repeat(20)}`
  const path = join(folder, 'config.json')
  const listen = { host: '127.0.0.1', port: 0 }
  const config = {
    listen,
    agentListen: listen,
    chain: { chainId: 31_337, registry: address, settlement: address, operator: address },
    attester,
    backends: [{ kind: 'embedded' }],
    prices: {
      format: 'sealpath-prices/1',
      models: [
        {
          model: 'm',
          source: 'measured',
          requestUnits: '1',
          promptUnitsPerMillion: '1',
          completionUnitsPerMillion: '1',
        },
      ],
    },
  }
  writeFileSync(path, JSON.stringify(config))
  return path
}

/** `sealpath evidence`: what it says of real documents, of development documents and of junk, and with which code it ends. @module */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDevelopmentAttester, type DevelopmentAttester } from '#node/attesters/development.ts'
import { serializeDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { concatBytes, fromHex, toBase64, toHex } from '#protocol/bytes.ts'
import { hashStatement } from '#protocol/evidence/statement.ts'
import type { Statement } from '#protocol/wire/agentApi.ts'
import { UsageError } from '../command.ts'
import { evidence } from './evidence.ts'

const VECTORS = fileURLToPath(new URL('../../../../shared/vectors/nitro/', import.meta.url))
const hasVectors = existsSync(VECTORS)
if (!hasVectors) console.warn('skipped: vectors/nitro is absent, real documents are not explained')

const folder = mkdtempSync(join(tmpdir(), 'sealpath-evidence-'))
afterAll(() => rmSync(folder, { recursive: true }))

let out = ''
beforeEach(() => {
  out = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += text
    return true
  })
})
afterEach(() => {
  vi.restoreAllMocks()
})

function save(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe.skipIf(!hasVectors)('a real document', () => {
  const BASE = join(VECTORS, 'nitro-2026-01-03-prod-base.bin')
  const bytes = hasVectors ? new Uint8Array(readFileSync(BASE)) : new Uint8Array()

  it('is accepted at its own time, and the limits of that are said', async () => {
    expect(await evidence.run(['--at', 'document', BASE])).toBe(0)
    expect(out).toContain("4482 bytes, checked as of 2026-01-03T20:41:07Z, the document's own time")
    expect(out).toMatch(/^ {2}module +i-0368fa67e156d6d23-enc019b8596b1a9dad6$/m)
    expect(out).toMatch(/^ {2}CA {4}2019-10-28T13:28:05Z to 2049-10-28T14:28:05Z {2}aws\.nitro-enclaves$/m)
    expect(out).toMatch(/^ {2}leaf {2}2026-01-03T20:40:25Z to 2026-01-03T23:40:28Z {2}i-0368.*\.us-east-1\.aws$/m)
    expect(out).toMatch(/^ {2}PCR0 +0x4b8d4cf2[0-9a-f]{88} {2}enclave image$/m)
    expect(out).toContain('PCRs (12 others are zero)')
    expect(out).not.toContain('PCR3')
    expect(out).toMatch(/^ {2}user_data +0x69553adc61d6e9fcdecbe1ea49bb2b52a60238e0 {2}\(20 bytes\)$/m)
    expect(out).toMatch(/^ {2}nonce +none$/m)
    expect(out).toMatch(/^ {2}ok +validity +valid until 2026-01-03T23:40:28Z$/m)
    expect(out).not.toContain('FAILED')
    expect(out).toContain('\nACCEPTED: an AWS Nitro enclave')
    expect(out).toContain('it was good then, and proves nothing after 2026-01-03T23:40:28Z.')
  })

  it('is refused now, for its age and its certificates, and what it says is still shown', async () => {
    expect(await evidence.run([BASE])).toBe(1)
    expect(out).toMatch(/^ {2}FAILED +validity .*it ended at 2026-01-20T15:07:45Z$/m)
    expect(out).toMatch(/^ {2}FAILED +freshness .* at most 7200 s ago/m)
    expect(out).toMatch(/^ {2}leaf .* ENDED {2}i-0368/m)
    expect(out).toContain('REFUSED (CERTIFICATE_EXPIRED)')
    expect(out).not.toContain('ACCEPTED')
  })

  it('is checked as of any second: accepted inside its two hours and its dates, refused outside', async () => {
    const issuedAt = 1_767_472_867
    for (const [seconds, code] of [
      [issuedAt, 0],
      [issuedAt + 7_200, 0],
      [issuedAt + 7_201, 1],
      [issuedAt - 43, 1],
    ] as const) {
      expect(await evidence.run(['--at', String(seconds), BASE])).toBe(code)
    }
    expect(out).toContain('REFUSED (CERTIFICATE_NOT_YET_VALID)')
  })

  it('is the same in base64, in hex and wrapped over lines', async () => {
    const base64 = toBase64(bytes)
    for (const text of [base64, toHex(bytes), toHex(bytes).slice(2), `${base64.replace(/.{64}/g, '$&\n')}\n`]) {
      expect(await evidence.run(['--at', 'document', save('text', text)])).toBe(0)
    }
  })

  it('is JSON when asked, with every field and check', async () => {
    expect(await evidence.run(['--json', '--at', 'document', BASE])).toBe(0)
    const vector = JSON.parse(readFileSync(BASE.replace('.bin', '.json'), 'utf8')) as { certificates: object[] }
    const facts = JSON.parse(out) as { certificates: object[]; checks: { passed: boolean }[] }
    expect(facts).toMatchObject({
      accepted: true,
      kind: 'nitro',
      isGenuine: true,
      checkedAt: 1_767_472_867,
      checkedAtOwnTime: true,
      moduleId: 'i-0368fa67e156d6d23-enc019b8596b1a9dad6',
      userData: '0x69553adc61d6e9fcdecbe1ea49bb2b52a60238e0',
      nonce: null,
    })
    expect(facts.certificates).toHaveLength(vector.certificates.length)
    expect(facts.checks.length).toBeGreaterThanOrEqual(8)
    expect(facts.checks.every(({ passed }) => passed)).toBe(true)
    out = ''
    expect(await evidence.run(['--json', BASE])).toBe(1)
    expect(JSON.parse(out)).toMatchObject({
      accepted: false,
      refusal: { code: 'CERTIFICATE_EXPIRED' },
      isGenuine: true,
    })
  })

  it('of every kind ends as it should: only production documents are accepted', async () => {
    const names = readdirSync(VECTORS).filter((name) => name.endsWith('.bin'))
    expect(names.length).toBeGreaterThanOrEqual(8)
    for (const name of names) {
      expect([name, await evidence.run(['--at', 'document', join(VECTORS, name)])]).toEqual([
        name,
        name.includes('-prod-') ? 0 : 1,
      ])
    }
    for (const code of ['DEBUG_MODE', 'BAD_DOCUMENT_SIGNATURE', 'ROOT_NOT_PINNED']) expect(out).toContain(`(${code})`)
    expect(out).toContain('PCRs (15 others are zero)')
  })

  it('with a changed byte claims, and proves nothing', async () => {
    const changed = bytes.slice()
    const at = Buffer.from(bytes).indexOf('i-0368fa67e156d6d23-enc')
    changed[at] = 0x1b // Escape: it would steer a terminal.
    expect(await evidence.run(['--at', 'document', save('changed.bin', changed)])).toBe(1)
    expect(out).toContain('What the document claims; nothing of it is proven')
    expect(out).toContain('?-0368fa67e156d6d23')
    expect(out).not.toContain('\x1b')
    expect(out).toContain('REFUSED (BAD_DOCUMENT_SIGNATURE)')
  })
})

describe('a development document', () => {
  const nowSeconds = Math.floor(Date.now() / 1000)
  const statement: Statement = {
    chainId: 31_337,
    registry: `0x${'a1'.repeat(20)}`,
    settlement: `0x${'5e'.repeat(20)}`,
    role: 'gateway',
    enclave: `0x${'e1'.repeat(20)}`,
    keyConfigs: `0x${'c1'.repeat(32)}`,
    operator: `0x${'0b'.repeat(20)}`,
  }
  let attester: DevelopmentAttester
  let rootFile: string
  let document: Uint8Array

  beforeAll(async () => {
    attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(7)]]), now: Date.now })
    rootFile = save('root.json', serializeDevelopmentRoot(attester.root))
    const digest = hashStatement({ ...statement, role: 1 }, statement)
    document = await attester.attest({ userData: fromHex(digest), nonce: new Uint8Array() })
  })

  const publicEvidence = (changes: Partial<Statement> = {}): string =>
    JSON.stringify({
      format: 'sealpath-evidence/1',
      statement: { ...statement, ...changes },
      document: toBase64(document),
    })

  it('is refused without its root, with a hint', async () => {
    expect(await evidence.run([save('document.bin', document)])).toBe(1)
    expect(out).toContain('REFUSED (ROOT_NOT_PINNED)')
    expect(out).toContain('--development-root')
  })

  it('is accepted now under its root, and marked', async () => {
    expect(await evidence.run(['--development-root', rootFile, save('document.bin', document)])).toBe(0)
    expect(out).toContain('ACCEPTED under a development root: no hardware stands behind it')
    expect(out).not.toContain('AWS Nitro enclave')
    expect(out).toMatch(/^ {2}CA .* Sealpath development root$/m)
    expect(out).toMatch(/^ {2}nonce +empty$/m)
    expect(out).not.toContain('it was good then')
  })

  it('takes its root as a certificate alone, DER or PEM', async () => {
    const der = attester.root.certificate
    const pem = `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`
    for (const root of [save('root.der', der), save('root.pem', pem)]) {
      expect(await evidence.run(['--development-root', root, save('document.bin', document)])).toBe(0)
    }
  })

  it('from /evidence is compared with its statement, whose settlement it does not bind', async () => {
    expect(await evidence.run(['--development-root', rootFile, save('evidence.json', publicEvidence())])).toBe(0)
    expect(out).toContain('Statement that came along; user_data is its digest')
    expect(out).toMatch(/^ {2}ok +statement /m)
    expect(out).toMatch(/^ {2}settlement +0x(5e){20} {2}\(not bound by the document\)$/m)
  })

  it.each([
    { chainId: 1 },
    { registry: `0x${'a2'.repeat(20)}` },
    { role: 'issuer' },
    { enclave: `0x${'e2'.repeat(20)}` },
    { keyConfigs: `0x${'c2'.repeat(32)}` },
    { operator: `0x${'0c'.repeat(20)}` },
  ] as const)('with another statement is refused: %j', async (change) => {
    const path = save('evidence.json', publicEvidence(change))
    expect(await evidence.run(['--development-root', rootFile, path])).toBe(1)
    expect(out).toContain('user_data is NOT its digest')
    expect(out).toMatch(/^ {2}FAILED +statement /m)
    expect(out).toContain('REFUSED (STATEMENT_MISMATCH)')
    out = ''
    expect(await evidence.run(['--json', '--development-root', rootFile, path])).toBe(1)
    expect(JSON.parse(out)).toMatchObject({
      accepted: false,
      isStatementBound: false,
      refusal: { code: 'STATEMENT_MISMATCH' },
    })
  })

  it('without room for a digest does not hold the statement it came with', async () => {
    const other = await attester.attest({ userData: new Uint8Array(31) })
    const text = publicEvidence().replace(toBase64(document), toBase64(other))
    expect(await evidence.run(['--development-root', rootFile, save('evidence.json', text)])).toBe(1)
    expect(out).toContain('REFUSED (USER_DATA_LENGTH)')
  })

  it('says for a time that was given that it holds for that time only', async () => {
    const args = ['--at', String(nowSeconds + 60), '--development-root', rootFile, save('document.bin', document)]
    expect(await evidence.run(args)).toBe(0)
    expect(out).toContain('it was good then, and proves nothing after')
  })
})

describe('a file that is no document', () => {
  it('is refused for its format when it is bytes', async () => {
    for (const bytes of [
      Uint8Array.of(0x84, 0x44),
      concatBytes(Uint8Array.of(0x84), new Uint8Array(20_000)),
      Uint8Array.of(0),
    ]) {
      expect(await evidence.run([save('junk.bin', bytes)])).toBe(1)
    }
    expect(out).toContain('(CBOR_TRUNCATED)')
    expect(out).toContain('(DOCUMENT_SIZE)')
    expect(out).not.toContain('Certificates')
    expect(await evidence.run(['--at', 'document', save('junk.bin', Uint8Array.of(0x84))])).toBe(1)
  })

  it('is named in one sentence when it is text', async () => {
    await expect(evidence.run([save('junk', 'hello there')])).rejects.toThrow(/is no attestation document/)
    await expect(evidence.run([save('junk', 'abc')])).rejects.toThrow(/is no attestation document/)
    await expect(evidence.run([save('junk', '{}')])).rejects.toThrow(/is not what \/evidence answers/)
    await expect(evidence.run([save('junk', '{')])).rejects.toThrow(/is not what \/evidence answers/)
  })

  it('is not read beyond 65,536 bytes, and must be there', async () => {
    await expect(evidence.run([save('long', '!'.repeat(65_536))])).rejects.toThrow(/is no attestation document/)
    await expect(evidence.run([save('long', '!'.repeat(65_537))])).rejects.toThrow(/is too long/)
    await expect(evidence.run([join(folder, 'missing')])).rejects.toThrow(`cannot read ${join(folder, 'missing')}`)
  })

  it('is no root either', async () => {
    for (const content of ['', '{}', 'hello', Uint8Array.of(0x30, 0x03)]) {
      const root = save('root', content)
      await expect(evidence.run(['--development-root', root, root])).rejects.toThrow(/holds no development root/)
    }
  })
})

it.each([
  ['no file', []],
  ['two files', ['a', 'b']],
  ['an unknown option', ['--nothing', 'a']],
  ['a time that is a word', ['--at', 'yesterday', 'a']],
  ['a time before the epoch', ['--at=-1', 'a']],
  ['a time without end', ['--at', '1'.repeat(13), 'a']],
])('takes %s as wrong usage', async (_what, args) => {
  await expect(evidence.run(args)).rejects.toThrow(UsageError)
})

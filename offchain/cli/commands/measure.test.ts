/** `sealpath measure`: what it says of images, how it compares them with evidence, and with which code it ends. @module */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createDevelopmentRoot, serializeDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { fromHex, toBase64 } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { hashStatement } from '#protocol/evidence/statement.ts'
import type { Statement } from '#protocol/wire/agentApi.ts'
import { edited, pcrOf, SAMPLE, SECTION, writeImage } from '../../../test/support/enclaveImage.ts'
import { UsageError } from '../command.ts'
import { measure } from './measure.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-measure-'))
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

const { kernel, cmdline, metadata, boot, code, model } = SAMPLE
const IMAGE = save('good.eif', writeImage([kernel, cmdline, metadata, boot, code, model]))
const PCRS = [
  pcrOf(kernel.content, cmdline.content, boot.content, code.content, model.content),
  pcrOf(kernel.content, cmdline.content, boot.content),
  pcrOf(code.content, model.content),
] as const
const [PCR0, PCR1, PCR2] = PCRS.map((pcr) => fromHex(`0x${pcr}`)) as [Uint8Array, Uint8Array, Uint8Array]
const MEASUREMENT = measurementOf('nitro', PCR0, PCR1, PCR2)
const SIGNED = fileURLToPath(new URL('../../../test/vectors/eif/es384.eif', import.meta.url))

function save(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe('an image', () => {
  it('is shown with its PCRs, its measurement, and apart from them what proves nothing', async () => {
    expect(await measure.run([IMAGE])).toBe(0)
    expect(out).toContain(`Enclave image ${IMAGE}, `)
    for (const [index, pcr] of PCRS.entries()) expect(out).toContain(`  PCR${index}          0x${pcr}  `)
    expect(out).toMatch(/^ {2}PCR8 +none {2}the image is not signed$/m)
    expect(out).toContain(`measurement   ${MEASUREMENT}  what the registry approves`)
    const [, unmeasured] = out.split('In no PCR: ')
    expect(unmeasured).toMatch(/architecture +x86_64\n {2}memory +1073741824 bytes\n {2}cpus +2\n/)
    expect(unmeasured).toMatch(/name +a gateway\n {2}version +1\.2\.3\n$/)
  })

  it('is JSON when asked', async () => {
    expect(await measure.run(['--json', IMAGE])).toBe(0)
    expect(JSON.parse(out)).toEqual({
      bytes: expect.any(Number),
      formatVersion: 4,
      measurement: MEASUREMENT,
      pcrs: { 0: `0x${PCRS[0]}`, 1: `0x${PCRS[1]}`, 2: `0x${PCRS[2]}` },
      isSignatureValid: null,
      unmeasured: { architecture: 'x86_64', memoryBytes: '1073741824', cpus: '2', name: 'a gateway', version: '1.2.3' },
      sections: [kernel, cmdline, metadata, boot, code, model].map((part) => ({
        kind: Object.entries(SECTION).find(([, type]) => type === part.type)?.[0],
        bytes: part.content.length,
      })),
    })
  })

  it('that is signed is shown with PCR8, and whether its signature holds', async () => {
    expect(await measure.run([SIGNED])).toBe(0)
    expect(out).toMatch(/^ {2}PCR8 +0x[0-9a-f]{96} {2}image signer's certificate; its signature holds$/m)
  })

  it('cannot steer a terminal by its name, nor fill it', async () => {
    const names = { ImageName: '\x1b[2J\u202egateway\n', ImageVersion: 'v'.repeat(5_000) }
    const content = Buffer.from(JSON.stringify(names))
    const path = save('hostile.eif', writeImage([kernel, cmdline, { type: SECTION.metadata, content }, boot]))
    expect(await measure.run([path])).toBe(0)
    expect(out).toMatch(/^ {2}name +\?\[2J\?gateway\?$/m)
    expect(out).toMatch(/^ {2}version +v{120}\.\.\.$/m)
  })

  it('without metadata has no name', async () => {
    expect(await measure.run([save('nameless.eif', writeImage([kernel, cmdline, boot]))])).toBe(0)
    expect(out).toMatch(/^ {2}name +none\n {2}version +none$/m)
  })

  it('that is broken is refused in one sentence with its code', async () => {
    const broken = save('broken.eif', Buffer.concat([writeImage([kernel, cmdline, boot]), Buffer.from([0])]))
    await expect(measure.run([broken])).rejects.toThrow(/expected the end of the file .* \(TRAILING_BYTES\)$/)
    await expect(measure.run([join(folder, 'absent')])).rejects.toThrow(/cannot read .* \(NOT_READABLE\)$/)
    expect(out).toBe('')
  })

  it('shows how far it is on a terminal only, and leaves the line clean', async () => {
    const isTty = process.stderr.isTTY
    const large = { type: SECTION.ramdisk, content: new Uint8Array(3_000_000) }
    const path = save('progress.eif', writeImage([kernel, cmdline, boot, large]))
    const shown = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    let now = 0
    vi.spyOn(performance, 'now').mockImplementation(() => {
      now += 1_000
      return now
    })
    try {
      process.stderr.isTTY = false
      await measure.run([path])
      expect(shown).not.toHaveBeenCalled()
      process.stderr.isTTY = true
      await measure.run([path])
    } finally {
      process.stderr.isTTY = isTty
    }
    const texts = shown.mock.calls.map(([text]) => String(text))
    expect(texts.at(-2)).toBe('\rmeasuring 100 % ')
    expect(texts.at(-1)).toBe('\r\x1b[K')
  })

  it('is one file, and a root goes with a comparison', async () => {
    for (const args of [[], [IMAGE, IMAGE], ['--development-root', IMAGE, IMAGE], ['--unknown', IMAGE]]) {
      await expect(measure.run(args)).rejects.toThrow(UsageError)
    }
  })
})

describe('a comparison with a running enclave', () => {
  const statement: Statement = {
    chainId: 31_337,
    registry: `0x${'a1'.repeat(20)}`,
    settlement: `0x${'5e'.repeat(20)}`,
    role: 'gateway',
    enclave: `0x${'e1'.repeat(20)}`,
    keyConfigs: `0x${'c1'.repeat(32)}`,
    operator: `0x${'0b'.repeat(20)}`,
  }
  const root = createDevelopmentRoot(Math.floor(Date.now() / 1000))
  const ROOT = ['--development-root', save('root.json', serializeDevelopmentRoot(root))]
  const RUNNING = new Map([
    [0, PCR0],
    [1, PCR1],
    [2, PCR2],
  ])

  /** What an enclave with these PCRs serves at /evidence. */
  async function evidenceOf(pcrs: ReadonlyMap<number, Uint8Array>, changes: Partial<Statement> = {}): Promise<string> {
    const attester = createDevelopmentAttester({ pcrs, root, now: Date.now })
    const userData = fromHex(hashStatement({ ...statement, role: 1 }, statement))
    const document = toBase64(await attester.attest({ userData }))
    return JSON.stringify({ format: 'sealpath-evidence/1', statement: { ...statement, ...changes }, document })
  }

  it('ends with 0 when all PCRs are the same', async () => {
    const path = save('same.json', await evidenceOf(RUNNING))
    expect(await measure.run(['--compare', path, ...ROOT, IMAGE])).toBe(0)
    for (const index of [0, 1, 2, 8]) expect(out).toMatch(new RegExp(`^ {2}PCR${index} +the same$`, 'm'))
    expect(out).toContain(
      'SAME: the enclave that made this evidence runs this image.\nThe evidence stands under a devel',
    )
  })

  it.each([0, 1, 2, 8])('ends with 1 when PCR%i differs, and says so', async (index) => {
    const other = new Uint8Array(48).fill(7)
    const path = save('other.json', await evidenceOf(new Map([...RUNNING, [index, other]])))
    expect(await measure.run(['--compare', path, ...ROOT, IMAGE])).toBe(1)
    expect(out).toContain(`DIFFERS: 0x${'07'.repeat(48)}`)
    expect(out).toContain(`DIFFERENT: the enclave that made this evidence runs another image (PCR${index}).`)
    expect(out.match(/the same$/gm)).toHaveLength(3)
    out = ''
    expect(await measure.run(['--json', '--compare', path, ...ROOT, IMAGE])).toBe(1)
    const { comparison } = JSON.parse(out) as { comparison: { isSame: boolean; pcrs: Record<string, object> } }
    expect(comparison.isSame).toBe(false)
    expect(comparison.pcrs[index]).toMatchObject({ enclave: `0x${'07'.repeat(48)}`, isSame: false })
  })

  it('compares PCR8 of a signed image with the enclave', async () => {
    expect(await measure.run(['--json', SIGNED])).toBe(0)
    const { pcrs } = JSON.parse(out) as { pcrs: Record<string, `0x${string}`> }
    const running = new Map(Object.entries(pcrs).map(([index, value]) => [Number(index), fromHex(value)]))
    expect(running.size).toBe(4)
    expect(await measure.run(['--compare', save('s.json', await evidenceOf(running)), ...ROOT, SIGNED])).toBe(0)
    running.delete(8)
    expect(await measure.run(['--compare', save('s.json', await evidenceOf(running)), ...ROOT, SIGNED])).toBe(1)
    expect(out).toContain('runs another image (PCR8).')
  })

  it('ends with 1 when the evidence is refused, whatever its PCRs are', async () => {
    const good = save('same.json', await evidenceOf(RUNNING))
    expect(await measure.run(['--compare', good, IMAGE])).toBe(1)
    expect(out).toContain('REFUSED (ROOT_NOT_PINNED)')
    expect(out).toContain('says nothing about any enclave')
    expect(out).not.toContain('SAME')
    const foreign = save('foreign.json', await evidenceOf(RUNNING, { chainId: 1 }))
    expect(await measure.run(['--json', '--compare', foreign, ...ROOT, IMAGE])).toBe(1)
    expect(out).toContain('STATEMENT_MISMATCH')
    out = ''
    const debug = save('debug.json', await evidenceOf(new Map()))
    expect(await measure.run(['--compare', debug, ...ROOT, IMAGE])).toBe(1)
    expect(out).toContain('REFUSED (DEBUG_MODE)')
    out = ''
    expect(await measure.run(['--compare', save('junk', Uint8Array.of(0x84)), ...ROOT, IMAGE])).toBe(1)
    expect(out).toContain('DIFFERS: the evidence has none')
  })

  describe('over HTTP', () => {
    let answer: { status: number; body: string }
    let server: Server
    let url: string
    beforeAll(async () => {
      server = createServer((_request, response) => response.writeHead(answer.status).end(answer.body))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const address = server.address()
      if (address === null || typeof address === 'string') throw new Error('a server has a port')
      url = `http://127.0.0.1:${address.port}/evidence`
    })
    afterAll(() => {
      server.close()
    })

    it('takes what the gateway serves', async () => {
      answer = { status: 200, body: await evidenceOf(RUNNING) }
      expect(await measure.run(['--compare', url, ...ROOT, IMAGE])).toBe(0)
      expect(out).toContain(`Compared with ${url}`)
    })

    it('says when there is no answer, another one, or too much of it', async () => {
      answer = { status: 404, body: 'nothing here' }
      await expect(measure.run(['--compare', url, IMAGE])).rejects.toThrow(/answers 404$/)
      answer = { status: 200, body: '{}' }
      await expect(measure.run(['--compare', url, IMAGE])).rejects.toThrow(/is not what \/evidence answers/)
      answer = { status: 200, body: '{}'.padEnd(65_536) }
      await expect(measure.run(['--compare', url, IMAGE])).rejects.toThrow(/is not what \/evidence answers/)
      answer = { status: 200, body: '{}'.padEnd(65_537) }
      await expect(measure.run(['--compare', url, IMAGE])).rejects.toThrow(/is too long: expected at most 65536 bytes/)
      await expect(measure.run(['--compare', 'http://127.0.0.1:1/evidence', IMAGE])).rejects.toThrow(/^no answer from/)
    })
  })

  it('is with another version of the same image, too, whose header alone changed', async () => {
    const path = save('same.json', await evidenceOf(RUNNING))
    const image = edited(writeImage([kernel, cmdline, boot, code, model]), (copy) => copy.writeBigUInt64BE(9n, 8))
    expect(await measure.run(['--compare', path, ...ROOT, save('header.eif', image)])).toBe(0)
  })
})

/** Written images, against images written by independent code. @module */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { HEADER_BYTES, part, pcrOf, SECTION, writeImage as writeByHand } from '../../../test/support/enclaveImage.ts'
import { EifError } from './eifError.ts'
import { measureImage } from './measureImage.ts'
import { encodeImage, type ImageParts, writeImage } from './writeImage.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-eif-'))
afterAll(() => rmSync(folder, { recursive: true }))

const DESCRIPTION = {
  name: 'a gateway',
  version: '1.2.3',
  buildTime: '2026-01-02T03:04:05Z',
  buildTool: 'a builder',
  buildToolVersion: '4',
  operatingSystem: 'a system',
  kernelVersion: '6',
}
const METADATA =
  '{"ImageName":"a gateway","ImageVersion":"1.2.3","BuildMetadata":{"BuildTime":"2026-01-02T03:04:05Z",' +
  '"BuildTool":"a builder","BuildToolVersion":"4","OperatingSystem":"a system","KernelVersion":"6"},' +
  '"DockerInfo":{},"CustomMetadata":{}}'
const PARTS: ImageParts = {
  architecture: 'x86_64',
  kernel: Buffer.from('a kernel'),
  cmdline: 'console=ttyS0',
  ramdisks: [Buffer.from('boot'), Buffer.from('application')],
  metadata: DESCRIPTION,
  defaultMemoryBytes: 1n << 30n,
  defaultCpuCount: 2n,
}

it('is byte for byte what the same parts give when written from the description of the format', () => {
  const byHand = writeByHand([
    part('kernel', 'a kernel'),
    part('cmdline', 'console=ttyS0'),
    part('metadata', METADATA),
    part('ramdisk', 'boot'),
    part('ramdisk', 'application'),
  ])
  expect(Buffer.concat(encodeImage(PARTS)).equals(byHand)).toBe(true)
})

it('is read and measured as what was written, for any contents', async () => {
  const content = fc.uint8Array({ maxLength: 300 })
  await fc.assert(
    fc.asyncProperty(
      content,
      fc.string({ maxLength: 60 }),
      fc.array(content, { minLength: 1, maxLength: 29 }),
      fc.constantFrom('x86_64' as const, 'aarch64' as const),
      async (kernel, cmdline, ramdisks, architecture) => {
        const path = join(folder, 'any.eif')
        writeImage(path, { ...PARTS, kernel, cmdline, ramdisks, architecture })
        const measured = await measureImage(path)
        const text = Buffer.from(cmdline)
        const [boot = new Uint8Array(), ...rest] = ramdisks
        expect([measured.pcr0, measured.pcr1, measured.pcr2].map((pcr) => Buffer.from(pcr).toString('hex'))).toEqual([
          pcrOf(kernel, text, ...ramdisks),
          pcrOf(kernel, text, boot),
          pcrOf(...rest),
        ])
        expect(measured).toMatchObject({
          header: { version: 4, architecture, defaultMemoryBytes: 1n << 30n, defaultCpuCount: 2n },
          kinds: ['kernel', 'cmdline', 'metadata', ...ramdisks.map(() => 'ramdisk')],
          metadata: { name: 'a gateway', version: '1.2.3' },
          pcr8: undefined,
        })
      },
    ),
    { numRuns: 40, seed: 11 },
  )
})

it('leaves what is not measured out of every PCR', async () => {
  const measure = async (parts: ImageParts) => {
    const path = join(folder, 'one.eif')
    writeImage(path, parts)
    const { pcr0, pcr1, pcr2 } = await measureImage(path)
    return [pcr0, pcr1, pcr2].map((pcr) => Buffer.from(pcr).toString('hex'))
  }
  const expected = await measure(PARTS)
  expect(await measure({ ...PARTS, defaultCpuCount: 9n, defaultMemoryBytes: 5n })).toEqual(expected)
  expect(await measure({ ...PARTS, metadata: { ...DESCRIPTION, buildTime: 'another' } })).toEqual(expected)
  expect(await measure({ ...PARTS, cmdline: 'console=ttyS1' })).not.toEqual(expected)
})

it('is not written without a ramdisk, nor with more sections than the header has room for', () => {
  const ramdisks = (count: number) => Array.from({ length: count }, () => new Uint8Array(1))
  expect(() => encodeImage({ ...PARTS, ramdisks: [] })).toThrow(expect.objectContaining({ code: 'SECTION_MISSING' }))
  expect(() => encodeImage({ ...PARTS, ramdisks: ramdisks(30) })).toThrow(EifError)
  const [header = new Uint8Array()] = encodeImage({ ...PARTS, ramdisks: ramdisks(29) })
  expect(header.length).toBe(HEADER_BYTES)
  expect(Buffer.from(header).readUInt16BE(26)).toBe(32)
})

it('writes the file that it encodes', () => {
  const path = join(folder, 'file.eif')
  writeImage(path, PARTS)
  const bytes = readFileSync(path)
  expect(bytes.equals(Buffer.concat(encodeImage(PARTS)))).toBe(true)
  expect(bytes.readUInt16BE(HEADER_BYTES)).toBe(SECTION.kernel)
})

/** Measurements of good images, against an independent computation. @module */
import { createHash } from 'node:crypto'
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import {
  edited,
  entryOf,
  FIELD,
  HEADER_BYTES,
  type ImagePart,
  pcrOf,
  SAMPLE,
  SECTION,
  writeImage,
} from '../../../test/support/enclaveImage.ts'
import { type ImageMeasurement, measureImage } from './measureImage.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-eif-'))
afterAll(() => rmSync(folder, { recursive: true }))

const { kernel: KERNEL, cmdline: CMDLINE, metadata: METADATA, boot: BOOT, code: CODE, model: MODEL } = SAMPLE
/** In the order of the reference builder. */
const PARTS = [KERNEL, CMDLINE, METADATA, BOOT, CODE, MODEL]
const IMAGE = writeImage(PARTS)
describe('a measurement', () => {
  it('is of kernel, cmdline and ramdisks, each as it should be', async () => {
    const measured = await measure(IMAGE)
    expect(hexOf(measured)).toEqual({
      pcr0: pcrOf(...contents(KERNEL, CMDLINE, BOOT, CODE, MODEL)),
      pcr1: pcrOf(...contents(KERNEL, CMDLINE, BOOT)),
      pcr2: pcrOf(...contents(CODE, MODEL)),
    })
    expect(measured).toMatchObject({
      pcr8: undefined,
      isSignatureValid: undefined,
      fileBytes: IMAGE.length,
      kinds: ['kernel', 'cmdline', 'metadata', 'ramdisk', 'ramdisk', 'ramdisk'],
      metadata: { name: 'a gateway', version: '1.2.3' },
      header: { version: 4, architecture: 'x86_64', defaultMemoryBytes: 1n << 30n, defaultCpuCount: 2n },
    })
  })

  it('of an image with one ramdisk has the PCR2 that such enclaves publish, and one value for PCR0 and PCR1', async () => {
    const { pcr0, pcr1, pcr2 } = hexOf(await measure(writeImage([KERNEL, CMDLINE, BOOT])))
    // PCR2 of every enclave built with one ramdisk, for example those of Turnkey's QuorumOS and of Mysten's Nautilus.
    expect(pcr2).toBe(
      '21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a',
    )
    expect(pcr0).toBe(pcr1)
  })

  it('does not change with what is not measured: header, metadata and where it stands', async () => {
    const expected = hexOf(await measure(IMAGE))
    const others = [
      edited(IMAGE, (image) => image.writeUInt16BE(2, FIELD.version)),
      edited(IMAGE, (image) => image.writeUInt16BE(1, FIELD.flags)),
      edited(IMAGE, (image) => image.writeBigUInt64BE(1n, FIELD.memory)),
      edited(IMAGE, (image) => image.writeBigUInt64BE(2n ** 64n - 1n, FIELD.cpus)),
      writeImage([KERNEL, CMDLINE, BOOT, CODE, MODEL]),
      writeImage([METADATA, KERNEL, CMDLINE, BOOT, CODE, MODEL]),
      writeImage([KERNEL, CMDLINE, BOOT, CODE, METADATA, MODEL]),
    ]
    for (const image of others) expect(hexOf(await measure(image))).toEqual(expected)
    expect((await measure(edited(IMAGE, (image) => image.writeUInt16BE(1, FIELD.flags)))).header.architecture).toBe(
      'aarch64',
    )
  })

  it('agrees with an independent computation for any contents', async () => {
    const content = fc.uint8Array({ maxLength: 300 })
    const ramdisks = fc.array(content, { minLength: 1, maxLength: 29 })
    await fc.assert(
      fc.asyncProperty(content, content, ramdisks, async (kernel, cmdline, disks) => {
        const [boot = new Uint8Array(), ...rest] = disks
        const image = writeImage([
          { type: SECTION.kernel, content: kernel },
          { type: SECTION.cmdline, content: cmdline },
          ...disks.map((disk) => ({ type: SECTION.ramdisk, content: disk })),
        ])
        expect(hexOf(await measure(image))).toEqual({
          pcr0: pcrOf(kernel, cmdline, ...disks),
          pcr1: pcrOf(kernel, cmdline, boot),
          pcr2: pcrOf(...rest),
        })
      }),
      { numRuns: 60, seed: 7 },
    )
  })

  it('of 300 MB needs no more memory than one of 300 kB, and tells how far it is', async () => {
    const path = join(folder, 'large.eif')
    const sizes = [20_000_000, 10, 80_000_000, 200_000_000]
    const digests = writeSparseImage(path, sizes)
    const before = process.memoryUsage().rss
    let [most, last] = [before, 0]
    const measured = await measureImage(path, {
      onProgress(readBytes, fileBytes) {
        expect(readBytes > last && readBytes <= fileBytes).toBe(true)
        last = readBytes
        most = Math.max(most, process.memoryUsage().rss)
      },
    })
    rmSync(path)
    expect(last).toBe(measured.fileBytes)
    expect(measured.fileBytes).toBeGreaterThan(300_000_000)
    expect(hexOf(measured)).toEqual(digests)
    expect(most - before).toBeLessThan(64 * 1_048_576)
  })
})

let fileCount = 0

/** Measures `image` as a file of its own. */
async function measure(image: Uint8Array): Promise<ImageMeasurement> {
  const path = join(folder, `${fileCount++}.eif`)
  writeFileSync(path, image)
  try {
    return await measureImage(path)
  } finally {
    rmSync(path)
  }
}

function hexOf({ pcr0, pcr1, pcr2 }: ImageMeasurement): Record<'pcr0' | 'pcr1' | 'pcr2', string> {
  const hex = (pcr: Uint8Array): string => Buffer.from(pcr).toString('hex')
  return { pcr0: hex(pcr0), pcr1: hex(pcr1), pcr2: hex(pcr2) }
}

function contents(...parts: readonly ImagePart[]): Uint8Array[] {
  return parts.map(({ content }) => content)
}

/** Writes an image of zeros as a file with holes: kernel, cmdline, ramdisks. Answers its PCRs, computed on the way. */
function writeSparseImage(path: string, sizes: readonly number[]): Record<'pcr0' | 'pcr1' | 'pcr2', string> {
  const types = [SECTION.kernel, SECTION.cmdline, ...sizes.slice(2).map(() => SECTION.ramdisk)]
  const small = writeImage(types.map((type) => ({ type, content: new Uint8Array() })))
  const header = Buffer.from(small.subarray(0, HEADER_BYTES))
  let position = HEADER_BYTES
  const sections = sizes.map((size, index) => {
    header.writeBigUInt64BE(BigInt(position), entryOf(index).offset)
    header.writeBigUInt64BE(BigInt(size), entryOf(index).size)
    const start = Buffer.from(small.subarray(HEADER_BYTES + 12 * index, HEADER_BYTES + 12 * (index + 1)))
    start.writeBigUInt64BE(BigInt(size), 4)
    const section = { position, start, size }
    position += 12 + size
    return section
  })
  let crc = crc32(header.subarray(0, FIELD.crc))
  const file = openSync(path, 'w')
  for (const { position: at, start, size } of sections) {
    crc = crc32(start, crc)
    writeSync(file, start, 0, 12, at)
    for (let left = size; left > 0; left -= ZEROS.length) crc = crc32(ZEROS.subarray(0, left), crc)
  }
  header.writeUInt32BE(crc, FIELD.crc)
  writeSync(file, header, 0, HEADER_BYTES, 0)
  ftruncateSync(file, position)
  closeSync(file)
  return { pcr0: zeroPcr(sizes), pcr1: zeroPcr(sizes.slice(0, 3)), pcr2: zeroPcr(sizes.slice(3)) }
}

const ZEROS = new Uint8Array(1_048_576)

function zeroPcr(sizes: readonly number[]): string {
  const hash = createHash('sha384')
  for (let left = sizes.reduce((sum, size) => sum + size, 0); left > 0; left -= ZEROS.length) {
    hash.update(ZEROS.subarray(0, left))
  }
  return createHash('sha384').update(Buffer.alloc(48)).update(hash.digest()).digest('hex')
}

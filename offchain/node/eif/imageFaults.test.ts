/** Image files with something wrong: each is refused, and with the code that says what. @module */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import {
  edited,
  entryOf,
  FIELD,
  HEADER_BYTES,
  reseal,
  SAMPLE,
  SECTION,
  writeImage,
} from '../../../test/support/enclaveImage.ts'
import type { EifErrorCode } from './eifError.ts'
import { type ImageMeasurement, measureImage } from './measureImage.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-eif-'))
afterAll(() => rmSync(folder, { recursive: true }))

const { kernel: KERNEL, cmdline: CMDLINE, metadata: METADATA, boot: BOOT, code: CODE, model: MODEL } = SAMPLE
/** In the order of the reference builder. */
const PARTS = [KERNEL, CMDLINE, METADATA, BOOT, CODE, MODEL]
const IMAGE = writeImage(PARTS)
/** Where each section's header stands, then the end. */
const BOUNDARIES = PARTS.map((_part, index) =>
  PARTS.slice(0, index).reduce((end, { content }) => end + 12 + content.length, HEADER_BYTES),
).concat(IMAGE.length)

describe('a file that is no image', () => {
  type Fault = [what: string, code: EifErrorCode, image: Buffer]

  it.each<Fault>([
    ['has another magic', 'BAD_MAGIC', edited(IMAGE, (image) => image.write('.elf', 'latin1'))],
    ['is something short', 'BAD_MAGIC', Buffer.from('#!')],
    ['is empty', 'TRUNCATED', Buffer.alloc(0)],
    ['is a magic only', 'TRUNCATED', Buffer.from('.eif')],
    ['has a version before the CRC', 'BAD_VERSION', edited(IMAGE, (image) => image.writeUInt16BE(1, FIELD.version))],
    ['has a version to come', 'BAD_VERSION', edited(IMAGE, (image) => image.writeUInt16BE(5, FIELD.version))],
    ['has an unknown flag', 'BAD_HEADER', edited(IMAGE, (image) => image.writeUInt16BE(2, FIELD.flags))],
    ['uses the reserved field', 'BAD_HEADER', edited(IMAGE, (image) => image.writeUInt16BE(1, FIELD.reserved))],
    ['uses the unused field', 'BAD_HEADER', edited(IMAGE, (image) => image.writeUInt32BE(1, FIELD.unused))],
    [
      'has an offset in an unused entry',
      'BAD_HEADER',
      edited(IMAGE, (image) => image.writeBigUInt64BE(1n, entryOf(31).offset)),
    ],
    ['has a size in an unused entry', 'BAD_HEADER', edited(IMAGE, (i) => i.writeBigUInt64BE(1n, entryOf(6).size))],
    ['counts 33 sections', 'SECTION_COUNT', edited(IMAGE, (image) => image.writeUInt16BE(33, FIELD.count))],
    ['counts a section too few', 'BAD_HEADER', edited(IMAGE, (image) => image.writeUInt16BE(5, FIELD.count))],
    ['counts a section too many', 'SECTION_OVERLAP', edited(IMAGE, (image) => image.writeUInt16BE(7, FIELD.count))],
    ['has sections that overlap', 'SECTION_OVERLAP', edited(IMAGE, (image) => shiftEntry(image, 3, -1n))],
    ['has a gap', 'SECTION_GAP', edited(IMAGE, (image) => shiftEntry(image, 3, 1n))],
    ['has sections in another order than the file', 'SECTION_GAP', edited(IMAGE, (image) => swapEntries(image, 4, 5))],
    [
      'has a section beyond its end',
      'TRUNCATED',
      edited(IMAGE, (image) => image.writeBigUInt64BE(2n ** 64n - 1n, entryOf(5).size)),
    ],
    ['says another size twice', 'SECTION_SIZE', edited(IMAGE, (i) => i.writeBigUInt64BE(1n, boundary(2) + 4))],
    ['has an invalid section', 'SECTION_TYPE', edited(IMAGE, (image) => image.writeUInt16BE(0, boundary(2)))],
    ['has an unknown section', 'SECTION_TYPE', edited(IMAGE, (image) => image.writeUInt16BE(6, boundary(2)))],
    ['has a flag on a section', 'SECTION_FLAGS', edited(IMAGE, (image) => image.writeUInt16BE(1, boundary(0) + 2))],
    ['has no kernel', 'SECTION_MISSING', writeImage([CMDLINE, BOOT])],
    ['has no cmdline', 'SECTION_MISSING', writeImage([KERNEL, BOOT])],
    ['has no ramdisk', 'SECTION_MISSING', writeImage([KERNEL, CMDLINE])],
    ['has no section', 'SECTION_MISSING', writeImage([])],
    ['has two kernels', 'SECTION_REPEATED', writeImage([KERNEL, KERNEL, CMDLINE, BOOT])],
    ['has two cmdlines', 'SECTION_REPEATED', writeImage([KERNEL, CMDLINE, BOOT, CMDLINE])],
    ['has metadata twice', 'SECTION_REPEATED', writeImage([KERNEL, CMDLINE, METADATA, BOOT, METADATA])],
    ['has its cmdline first', 'SECTION_ORDER', writeImage([CMDLINE, KERNEL, BOOT])],
    ['has a ramdisk before the cmdline', 'SECTION_ORDER', writeImage([KERNEL, BOOT, CMDLINE])],
    ['has a wrong CRC', 'BAD_CRC', crcOff(IMAGE)],
    ['has metadata that is no JSON', 'BAD_METADATA', withMetadata('{"ImageName"')],
    ['has metadata without a version', 'BAD_METADATA', withMetadata('{"ImageName":"a"}')],
    ['has metadata that is no text', 'BAD_METADATA', withMetadata(Buffer.from([0x22, 0xff, 0x22]))],
    ['has empty metadata', 'BAD_METADATA', withMetadata('')],
    ['has metadata of more than a mebibyte', 'SECTION_TOO_LONG', withMetadata(Buffer.alloc(1_048_577, 0x20))],
  ])('and %s is refused with %s', async (_what, code, image) => {
    await expect(measure(image)).rejects.toMatchObject({ name: 'EifError', code })
  })

  it('and has metadata of a mebibyte is taken', async () => {
    const content = Buffer.alloc(1_048_576, 0x20)
    content.set(METADATA.content)
    await expect(measure(withMetadata(content))).resolves.toBeDefined()
  })

  it('and is absent, or a folder, cannot be read', async () => {
    for (const path of [join(folder, 'absent.eif'), folder]) {
      await expect(measureImage(path)).rejects.toMatchObject({ code: 'NOT_READABLE' })
    }
  })

  it('and is cut is refused at every section boundary and one byte around it, and with one byte more', async () => {
    const lengths = BOUNDARIES.flatMap((end) => [end - 1, end, end + 1, end + 12])
    for (const length of lengths) {
      if (length === IMAGE.length) continue
      const image =
        length < IMAGE.length ? IMAGE.subarray(0, length) : Buffer.concat([IMAGE, Buffer.alloc(length - IMAGE.length)])
      const code = length < IMAGE.length ? 'TRUNCATED' : 'TRAILING_BYTES'
      await expect(measure(image), `${length} bytes`).rejects.toMatchObject({ code })
    }
  })

  it('and is cut anywhere, or longer, is refused even with a CRC of its own', async () => {
    const length = fc.integer({ min: 0, max: IMAGE.length + 40 }).filter((bytes) => bytes !== IMAGE.length)
    await fc.assert(
      fc.asyncProperty(length, async (bytes) => {
        const image = Buffer.alloc(bytes)
        IMAGE.copy(image)
        if (bytes >= HEADER_BYTES) reseal(image)
        await expect(measure(image)).rejects.toMatchObject({ name: 'EifError' })
      }),
      { numRuns: 150, seed: 11 },
    )
  })

  it('with one bit flipped anywhere is refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 8 * IMAGE.length - 1 }), async (bit) => {
        await expect(measure(flipped(IMAGE, bit))).rejects.toMatchObject({ name: 'EifError' })
      }),
      { numRuns: 300, seed: 13 },
    )
  })

  it('with any bits of its headers changed under a right CRC is refused, unless the change is no part of a measurement', async () => {
    const { pcr0, pcr1, pcr2 } = await measure(IMAGE)
    const expected = { pcr0, pcr1, pcr2 }
    const headerBits = Array.from({ length: 8 * FIELD.crc }, (_, bit) => bit)
    const sectionBits = BOUNDARIES.slice(0, -1).flatMap((start) =>
      Array.from({ length: 96 }, (_, bit) => 8 * start + bit),
    )
    const outcomes = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...headerBits, ...sectionBits), async (bit) => {
        const outcome = await measure(reseal(flipped(IMAGE, bit))).then(
          ({ pcr0, pcr1, pcr2 }) => {
            // Architecture, memory and CPUs.
            expect(bit >= 8 * FIELD.flags && bit < 8 * FIELD.reserved).toBe(true)
            expect({ pcr0, pcr1, pcr2 }).toEqual(expected)
            return 'measured'
          },
          (error: { code: string }) => error.code,
        )
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      }),
      { numRuns: 600, seed: 17 },
    )
    expect(outcomes.get('BAD_CRC')).toBeUndefined()
    expect([...outcomes.keys()]).toEqual(expect.arrayContaining(['measured', 'SECTION_GAP', 'BAD_HEADER', 'TRUNCATED']))
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

function flipped(image: Buffer, bit: number): Buffer {
  const copy = Buffer.from(image)
  const byte = Math.floor(bit / 8)
  copy.writeUInt8(copy.readUInt8(byte) ^ (1 << (bit % 8)), byte)
  return copy
}

function crcOff(image: Buffer): Buffer {
  const copy = Buffer.from(image)
  copy.writeUInt32BE((copy.readUInt32BE(FIELD.crc) ^ 1) >>> 0, FIELD.crc)
  return copy
}

function withMetadata(content: string | Buffer): Buffer {
  return writeImage([KERNEL, CMDLINE, { type: SECTION.metadata, content: Buffer.from(content) }, BOOT])
}

function boundary(index: number): number {
  return BOUNDARIES[index] ?? Number.NaN
}

function shiftEntry(image: Buffer, index: number, by: bigint): void {
  const at = entryOf(index).offset
  image.writeBigUInt64BE(image.readBigUInt64BE(at) + by, at)
}

function swapEntries(image: Buffer, a: number, b: number): void {
  for (const field of ['offset', 'size'] as const) {
    const [first, second] = [image.readBigUInt64BE(entryOf(a)[field]), image.readBigUInt64BE(entryOf(b)[field])]
    image.writeBigUInt64BE(second, entryOf(a)[field])
    image.writeBigUInt64BE(first, entryOf(b)[field])
  }
}

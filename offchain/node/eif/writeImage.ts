/**
 * Writes an enclave image file, format version 4, section for section as the reference builder does: kernel, cmdline, metadata, ramdisks
 * (aws/aws-nitro-enclaves-image-format, `src/utils/mod.rs`). Layout: eifFormat.ts; what of it is measured: measureImage.ts.
 * @module
 */
import { closeSync, openSync, writeSync } from 'node:fs'
// As a whole: `crc32` came with Node 20.15, and on an older one everything but this still has to start.
import * as zlib from 'node:zlib'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { EifError } from './eifError.ts'
import { EIF_CRC_OFFSET, EIF_HEADER_BYTES, EIF_SECTION_HEADER_BYTES, type EifArchitecture } from './eifFormat.ts'

/** What an image is made of. The kernel, the command line and the ramdisks, in this order, are what is measured. */
export type ImageParts = {
  readonly architecture: EifArchitecture
  /** For x86_64 a bzImage. */
  readonly kernel: Uint8Array
  readonly cmdline: string
  /** At least one, at most 29. PCR1 covers the first, PCR2 the others. Linux unpacks them one over the other. */
  readonly ramdisks: readonly Uint8Array[]
  readonly metadata: ImageDescription
  /** What the enclave gets unless its operator says otherwise. */
  readonly defaultMemoryBytes: bigint
  readonly defaultCpuCount: bigint
}

/** What the vendor's tools show of an image. In no PCR: it proves nothing. */
export type ImageDescription = {
  readonly name: string
  readonly version: string
  /** RFC 3339. The builder's clock would make each build another file, so it is the caller's to fix. */
  readonly buildTime: string
  readonly buildTool: string
  readonly buildToolVersion: string
  readonly operatingSystem: string
  readonly kernelVersion: string
}

/** Writes the image to `path`. Throws `EifError` (`SECTION_COUNT`, `SECTION_MISSING`) for parts that make no image. */
export function writeImage(path: string, parts: ImageParts): void {
  const pieces = encodeImage(parts)
  const file = openSync(path, 'w')
  try {
    for (const piece of pieces) {
      for (let done = 0; done < piece.length; ) done += writeSync(file, piece, done)
    }
  } finally {
    closeSync(file)
  }
}

/** The image as pieces that stand one behind the other. Throws `EifError` (`SECTION_COUNT`, `SECTION_MISSING`). */
export function encodeImage(parts: ImageParts): Uint8Array[] {
  if (parts.ramdisks.length === 0) throw new EifError('SECTION_MISSING', 'expected a ramdisk section')
  const sections: readonly Section[] = [
    { type: SECTION_TYPE.kernel, content: parts.kernel },
    { type: SECTION_TYPE.cmdline, content: encodeUtf8(parts.cmdline) },
    { type: SECTION_TYPE.metadata, content: encodeMetadata(parts.metadata) },
    ...parts.ramdisks.map((content) => ({ type: SECTION_TYPE.ramdisk, content })),
  ]
  if (sections.length > SECTIONS_MAX) {
    throw new EifError('SECTION_COUNT', `expected at most ${SECTIONS_MAX} sections, got ${sections.length}`)
  }
  const body = sections.flatMap(({ type, content }) => [encodeSectionHeader(type, content.length), content])
  const header = encodeHeader(parts, sections)
  let crc = zlib.crc32(header.subarray(0, EIF_CRC_OFFSET))
  for (const piece of body) crc = zlib.crc32(piece, crc)
  new DataView(header.buffer).setUint32(EIF_CRC_OFFSET, crc)
  return [header, ...body]
}

type Section = { readonly type: number; readonly content: Uint8Array }

const MAGIC = '.eif'
const VERSION = 4
const FLAG_AARCH64 = 1
const SECTIONS_MAX = 32
const OFFSETS_AT = 28
const SIZES_AT = OFFSETS_AT + 8 * SECTIONS_MAX
const SECTION_TYPE = { kernel: 1, cmdline: 2, ramdisk: 3, metadata: 5 } as const

/** All of the header but its CRC. */
function encodeHeader(parts: ImageParts, sections: readonly Section[]): Uint8Array {
  const header = new Uint8Array(EIF_HEADER_BYTES)
  const view = new DataView(header.buffer)
  header.set(encodeUtf8(MAGIC))
  view.setUint16(4, VERSION)
  view.setUint16(6, parts.architecture === 'aarch64' ? FLAG_AARCH64 : 0)
  view.setBigUint64(8, parts.defaultMemoryBytes)
  view.setBigUint64(16, parts.defaultCpuCount)
  view.setUint16(26, sections.length)
  let offset = EIF_HEADER_BYTES
  for (const [index, { content }] of sections.entries()) {
    view.setBigUint64(OFFSETS_AT + 8 * index, BigInt(offset))
    view.setBigUint64(SIZES_AT + 8 * index, BigInt(content.length))
    offset += EIF_SECTION_HEADER_BYTES + content.length
  }
  return header
}

function encodeSectionHeader(type: number, contentBytes: number): Uint8Array {
  const header = new Uint8Array(EIF_SECTION_HEADER_BYTES)
  const view = new DataView(header.buffer)
  view.setUint16(0, type)
  view.setBigUint64(4, BigInt(contentBytes))
  return header
}

/** `EifIdentityInfo` of `src/defs/mod.rs`: the vendor's tools refuse a section in which one of these keys is missing. */
function encodeMetadata(description: ImageDescription): Uint8Array {
  return encodeUtf8(
    JSON.stringify({
      ImageName: description.name,
      ImageVersion: description.version,
      BuildMetadata: {
        BuildTime: description.buildTime,
        BuildTool: description.buildTool,
        BuildToolVersion: description.buildToolVersion,
        OperatingSystem: description.operatingSystem,
        KernelVersion: description.kernelVersion,
      },
      DockerInfo: {},
      CustomMetadata: {},
    }),
  )
}

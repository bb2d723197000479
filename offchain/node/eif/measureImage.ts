/**
 * What a Nitro enclave will measure of an image file: PCR0, PCR1, PCR2 and, for a signed image, PCR8.
 *
 * PCR0 covers kernel, cmdline and all ramdisks, PCR1 kernel, cmdline and the first ramdisk, PCR2 the other ramdisks: contents without section
 * headers, one behind the other (aws/aws-nitro-enclaves-image-format, `src/utils/eif_reader.rs` and `get_pcrs` in `src/utils/mod.rs`; AWS, "Where to
 * get an enclave's measurements"; QEMU, `hw/core/eif.c`). Each is one extension of a register of zeros, SHA-384(48 zeros || SHA-384(contents))
 * (`tpm_extend_finalize_reset` in `src/defs/eif_hasher.rs`). PCR8 is that of the signing certificate's DER. Header, metadata and signature are in no PCR.
 * @module
 */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
// As a whole: `crc32` came with Node 20.15, and on an older one everything but this still has to start.
import * as zlib from 'node:zlib'
import { EifError } from './eifError.ts'
import {
  checkSectionKinds,
  EIF_CRC_OFFSET,
  EIF_HEADER_BYTES,
  EIF_SECTION_HEADER_BYTES,
  type EifHeader,
  type EifSectionKind,
  parseEifHeader,
  parseEifSectionHeader,
} from './eifFormat.ts'
import { type ImageMetadata, parseImageMetadata } from './imageMetadata.ts'
import { type ImageSignature, parseImageSignature, verifyImageSignature } from './imageSignature.ts'

/** What an image measures to, and what it says of itself. */
export type ImageMeasurement = {
  /** 48 bytes each. */
  readonly pcr0: Uint8Array
  readonly pcr1: Uint8Array
  readonly pcr2: Uint8Array
  /** Undefined when the image is not signed: then the register stays zero. */
  readonly pcr8: Uint8Array | undefined
  /** Whether the certificate in PCR8 signed PCR0; undefined when the image is not signed. */
  readonly isSignatureValid: boolean | undefined
  readonly header: EifHeader
  readonly fileBytes: number
  /** In the order of the file. */
  readonly kinds: readonly EifSectionKind[]
  /** Undefined when the image has none. */
  readonly metadata: ImageMetadata | undefined
}

export type MeasureOptions = {
  /** Called after every piece read, at most a mebibyte long. */
  readonly onProgress?: ((readBytes: number, fileBytes: number) => void) | undefined
}

/** Reads the image at `path` once, piece by piece, and measures it. Throws `EifError` with any of its codes. */
export async function measureImage(path: string, options: MeasureOptions = {}): Promise<ImageMeasurement> {
  let file: FileHandle
  try {
    file = await open(path)
  } catch (cause) {
    throw new EifError('NOT_READABLE', `cannot read ${path}`, { cause })
  }
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw new EifError('NOT_READABLE', `${path} is not a file`)
    return await measureFile(file, stat.size, options)
  } finally {
    await file.close()
  }
}

const ZERO_REGISTER = new Uint8Array(48)
const PIECE_BYTES = 1_048_576
/** Sections that are kept in memory: a certificate chain in CBOR, and JSON with what a container's description says. */
const KEPT_BYTES_MAX: Readonly<Partial<Record<EifSectionKind, number>>> = { signature: 65_536, metadata: 1_048_576 }

async function measureFile(file: FileHandle, fileBytes: number, options: MeasureOptions): Promise<ImageMeasurement> {
  const buffer = new Uint8Array(Math.min(PIECE_BYTES, Math.max(fileBytes, EIF_HEADER_BYTES)))
  const headerBytes = (await readAt(file, 0, buffer.subarray(0, Math.min(EIF_HEADER_BYTES, fileBytes)))).slice()
  const header = parseEifHeader(headerBytes, fileBytes)
  const kinds: EifSectionKind[] = []
  for (const place of header.sections) {
    const bytes = await readAt(file, place.offset, buffer.subarray(0, EIF_SECTION_HEADER_BYTES))
    const kind = parseEifSectionHeader(bytes, place)
    const bytesMax = KEPT_BYTES_MAX[kind]
    if (bytesMax !== undefined && place.contentBytes > bytesMax) {
      throw new EifError('SECTION_TOO_LONG', `expected at most ${bytesMax} bytes in the ${kind} section`)
    }
    kinds.push(kind)
  }
  checkSectionKinds(kinds)

  const registers = startRegisters()
  const kept = new Map<EifSectionKind, Uint8Array>()
  let crc = zlib.crc32(headerBytes.subarray(0, EIF_CRC_OFFSET))
  for (const [index, { offset, contentBytes }] of header.sections.entries()) {
    const kind = kinds[index]
    if (kind === undefined) throw new Error('every section has a kind')
    crc = zlib.crc32(await readAt(file, offset, buffer.subarray(0, EIF_SECTION_HEADER_BYTES)), crc)
    const start = offset + EIF_SECTION_HEADER_BYTES
    for (let position = start; position < start + contentBytes; position += buffer.length) {
      const left = start + contentBytes - position
      const piece = await readAt(file, position, buffer.subarray(0, Math.min(buffer.length, left)))
      crc = zlib.crc32(piece, crc)
      // What is kept is no longer than the buffer, and so comes in one piece.
      if (KEPT_BYTES_MAX[kind] === undefined) registers.update(piece)
      else kept.set(kind, piece.slice())
      options.onProgress?.(position + piece.length, fileBytes)
    }
    if (kind === 'ramdisk') registers.endRamdisk()
  }
  if (crc !== header.crc32) {
    throw new EifError('BAD_CRC', `expected the CRC ${hex32(header.crc32)} of the header, got ${hex32(crc)}`)
  }
  // Only now: what the CRC does not vouch for is not even looked at.
  const contentOf = (kind: EifSectionKind) => (kinds.includes(kind) ? (kept.get(kind) ?? new Uint8Array()) : undefined)
  const metadata = contentOf('metadata')
  const signatureContent = contentOf('signature')
  const signature = signatureContent && parseImageSignature(signatureContent)
  const [pcr0, pcr1, pcr2] = registers.finish()
  return {
    pcr0,
    pcr1,
    pcr2,
    pcr8: signature && measureSigner(signature),
    isSignatureValid: signature && verifyImageSignature(signature, pcr0),
    header,
    fileBytes,
    kinds,
    metadata: metadata && parseImageMetadata(metadata),
  }
}

/** Hashes for PCR0, PCR1 and PCR2. Up to the end of the first ramdisk the first two are one. */
function startRegisters(): {
  update(piece: Uint8Array): void
  endRamdisk(): void
  finish(): [Uint8Array, Uint8Array, Uint8Array]
} {
  const image = createHash('sha384')
  const application = createHash('sha384')
  let boot: Hash | undefined
  return {
    update(piece) {
      image.update(piece)
      if (boot !== undefined) application.update(piece)
    },
    endRamdisk() {
      boot ??= image.copy()
    },
    finish() {
      if (boot === undefined) throw new Error('an image has a ramdisk')
      return [extendOnce(image), extendOnce(boot), extendOnce(application)]
    },
  }
}

function measureSigner({ certificate }: ImageSignature): Uint8Array {
  return extendOnce(createHash('sha384').update(certificate))
}

function extendOnce(contents: Hash): Uint8Array {
  return new Uint8Array(createHash('sha384').update(ZERO_REGISTER).update(contents.digest()).digest())
}

/** Fills `target` from `offset` on. */
async function readAt(file: FileHandle, offset: number, target: Uint8Array): Promise<Uint8Array> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await file.read(target, done, target.length - done, offset + done)
    // The file was this long when it was opened.
    if (bytesRead === 0) throw new EifError('NOT_READABLE', 'the file became shorter while it was read')
    done += bytesRead
  }
  return target
}

function hex32(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}

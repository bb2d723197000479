/**
 * The Enclave Image Format, versions 2 to 4: header, section headers, and where sections may lie.
 *
 * Source: the reference implementation, aws/aws-nitro-enclaves-image-format, `src/defs/mod.rs` (fields) and `src/utils/mod.rs` (what its
 * builder writes). All integers are big-endian:
 *
 *     struct {                              struct {
 *       uint8  magic[4];     // ".eif"        uint16 type;    // 1 kernel .. 5 metadata
 *       uint16 version;                       uint16 flags;   // 0
 *       uint16 flags;        // 1: aarch64    uint64 size;    // of the content behind it
 *       uint64 defaultMemory;               } SectionHeader;  // 12 bytes
 *       uint64 defaultCpus;
 *       uint16 reserved;     // 0
 *       uint16 sectionCount;
 *       uint64 sectionOffsets[32];  // of section headers; unused ones 0
 *       uint64 sectionSizes[32];    // of contents; unused ones 0
 *       uint32 unused;       // 0
 *       uint32 crc32;        // ISO-HDLC, of the whole file but these four bytes
 *     } Header;              // 548 bytes
 *
 * Two readers exist: the reference one walks the file and ignores the header's offsets, QEMU's (`hw/core/eif.c`) follows the offsets. An image
 * on which they could differ has no one measurement, so whatever makes them differ is refused here: sections stand in the header in the
 * order of the file, without gap or overlap, from the header to the end of the file.
 * @module
 */
import { EifError } from './eifError.ts'

export const EIF_HEADER_BYTES = 548
export const EIF_SECTION_HEADER_BYTES = 12
/** Offset of the CRC, which covers everything but itself. */
export const EIF_CRC_OFFSET = 544

export type EifHeader = {
  /** 2 to 4. */
  readonly version: number
  readonly architecture: EifArchitecture
  /** What the enclave gets unless its operator says otherwise. Not measured. */
  readonly defaultMemoryBytes: bigint
  readonly defaultCpuCount: bigint
  /** In the order of the file: they fill all of it behind the header. */
  readonly sections: readonly EifPlace[]
  readonly crc32: number
}

export type EifArchitecture = 'x86_64' | 'aarch64'

/** A section: `offset` of its header in the file, length of its content in bytes. */
export type EifPlace = { readonly offset: number; readonly contentBytes: number }

/**
 * Parses the first 548 bytes (or all, when the file is shorter) of a file of `fileBytes`.
 * Throws `EifError`: `BAD_MAGIC`, `TRUNCATED`, `BAD_VERSION`, `BAD_HEADER`, `SECTION_COUNT`, `SECTION_OVERLAP`, `SECTION_GAP`, `TRAILING_BYTES`.
 */
export function parseEifHeader(bytes: Uint8Array, fileBytes: number): EifHeader {
  if (!MAGIC.every((byte, i) => i >= bytes.length || bytes[i] === byte)) {
    throw new EifError('BAD_MAGIC', 'expected an enclave image file, which begins with ".eif"')
  }
  if (bytes.length < EIF_HEADER_BYTES) {
    throw new EifError('TRUNCATED', `expected a header of ${EIF_HEADER_BYTES} bytes, got ${bytes.length}`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, EIF_HEADER_BYTES)
  const version = view.getUint16(4)
  if (version < VERSION_MIN || version > VERSION_MAX) {
    throw new EifError('BAD_VERSION', `expected format version ${VERSION_MIN} to ${VERSION_MAX}, got ${version}`)
  }
  const flags = view.getUint16(6)
  if ((flags & ~FLAG_AARCH64) !== 0) throw new EifError('BAD_HEADER', `expected flags 0 or 1, got ${flags}`)
  if (view.getUint16(24) !== 0 || view.getUint32(540) !== 0) {
    throw new EifError('BAD_HEADER', 'expected zeros in the reserved fields')
  }
  return {
    version,
    architecture: flags === FLAG_AARCH64 ? 'aarch64' : 'x86_64',
    defaultMemoryBytes: view.getBigUint64(8),
    defaultCpuCount: view.getBigUint64(16),
    sections: readPlaces(view, fileBytes),
    crc32: view.getUint32(EIF_CRC_OFFSET),
  }
}

/** Parses the header at a section's start; `place` is what the file's header says. Throws `EifError`: `SECTION_TYPE`, `SECTION_FLAGS`, `SECTION_SIZE`. */
export function parseEifSectionHeader(bytes: Uint8Array, place: EifPlace): EifSectionKind {
  const view = new DataView(bytes.buffer, bytes.byteOffset, EIF_SECTION_HEADER_BYTES)
  const type = view.getUint16(0)
  const kind = SECTION_KINDS.get(type)
  if (kind === undefined) throw new EifError('SECTION_TYPE', `expected a section of type 1 to 5, got ${type}`)
  const flags = view.getUint16(2)
  if (flags !== 0) throw new EifError('SECTION_FLAGS', `expected flags 0 in the ${kind} section, got ${flags}`)
  const size = view.getBigUint64(4)
  if (size !== BigInt(place.contentBytes)) {
    throw new EifError(
      'SECTION_SIZE',
      `the header says the ${kind} section has ${place.contentBytes} bytes, the section says ${size}`,
    )
  }
  return kind
}

export type EifSectionKind = 'kernel' | 'cmdline' | 'ramdisk' | 'signature' | 'metadata'

/** Checks that the kinds, in the order of the file, make an image. Throws `EifError`: `SECTION_MISSING`, `SECTION_REPEATED`, `SECTION_ORDER`. */
export function checkSectionKinds(kinds: readonly EifSectionKind[]): void {
  for (const kind of MEASURED_KINDS) {
    if (!kinds.includes(kind)) throw new EifError('SECTION_MISSING', `expected a ${kind} section`)
  }
  for (const kind of SECTION_KINDS.values()) {
    if (kind !== 'ramdisk' && kinds.indexOf(kind) !== kinds.lastIndexOf(kind)) {
      throw new EifError('SECTION_REPEATED', `expected one ${kind} section`)
    }
  }
  // PCRs are over the file's order: with another one the same parts would have another measurement.
  const [kernel = 0, cmdline = 0, ramdisk = 0] = MEASURED_KINDS.map((kind) => kinds.indexOf(kind))
  if (kernel > cmdline || cmdline > ramdisk) {
    throw new EifError('SECTION_ORDER', 'expected the kernel before the cmdline before the ramdisks')
  }
}

const MAGIC = [0x2e, 0x65, 0x69, 0x66] as const
/** Version 1 has no CRC; 3 added signatures, 4 metadata. */
const VERSION_MIN = 2
const VERSION_MAX = 4
const FLAG_AARCH64 = 1
const SECTIONS_MAX = 32
const OFFSETS_OFFSET = 28
const SIZES_OFFSET = OFFSETS_OFFSET + 8 * SECTIONS_MAX
const MEASURED_KINDS = ['kernel', 'cmdline', 'ramdisk'] as const
const SECTION_KINDS: ReadonlyMap<number, EifSectionKind> = new Map([
  [1, 'kernel'],
  [2, 'cmdline'],
  [3, 'ramdisk'],
  [4, 'signature'],
  [5, 'metadata'],
])

function readPlaces(view: DataView, fileBytes: number): readonly EifPlace[] {
  const count = view.getUint16(26)
  if (count > SECTIONS_MAX) {
    throw new EifError('SECTION_COUNT', `expected at most ${SECTIONS_MAX} sections, got ${count}`)
  }
  const places: EifPlace[] = []
  let end = EIF_HEADER_BYTES
  for (let i = 0; i < SECTIONS_MAX; i++) {
    const offset = view.getBigUint64(OFFSETS_OFFSET + 8 * i)
    const size = view.getBigUint64(SIZES_OFFSET + 8 * i)
    if (i >= count) {
      if (offset !== 0n || size !== 0n) throw new EifError('BAD_HEADER', `expected zeros in the unused entry ${i}`)
      continue
    }
    if (offset !== BigInt(end)) {
      const code = offset < end ? 'SECTION_OVERLAP' : 'SECTION_GAP'
      throw new EifError(code, `expected section ${i} at ${end}, where the one before ends, got ${offset}`)
    }
    if (offset + BigInt(EIF_SECTION_HEADER_BYTES) + size > fileBytes) {
      throw new EifError('TRUNCATED', `section ${i}, of ${size} bytes at ${offset}, leaves the file of ${fileBytes}`)
    }
    places.push({ offset: end, contentBytes: Number(size) })
    end += EIF_SECTION_HEADER_BYTES + Number(size)
  }
  if (end !== fileBytes) {
    throw new EifError('TRAILING_BYTES', `expected the end of the file at ${end}, got ${fileBytes - end} bytes more`)
  }
  return places
}

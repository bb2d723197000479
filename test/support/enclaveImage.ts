/** Enclave image files for tests, written field by field from the format's description: nothing here is shared with the parser. @module */
import { createHash, type KeyObject, sign } from 'node:crypto'

/** Section types (aws/aws-nitro-enclaves-image-format, `src/defs/mod.rs`). */
export const SECTION = { kernel: 1, cmdline: 2, ramdisk: 3, signature: 4, metadata: 5 } as const

export type ImagePart = { readonly type: number; readonly content: Uint8Array }

/** Where the header's fields stand. */
export const FIELD = {
  version: 4,
  flags: 6,
  memory: 8,
  cpus: 16,
  reserved: 24,
  count: 26,
  unused: 540,
  crc: 544,
} as const
export const HEADER_BYTES = 548

/** Offsets of an entry's two fields in the header. */
export function entryOf(index: number): { readonly offset: number; readonly size: number } {
  return { offset: 28 + 8 * index, size: 284 + 8 * index }
}

/** An image of format version 4 for x86_64, 1 GiB and 2 CPUs, with these sections in this order and a right CRC. */
export function writeImage(parts: readonly ImagePart[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write('.eif', 'latin1')
  header.writeUInt16BE(4, FIELD.version)
  header.writeBigUInt64BE(1n << 30n, FIELD.memory)
  header.writeBigUInt64BE(2n, FIELD.cpus)
  header.writeUInt16BE(parts.length, FIELD.count)
  const pieces: Uint8Array[] = [header]
  let position = HEADER_BYTES
  for (const [index, { type, content }] of parts.entries()) {
    header.writeBigUInt64BE(BigInt(position), entryOf(index).offset)
    header.writeBigUInt64BE(BigInt(content.length), entryOf(index).size)
    const sectionHeader = Buffer.alloc(12)
    sectionHeader.writeUInt16BE(type, 0)
    sectionHeader.writeBigUInt64BE(BigInt(content.length), 4)
    pieces.push(sectionHeader, content)
    position += 12 + content.length
  }
  return reseal(Buffer.concat(pieces))
}

export type ImageSections = { kernel: Buffer; cmdline: Buffer; ramdisks: Buffer[]; rest: number[] }

/** The sections of an image file, read as the format says: one behind the other. */
export function readSections(image: Buffer): ImageSections {
  const found: ImageSections = { kernel: Buffer.alloc(0), cmdline: Buffer.alloc(0), ramdisks: [], rest: [] }
  for (let at = HEADER_BYTES; at < image.length; ) {
    const type = image.readUInt16BE(at)
    const end = at + 12 + Number(image.readBigUInt64BE(at + 4))
    const content = image.subarray(at + 12, end)
    if (type === SECTION.kernel) found.kernel = content
    else if (type === SECTION.cmdline) found.cmdline = content
    else if (type === SECTION.ramdisk) found.ramdisks.push(content)
    else found.rest.push(type)
    at = end
  }
  return found
}

/** Writes the CRC that `image` should have into it. */
export function reseal(image: Buffer): Buffer {
  image.writeUInt32BE(crcOf([image.subarray(0, FIELD.crc), image.subarray(HEADER_BYTES)]), FIELD.crc)
  return image
}

/** A changed copy of `image` with a right CRC. */
export function edited(image: Buffer, edit: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(image)
  edit(copy)
  return reseal(copy)
}

/** A section of text. */
export function part(kind: keyof typeof SECTION, content: string): ImagePart {
  return { type: SECTION[kind], content: Buffer.from(content) }
}

/** The sections of a small image, to be put together as the reference builder does: metadata behind the cmdline, then the ramdisks. */
export const SAMPLE: Readonly<Record<'kernel' | 'cmdline' | 'metadata' | 'boot' | 'code' | 'model', ImagePart>> = {
  kernel: part('kernel', 'a kernel, as far as anybody here can tell'),
  cmdline: part('cmdline', 'reboot=k panic=30 console=ttyS0 pci=off'),
  metadata: part('metadata', '{"ImageName":"a gateway","ImageVersion":"1.2.3","DockerInfo":{}}'),
  boot: part('ramdisk', 'the first ramdisk: init and the driver'),
  code: part('ramdisk', 'the second ramdisk: code'),
  model: part('ramdisk', 'the third ramdisk: a model'),
}

/** SHA-384(48 zero bytes || SHA-384(contents)), as hex without 0x, as the vendor's tools print it. */
export function pcrOf(...contents: readonly Uint8Array[]): string {
  const digest = createHash('sha384').update(Buffer.concat(contents)).digest()
  return createHash('sha384')
    .update(Buffer.concat([Buffer.alloc(48), digest]))
    .digest('hex')
}

/** The content of a signature section: `pcr0` signed with ES384 by `key`, the key in `pem`. */
export function signatureSection(pem: string, key: KeyObject, pcr0: string): Buffer {
  return signatureContent(pem, signCose(pcr0Payload(pcr0), key))
}

/** What is signed: `{ "register_index": 0, "register_value": pcr0 }`. */
export function pcr0Payload(pcr0: string): Buffer {
  const value = numbers(Buffer.from(pcr0, 'hex'))
  return Buffer.concat([Buffer.from([0xa2]), text('register_index'), Buffer.from([0]), text('register_value'), value])
}

/** The content of a signature section with any two things in it. */
export function signatureContent(pem: string | Uint8Array, cose: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from([0x81, 0xa2]),
    text('signing_certificate'),
    numbers(typeof pem === 'string' ? Buffer.from(pem) : pem),
    text('signature'),
    numbers(cose),
  ])
}

/** A COSE_Sign1 over `payload`, untagged, with ES384 unless told; `header` is the protected one in hex, with its head. */
export function signCose(payload: Uint8Array, key: KeyObject, { header, hash }: CoseAlgorithm = ES384): Buffer {
  const algorithm = Buffer.from(header, 'hex')
  const signed = Buffer.concat([
    Buffer.from([0x84]),
    text('Signature1'),
    algorithm,
    Buffer.from([0x40]),
    bytes(payload),
  ])
  const rs = sign(hash, signed, { key, dsaEncoding: 'ieee-p1363' })
  return Buffer.concat([Buffer.from([0x84]), algorithm, Buffer.from([0xa0]), bytes(payload), bytes(rs)])
}

export type CoseAlgorithm = { readonly header: string; readonly hash: string }

const ES384: CoseAlgorithm = { header: '44a1013822', hash: 'sha384' }

function text(value: string): Buffer {
  return Buffer.concat([head(0x60, value.length), Buffer.from(value)])
}

function bytes(value: Uint8Array): Buffer {
  return Buffer.concat([head(0x40, value.length), value])
}

function numbers(values: Uint8Array): Buffer {
  return Buffer.concat([head(0x80, values.length), ...Array.from(values, (value) => head(0, value))])
}

/** A CBOR head (RFC 8949 section 3) with an argument below 65,536. */
function head(major: number, argument: number): Buffer {
  if (argument < 24) return Buffer.from([major + argument])
  return argument < 256
    ? Buffer.from([major + 24, argument])
    : Buffer.from([major + 25, argument >> 8, argument & 0xff])
}

/** CRC-32 (ISO-HDLC), bit by bit from its polynomial. */
function crcOf(pieces: readonly Uint8Array[]): number {
  let crc = 0xffffffff
  for (const piece of pieces) {
    for (const byte of piece) {
      crc ^= byte
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
    }
  }
  return ~crc >>> 0
}

/**
 * The two archive formats of an image: a ramdisk is a cpio archive, a container's layer a tar archive. Written here rather than by `cpio` and `tar`, so
 * that a build needs no root for owners and devices, and nothing of the builder's disk gets into it.
 * @module
 */
import { encodeUtf8, joinBytes } from '#protocol/bytes.ts'
import { ImageError } from './imageError.ts'
import { type ImageEntry, modeOf } from './imageTree.ts'

/**
 * A cpio archive in the "newc" format, as Linux unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst):
 *
 *     header = "070701" 13 fields of 8 hex digits, then the name with a zero byte, then the content; name and content each end at a multiple of 4
 *
 * `mtime` in seconds since the epoch.
 */
export function encodeCpio(entries: readonly ImageEntry[], mtime: number): Uint8Array {
  const pieces: Uint8Array[] = []
  for (const [index, entry] of entries.entries()) {
    const [major, minor] = entry.kind === 'device' ? [entry.major, entry.minor] : [0, 0]
    const fields = { inode: index + 1, mode: CPIO_TYPE[entry.kind] | modeOf(entry), mtime, major, minor }
    pieces.push(...encodeCpioEntry(entry.path, contentOf(entry), fields))
  }
  pieces.push(...encodeCpioEntry('TRAILER!!!', NOTHING, { inode: 0, mode: 0, mtime: 0, major: 0, minor: 0 }))
  return joinBytes(pieces)
}

/** A tar archive in the "ustar" format of POSIX.1-1988. Throws `ImageError` (`PATH_TOO_LONG`) for a path that does not fit. */
export function encodeTar(entries: readonly ImageEntry[], mtime: number): Uint8Array {
  const pieces: Uint8Array[] = []
  for (const entry of entries) {
    const content = entry.kind === 'file' ? entry.bytes : NOTHING
    pieces.push(encodeTarHeader(entry, content.length, mtime), content, padding(content.length, TAR_BLOCK_BYTES))
  }
  pieces.push(new Uint8Array(2 * TAR_BLOCK_BYTES))
  return joinBytes(pieces)
}

const NOTHING = new Uint8Array()

/** File types of stat(2). */
const CPIO_TYPE: Readonly<Record<ImageEntry['kind'], number>> = {
  folder: 0o040000,
  file: 0o100000,
  link: 0o120000,
  device: 0o020000,
}

function contentOf(entry: ImageEntry): Uint8Array {
  if (entry.kind === 'file') return entry.bytes
  return entry.kind === 'link' ? encodeUtf8(entry.target) : NOTHING
}

type CpioFields = { readonly inode: number; readonly mode: number; readonly mtime: number } & Readonly<
  Record<'major' | 'minor', number>
>

function encodeCpioEntry(path: string, content: Uint8Array, fields: CpioFields): Uint8Array[] {
  const name = encodeUtf8(`${path}\0`)
  const { inode, mode, mtime, major, minor } = fields
  // In the order of the format; the device that a file lies on and the checksum are always 0, and no file has a second name.
  const numbers = [inode, mode, 0, 0, 1, mtime, content.length, 0, 0, major, minor, name.length, 0]
  const header = encodeUtf8(`070701${numbers.map((number) => number.toString(16).padStart(8, '0')).join('')}`)
  return [header, name, padding(header.length + name.length, 4), content, padding(content.length, 4)]
}

const TAR_BLOCK_BYTES = 512
const TAR_TYPE: Readonly<Record<ImageEntry['kind'], string>> = { file: '0', link: '2', device: '3', folder: '5' }

function encodeTarHeader(entry: ImageEntry, contentBytes: number, mtime: number): Uint8Array {
  const header = new Uint8Array(TAR_BLOCK_BYTES)
  const put = (at: number, text: string, bytesMax: number) => {
    const bytes = encodeUtf8(text)
    if (bytes.length > bytesMax) throw new ImageError('PATH_TOO_LONG', `${entry.path} does not fit into a tar archive`)
    header.set(bytes, at)
  }
  const putOctal = (at: number, value: number, digits: number) =>
    put(at, value.toString(8).padStart(digits, '0'), digits)
  const { prefix, name } = splitTarPath(entry.kind === 'folder' ? `${entry.path}/` : entry.path)
  put(0, name, 100)
  putOctal(100, modeOf(entry), 7)
  putOctal(108, 0, 7)
  putOctal(116, 0, 7)
  putOctal(124, contentBytes, 11)
  putOctal(136, mtime, 11)
  put(148, ' '.repeat(8), 8)
  put(156, TAR_TYPE[entry.kind], 1)
  if (entry.kind === 'link') put(157, entry.target, 100)
  put(257, 'ustar\x0000', 8)
  putOctal(329, entry.kind === 'device' ? entry.major : 0, 7)
  putOctal(337, entry.kind === 'device' ? entry.minor : 0, 7)
  put(345, prefix, 155)
  // The sum is over the header with blanks in its own place.
  putOctal(
    148,
    header.reduce((sum, byte) => sum + byte, 0),
    6,
  )
  header[154] = 0
  return header
}

/** A path of more than 100 bytes is cut at a slash. */
function splitTarPath(path: string): { prefix: string; name: string } {
  if (path.length <= 100) return { prefix: '', name: path }
  const cut = path.indexOf('/', path.length - 101)
  return cut < 0 || cut === path.length - 1
    ? { prefix: '', name: path }
    : { prefix: path.slice(0, cut), name: path.slice(cut + 1) }
}

function padding(length: number, unit: number): Uint8Array {
  return new Uint8Array((unit - (length % unit)) % unit)
}

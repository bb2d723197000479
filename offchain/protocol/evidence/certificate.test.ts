import { p384 } from '@noble/curves/nist.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, encodeUtf8, fromHex, toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT, AWS_NITRO_ROOT_SHA256 } from './awsRoot.ts'
import { parseCertificate } from './certificate.ts'
import { verifyEs384 } from './certificateChain.ts'
import { enterDer, openDer, readDer } from './der.ts'
import { EvidenceError, type EvidenceFormatCode } from './evidenceError.ts'

const ROOT = AWS_NITRO_ROOT.certificate

describe("AWS's root", () => {
  it('is the certificate AWS publishes', () => {
    expect(AWS_NITRO_ROOT_SHA256).toBe('0x641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b')
    expect(toHex(sha256(ROOT))).toBe(AWS_NITRO_ROOT_SHA256)
    expect(AWS_NITRO_ROOT.kind).toBe('nitro')
  })

  it('parses into what it says and is signed by itself', () => {
    const root = parseCertificate(ROOT)
    expect(root).toMatchObject({
      serial: 0xf93175681b90afe11d46ccb4e4e7f856n,
      notBefore: BigInt(Date.UTC(2019, 9, 28, 13, 28, 5) / 1000),
      notAfter: BigInt(Date.UTC(2049, 9, 28, 14, 28, 5) / 1000),
      isCa: true,
      pathLength: undefined,
      canSignCertificates: true,
      canSignData: true,
    })
    expect(root.subject).toEqual(root.issuer)
    expect(verifyEs384(root.signature, root.tbs, root.publicKey)).toBe(true)
  })
})

describe('parsing', () => {
  it('refuses every prefix and every appended byte', () => {
    for (let length = 0; length < ROOT.length; length++) {
      expect(attempt(ROOT.subarray(0, length))).toBe('DER_TRUNCATED')
    }
    expect(attempt(concatBytes(ROOT, Uint8Array.of(0)))).toBe('DER_TRAILING_BYTES')
  })

  it('refuses, or reads as something else that is signed, each of the 4,264 flips of one bit', () => {
    const original = parseCertificate(ROOT)
    let parsed = 0
    for (let bit = 0; bit < 8 * ROOT.length; bit++) {
      const flipped = ROOT.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      if (attempt(flipped) !== 'ok') continue
      parsed++
      const { tbs, signature } = parseCertificate(flipped)
      expect(toHex(concatBytes(tbs, signature))).not.toBe(toHex(concatBytes(original.tbs, original.signature)))
    }
    expect(parsed).toBeGreaterThan(0)
  })

  const changes: [string, EvidenceFormatCode | 'ok', (tree: DerTree) => void][] = [
    ['nothing', 'ok', () => {}],
    ['version 2', 'CERTIFICATE_VERSION', (t) => set(t, [0, 0, 0], '0x01')],
    ['no version', 'CERTIFICATE_VERSION', (t) => children(t, [0]).shift()],
    ['two versions in the wrapper', 'CERTIFICATE_VERSION', (t) => children(t, [0, 0]).push(leaf(2, '0x02'))],
    ['serial zero', 'CERTIFICATE_SERIAL', (t) => set(t, [0, 1], '0x00')],
    ['a negative serial', 'DER_VALUE', (t) => set(t, [0, 1], '0x80')],
    ['a serial with a needless zero', 'DER_VALUE', (t) => set(t, [0, 1], '0x0001')],
    ['an empty serial', 'DER_VALUE', (t) => set(t, [0, 1], '0x')],
    ['a serial of 20 bytes', 'ok', (t) => set(t, [0, 1], `0x00${'ff'.repeat(20)}`)],
    ['a serial of 21 bytes', 'DER_VALUE', (t) => set(t, [0, 1], `0x7f${'ff'.repeat(20)}`)],
    ['ecdsa-with-SHA256 inside', 'CERTIFICATE_ALGORITHM', (t) => set(t, [0, 2, 0], '0x2a8648ce3d040302')],
    ['ecdsa-with-SHA256 outside', 'CERTIFICATE_ALGORITHM', (t) => set(t, [1, 0], '0x2a8648ce3d040302')],
    ['algorithm parameters', 'CERTIFICATE_ALGORITHM', (t) => children(t, [1]).push(leaf(5, '0x'))],
    ['an empty issuer', 'DER_VALUE', (t) => children(t, [0, 3]).splice(0)],
    ['a name part with more in its set', 'DER_TRAILING_BYTES', (t) => children(t, [0, 3, 0]).push(leaf(5, '0x'))],
    ['a name part with a third value', 'DER_TRAILING_BYTES', (t) => children(t, [0, 5, 0, 0]).push(leaf(5, '0x'))],
    ['a name whose part is a sequence', 'DER_TAG', (t) => setTag(t, [0, 3, 0], 0x30)],
    ['a third date', 'DER_TRAILING_BYTES', (t) => children(t, [0, 4]).push(leaf(0x17, ascii('490101000000Z')))],
    ['a key on P-256', 'CERTIFICATE_KEY', (t) => set(t, [0, 6, 0, 1], '0x2a8648ce3d030107')],
    ['key parameters left out', 'CERTIFICATE_KEY', (t) => children(t, [0, 6, 0]).pop()],
    [
      'a compressed key',
      'CERTIFICATE_KEY',
      (t) => set(t, [0, 6, 1], toHex(concatBytes(Uint8Array.of(0), compressed()))),
    ],
    ['a key off the curve', 'CERTIFICATE_KEY', (t) => editKey(t, (point) => xorLast(point))],
    ['a key with x at the prime or above', 'CERTIFICATE_KEY', (t) => editKey(t, shiftX)],
    ['the point at infinity', 'CERTIFICATE_KEY', (t) => set(t, [0, 6, 1], '0x0000')],
    ['unused bits in the key', 'DER_VALUE', (t) => editBits(t, [0, 6, 1], 1)],
    ['more after the key', 'DER_TRAILING_BYTES', (t) => children(t, [0, 6]).push(leaf(5, '0x'))],
    ['unique identifiers', 'CERTIFICATE_EXTENSION', (t) => children(t, [0]).splice(7, 0, leaf(0x81, '0x0000'))],
    ['no extensions', 'CERTIFICATE_EXTENSION', (t) => children(t, [0]).pop()],
    ['two lists of extensions', 'DER_TRAILING_BYTES', (t) => children(t, [0, 7]).push({ tag: 0x30, children: [] })],
    ['more after the extensions', 'DER_TRAILING_BYTES', (t) => children(t, [0]).push(leaf(5, '0x'))],
    ['CA as 0x01', 'DER_VALUE', (t) => set(t, [0, 7, 0, 0, 2], '0x3003010101')],
    ['CA as an explicit FALSE', 'DER_VALUE', (t) => set(t, [0, 7, 0, 0, 2], '0x3003010100')],
    ['CA as two bytes', 'DER_VALUE', (t) => set(t, [0, 7, 0, 0, 2], '0x30040102ffff')],
    ['critical as 0x01', 'DER_VALUE', (t) => set(t, [0, 7, 0, 0, 1], '0x01')],
    ['a path length of 255', 'ok', (t) => set(t, [0, 7, 0, 0, 2], '0x30070101ff020200ff')],
    ['a path length of 256', 'DER_VALUE', (t) => set(t, [0, 7, 0, 0, 2], '0x30070101ff02020100')],
    ['a path length of 2^64', 'DER_VALUE', (t) => set(t, [0, 7, 0, 0, 2], '0x300e0101ff0209010000000000000000')],
    ['a negative path length', 'DER_VALUE', (t) => set(t, [0, 7, 0, 0, 2], '0x30060101ff0201ff')],
    ['a path length without CA', 'CERTIFICATE_EXTENSION', (t) => set(t, [0, 7, 0, 0, 2], '0x3003020100')],
    ['more after the path length', 'DER_TRAILING_BYTES', (t) => set(t, [0, 7, 0, 0, 2], '0x30080101ff0201000500')],
    ['more after the constraints', 'DER_TRAILING_BYTES', (t) => set(t, [0, 7, 0, 0, 2], '0x30030101ff0500')],
    ['constraints that are no sequence', 'DER_TAG', (t) => set(t, [0, 7, 0, 0, 2], '0x31030101ff')],
    ['keyUsage with a trailing zero bit', 'CERTIFICATE_EXTENSION', (t) => set(t, [0, 7, 0, 2, 2], '0x03020086')],
    ['keyUsage with set unused bits', 'CERTIFICATE_EXTENSION', (t) => set(t, [0, 7, 0, 2, 2], '0x03020286')],
    ['keyUsage with 8 unused bits', 'CERTIFICATE_EXTENSION', (t) => set(t, [0, 7, 0, 2, 2], '0x03020800')],
    ['an empty keyUsage', 'CERTIFICATE_EXTENSION', (t) => set(t, [0, 7, 0, 2, 2], '0x030100')],
    ['keyUsage with its ninth bit', 'ok', (t) => set(t, [0, 7, 0, 2, 2], '0x0303078680')],
    ['keyUsage of three bytes', 'CERTIFICATE_EXTENSION', (t) => set(t, [0, 7, 0, 2, 2], '0x030400868080')],
    ['keyUsage of three bytes, canonical', 'CERTIFICATE_EXTENSION', (t) => set(t, [0, 7, 0, 2, 2], '0x030400868001')],
    ['more after keyUsage', 'DER_TRAILING_BYTES', (t) => set(t, [0, 7, 0, 2, 2], '0x030201860500')],
    ['an unknown extension', 'ok', (t) => set(t, [0, 7, 0, 1, 0], '0x551dff7f')],
    [
      'an unknown critical extension',
      'CERTIFICATE_EXTENSION_CRITICAL',
      (t) => children(t, [0, 7, 0, 1]).splice(1, 0, leaf(1, '0xff')),
    ],
    ['critical name constraints', 'CERTIFICATE_EXTENSION_CRITICAL', (t) => set(t, [0, 7, 0, 0, 0], '0x551d1e')],
    ['an extension twice', 'CERTIFICATE_EXTENSION_DUPLICATE', (t) => set(t, [0, 7, 0, 1, 0], '0x551d13')],
    ['more in an extension', 'DER_TRAILING_BYTES', (t) => children(t, [0, 7, 0, 0]).push(leaf(5, '0x'))],
    ['r = 0', 'CERTIFICATE_SIGNATURE_FORMAT', (t) => setSignature(t, 0n, 1n)],
    ['s = 0', 'CERTIFICATE_SIGNATURE_FORMAT', (t) => setSignature(t, 1n, 0n)],
    ['r = n', 'CERTIFICATE_SIGNATURE_FORMAT', (t) => setSignature(t, p384.Point.Fn.ORDER, 1n)],
    ['s = n', 'CERTIFICATE_SIGNATURE_FORMAT', (t) => setSignature(t, 1n, p384.Point.Fn.ORDER)],
    ['s = n - 1', 'ok', (t) => setSignature(t, 1n, p384.Point.Fn.ORDER - 1n)],
    ['r longer than the curve', 'DER_VALUE', (t) => setSignature(t, 1n << 384n, 1n)],
    ['a third signature value', 'DER_TRAILING_BYTES', (t) => set(t, [2], '0x003009020101020101020101')],
    ['more after the signature', 'DER_TRAILING_BYTES', (t) => children(t, []).push(leaf(5, '0x'))],
    ['a set around it all', 'DER_TAG', (t) => setTag(t, [], 0x31)],
  ]
  it.each(changes)('of the root with %s: %s', (_, code, change) => {
    const tree = decodeTree(ROOT)
    change(tree)
    expect(attempt(encodeTree(tree))).toBe(code)
  })

  it('says what keyUsage allows, and that nothing is allowed without it', () => {
    const tree = decodeTree(ROOT)
    set(tree, [0, 7, 0, 2, 2], '0x03020780')
    expect(parseCertificate(encodeTree(tree))).toMatchObject({ canSignData: true, canSignCertificates: false })
    set(tree, [0, 7, 0, 2, 2], '0x03020204')
    expect(parseCertificate(encodeTree(tree))).toMatchObject({ canSignData: false, canSignCertificates: true })
    children(tree, [0, 7, 0]).pop()
    expect(parseCertificate(encodeTree(tree))).toMatchObject({ canSignData: false, canSignCertificates: false })
    children(tree, [0, 7, 0]).shift()
    expect(parseCertificate(encodeTree(tree))).toMatchObject({ isCa: false, pathLength: undefined })
  })

  it.each([
    [0x17, '491231235959Z', Date.UTC(2049, 11, 31, 23, 59, 59)],
    [0x17, '700101000000Z', Date.UTC(1970, 0, 1)],
    [0x17, '691231235959Z', undefined],
    [0x17, '500101000000Z', undefined],
    [0x17, '280229000000Z', Date.UTC(2028, 1, 29)],
    [0x18, '20500101000000Z', Date.UTC(2050, 0, 1)],
    [0x18, '99991231235959Z', Date.UTC(9999, 11, 31, 23, 59, 59)],
    [0x17, '270229000000Z', undefined],
    [0x17, '260230000000Z', undefined],
    [0x17, '260431000000Z', undefined],
    [0x17, '261301000000Z', undefined],
    [0x17, '260001000000Z', undefined],
    [0x17, '260100000000Z', undefined],
    [0x17, '260101240000Z', undefined],
    [0x17, '260101006000Z', undefined],
    [0x17, '260101000060Z', undefined],
    [0x17, '2601010000Z', undefined],
    [0x17, '260101000000+0000', undefined],
    [0x17, '260101000000z', undefined],
    [0x17, '260101000000', undefined],
    [0x17, '26010100000 Z', undefined],
    [0x17, '20260101000000Z', undefined],
    [0x17, '20500101000000Z', undefined],
    [0x16, '20500101000000Z', undefined],
    [0x18, '20491231235959Z', undefined],
    [0x18, '20500101000000.5Z', undefined],
    [0x18, '20500101000000ZZ', undefined],
    [0x18, '500101000000Z', undefined],
    [0x16, '260101000000Z', undefined],
  ])('reads a date of tag 0x%i and text %s', (tag, text, ms) => {
    const tree = decodeTree(ROOT)
    children(tree, [0, 4]).splice(1, 1, leaf(tag, ascii(text)))
    const der = encodeTree(tree)
    if (ms === undefined) expect(attempt(der)).toBe('CERTIFICATE_DATE')
    else expect(parseCertificate(der).notAfter).toBe(BigInt(ms / 1000))
  })

  it.each([
    ['0x30', 'DER_TRUNCATED'],
    ['0x3080', 'DER_LENGTH'],
    ['0x30810500', 'DER_LENGTH'],
    ['0x308200ff', 'DER_LENGTH'],
    ['0x3083010000', 'DER_LENGTH'],
    ['0x30ff', 'DER_LENGTH'],
    ['0x308180', 'DER_TRUNCATED'],
    ['0x1f8101', 'DER_TAG'],
    ['0x', 'DER_TRUNCATED'],
  ])('refuses the head %s', (hex, code) => {
    expect(attempt(fromHex(hex))).toBe(code)
  })
})

type DerTree = { tag: number; children?: DerTree[]; content?: Uint8Array }

function decodeTree(der: Uint8Array): DerTree {
  const build = (cursor: ReturnType<typeof openDer>): DerTree => {
    const element = readDer(cursor)
    if ((element.tag & 0x20) === 0) return { tag: element.tag, content: der.slice(element.content, element.end) }
    const inner = enterDer(cursor, element)
    const list: DerTree[] = []
    while (inner.offset < inner.end) list.push(build(inner))
    return { tag: element.tag, children: list }
  }
  return build(openDer(der))
}

function encodeTree({ tag, children: list, content }: DerTree): Uint8Array {
  const body = list === undefined ? (content ?? new Uint8Array()) : concatBytes(...list.map(encodeTree))
  const { length } = body
  const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return concatBytes(Uint8Array.of(tag, ...head), body)
}

function at(tree: DerTree, path: readonly number[]): DerTree {
  return path.reduce((node, index) => {
    const child = node.children?.[index]
    if (child === undefined) throw new Error(`no element ${path.join('.')}`)
    return child
  }, tree)
}

function children(tree: DerTree, path: readonly number[]): DerTree[] {
  const list = at(tree, path).children
  if (list === undefined) throw new Error(`element ${path.join('.')} holds no others`)
  return list
}

function set(tree: DerTree, path: readonly number[], content: string): void {
  at(tree, path).content = fromHex(content)
}

function setTag(tree: DerTree, path: readonly number[], tag: number): void {
  at(tree, path).tag = tag
}

function leaf(tag: number, content: string): DerTree {
  return { tag, content: fromHex(content) }
}

function ascii(text: string): string {
  return toHex(encodeUtf8(text))
}

function editBits(tree: DerTree, path: readonly number[], unusedBits: number): void {
  const { content } = at(tree, path)
  if (content !== undefined) content[0] = unusedBits
}

function editKey(tree: DerTree, change: (point: Uint8Array) => void): void {
  const { content } = at(tree, [0, 6, 1])
  if (content !== undefined) change(content.subarray(1))
}

function xorLast(point: Uint8Array): void {
  point[96] = (point[96] ?? 0) ^ 1
}

/** The point with x = 0 on the curve, its x written as the prime: congruent, not canonical. */
function shiftX(point: Uint8Array): void {
  const onCurve = p384.Point.fromHex(`02${'00'.repeat(48)}`)
  point.set(concatBytes(Uint8Array.of(4), encodeUint(p384.Point.Fp.ORDER, 48), encodeUint(onCurve.y, 48)))
}

function compressed(): Uint8Array {
  return p384.Point.fromBytes(parseCertificate(ROOT).publicKey).toBytes(true)
}

function setSignature(tree: DerTree, r: bigint, s: bigint): void {
  const integer = (value: bigint): DerTree => {
    const hex = value.toString(16)
    const even = hex.padStart(hex.length + (hex.length % 2), '0')
    return leaf(2, `0x${Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? '00' : ''}${even}`)
  }
  const der = encodeTree({ tag: 0x30, children: [integer(r), integer(s)] })
  set(tree, [2], toHex(concatBytes(Uint8Array.of(0), der)))
}

function attempt(der: Uint8Array): EvidenceFormatCode | 'ok' {
  try {
    parseCertificate(der)
    return 'ok'
  } catch (error) {
    if (error instanceof EvidenceError) return error.code
    throw error
  }
}

/** DER as a tree to be edited: to make certificates with exactly one fault. @module */
import { concatBytes, encodeUint, fromHex } from '#protocol/bytes.ts'
import { type DerCursor, enterDer, openDer, readDer } from '#protocol/evidence/der.ts'

/** One element: constructed ones have children, the others content. */
export type DerTree = { tag: number; children?: DerTree[]; content?: Uint8Array }

const CONSTRUCTED = 0x20

/** The tree of a well-formed encoding. OCTET and BIT STRINGs are leaves, whatever they hold. */
export function decodeDerTree(der: Uint8Array): DerTree {
  const build = (cursor: DerCursor): DerTree => {
    const element = readDer(cursor)
    if ((element.tag & CONSTRUCTED) === 0) return { tag: element.tag, content: der.slice(element.content, element.end) }
    const inner = enterDer(cursor, element)
    const children: DerTree[] = []
    while (inner.offset < inner.end) children.push(build(inner))
    return { tag: element.tag, children }
  }
  return build(openDer(der))
}

export function encodeDerTree({ tag, children, content }: DerTree): Uint8Array {
  const body = children === undefined ? (content ?? new Uint8Array()) : concatBytes(...children.map(encodeDerTree))
  return concatBytes(Uint8Array.of(tag), encodeLength(body.length), body)
}

/** The element at `path`, by positions from the root of the tree. */
export function derAt(tree: DerTree, ...path: readonly number[]): DerTree {
  return path.reduce((node, index) => {
    const child = node.children?.[index]
    if (child === undefined) throw new Error(`no element ${path.join('.')}`)
    return child
  }, tree)
}

/** A leaf of the tree. */
export function derLeaf(tag: number, content: string): DerTree {
  return { tag, content: fromHex(content) }
}

function encodeLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length)
  return length < 0x100 ? Uint8Array.of(0x81, length) : concatBytes(Uint8Array.of(0x82), encodeUint(BigInt(length), 2))
}

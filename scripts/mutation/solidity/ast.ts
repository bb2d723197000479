/** Solidity's syntax tree as solc writes it: nodes with a type and a place in bytes. @module */
import { isRecord } from '#protocol/isRecord.ts'

/** Any object of the tree that has a `nodeType`. */
export type AstNode = { readonly nodeType: string; readonly [key: string]: unknown }

/** From `start` to before `end`, in bytes of the UTF-8 source. */
export type Span = { readonly start: number; readonly end: number }

/** `value` if it is a node. */
export function asNode(value: unknown): AstNode | undefined {
  return isNode(value) ? value : undefined
}

/** The nodes of a list; none if it is no list. */
export function asNodes(value: unknown): readonly AstNode[] {
  return Array.isArray(value) ? value.filter(isNode) : []
}

/** Where `node` stands, from solc's `start:length:file`. */
export function spanOf(node: AstNode): Span {
  const [start, length] = String(node.src).split(':').map(Number)
  if (start === undefined || length === undefined) throw new Error(`expected a place, got ${String(node.src)}`)
  return { start, end: start + length }
}

/** The type of an expression as Solidity writes it, empty where solc says none. */
export function typeOf(node: AstNode): string {
  const types = node.typeDescriptions
  return isRecord(types) && typeof types.typeString === 'string' ? types.typeString : ''
}

/** Calls `visit` for `root` and each node below with what it stands in, outermost first. What `visit` answers `false` for is not entered. */
export function walk(
  root: unknown,
  visit: (node: AstNode, ancestors: readonly AstNode[]) => boolean | undefined,
): void {
  const ancestors: AstNode[] = []
  const enter = (value: unknown): void => {
    if (Array.isArray(value)) {
      for (const item of value) enter(item)
      return
    }
    if (!isRecord(value)) return
    const node = asNode(value)
    if (node === undefined) return
    if (visit(node, ancestors) === false) return
    ancestors.push(node)
    for (const child of Object.values(node)) enter(child)
    ancestors.pop()
  }
  enter(root)
}

function isNode(value: unknown): value is AstNode {
  return isRecord(value) && typeof value.nodeType === 'string'
}

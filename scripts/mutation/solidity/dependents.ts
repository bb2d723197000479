/** Which contracts have to be compiled again when a source changes: those whose code takes in some of it. @module */
import { type AstNode, asNode, walk } from './ast.ts'
import type { ContractName } from './compiler.ts'

/**
 * The contracts (deployable ones) with code from `file`: they inherit it, call internal functions of its libraries, use its constants and
 * free functions, or create its contracts. Calls of another contract's address take in nothing. `asts` are solc's trees by path.
 */
export function contractsWithCodeOf(file: string, asts: ReadonlyMap<string, unknown>): readonly ContractName[] {
  const units = unitsOf(asts)
  const reached = new Map<number, boolean>()
  const reaches = (unit: Unit): boolean => {
    const known = reached.get(unit.id)
    if (known !== undefined) return known
    // Set before the descent, so that functions which call each other end it.
    reached.set(unit.id, unit.source === file)
    const found = unit.source === file || [...unit.uses].some((id) => reachesId(id))
    reached.set(unit.id, found)
    return found
  }
  const reachesId = (id: number): boolean => {
    const unit = units.get(id)
    return unit !== undefined && reaches(unit)
  }
  const deployable = [...units.values()].filter(({ isDeployable }) => isDeployable)
  return deployable
    .filter((unit) => {
      reached.clear()
      return reaches(unit)
    })
    .map(({ source, name }) => ({ source, name }))
}

/** A contract, library, or what stands in a file outside of both. `uses` are ids of other units. */
type Unit = {
  readonly id: number
  readonly source: string
  readonly name: string
  readonly isDeployable: boolean
  readonly uses: Set<number>
}

function unitsOf(asts: ReadonlyMap<string, unknown>): ReadonlyMap<number, Unit> {
  const units = new Map<number, Unit>()
  /** Who owns a declaration, where its code is copied into the user: libraries and files. */
  const owners = new Map<number, number>()
  for (const [source, ast] of asts) {
    walk(ast, (node, ancestors) => {
      const id = Number(node.id)
      const contract = contractOf(node, ancestors)
      const owner = contract ?? ancestors[0]
      if (node.nodeType === 'SourceUnit' || node.nodeType === 'ContractDefinition') {
        units.set(id, { id, source, name: String(node.name), isDeployable: isDeployable(node), uses: new Set() })
      }
      if (owner !== undefined && (contract === undefined || contract.contractKind === 'library')) {
        owners.set(id, Number(owner.id))
      }
      return true
    })
  }
  for (const ast of asts.values()) {
    walk(ast, (node, ancestors) => {
      const unit = units.get(Number((contractOf(node, ancestors) ?? ancestors[0] ?? node).id))
      if (unit === undefined) return true
      if (node.nodeType === 'ContractDefinition' && Array.isArray(node.linearizedBaseContracts)) {
        for (const base of node.linearizedBaseContracts) unit.uses.add(Number(base))
      }
      if (node.nodeType === 'NewExpression') {
        const created = asNode(node.typeName)?.referencedDeclaration
        if (created !== undefined) unit.uses.add(Number(created))
      }
      // `function` is how user-defined operators say what they call.
      for (const declaration of [node.referencedDeclaration, node.function]) {
        const owner = typeof declaration === 'number' ? owners.get(declaration) : undefined
        if (owner !== undefined && isCode(node)) unit.uses.add(owner)
      }
      return true
    })
  }
  for (const unit of units.values()) unit.uses.delete(unit.id)
  return units
}

function contractOf(node: AstNode, ancestors: readonly AstNode[]): AstNode | undefined {
  if (node.nodeType === 'ContractDefinition') return node
  return ancestors.find(({ nodeType }) => nodeType === 'ContractDefinition')
}

/** Names of types and files bring no code. */
function isCode(node: AstNode): boolean {
  return node.nodeType === 'Identifier' || node.nodeType === 'MemberAccess' || node.nodeType === 'BinaryOperation'
}

function isDeployable(node: AstNode): boolean {
  return node.contractKind === 'contract' && node.abstract !== true
}

/**
 * What is changed in Solidity, one change a mutant: operators and bounds, conditions, checks, statements, arguments, literals, modifiers,
 * unchecked arithmetic, and the same in assembly. All on solc's syntax tree; a change that does not compile is no mutant.
 * @module
 */
import { type AstNode, asNode, asNodes, type Span, spanOf, typeOf, walk } from './ast.ts'

/** Replaces the bytes of a span. `place` is the function, or the contract, that it stands in. */
export type Edit = Span & { readonly mutator: Mutator; readonly place: string; readonly replacement: string }

export type Mutator =
  | 'comparison'
  | 'arithmetic'
  | 'logic'
  | 'condition'
  | 'check removed'
  | 'event removed'
  | 'statement removed'
  | 'argument order'
  | 'literal'
  | 'modifier removed'
  | 'unchecked'
  | 'assembly'

type Draft = Span & { readonly mutator: Mutator; readonly replacement: string }

const OPERATORS: Readonly<Record<string, readonly [Mutator, ...string[]]>> = {
  '<': ['comparison', '<=', '>='],
  '<=': ['comparison', '<', '>'],
  '>': ['comparison', '>=', '<='],
  '>=': ['comparison', '>', '<'],
  '==': ['comparison', '!='],
  '!=': ['comparison', '=='],
  '+': ['arithmetic', '-'],
  '-': ['arithmetic', '+'],
  '*': ['arithmetic', '/'],
  '/': ['arithmetic', '*'],
  '%': ['arithmetic', '/'],
  '**': ['arithmetic', '*'],
  '<<': ['arithmetic', '>>'],
  '>>': ['arithmetic', '<<'],
  '&': ['arithmetic', '|'],
  '|': ['arithmetic', '&'],
  '^': ['arithmetic', '&'],
  '&&': ['logic', '||'],
  '||': ['logic', '&&'],
}

const YUL_CALLS: Readonly<Record<string, string>> = {
  lt: 'gt',
  gt: 'lt',
  add: 'sub',
  sub: 'add',
  and: 'or',
  or: 'and',
  shl: 'shr',
  shr: 'shl',
  mul: 'add',
}

const CHECKS: ReadonlySet<string> = new Set(['require', 'assert'])

/** Declares names and shapes, does nothing. */
const SKIPPED: ReadonlySet<string> = new Set([
  'PragmaDirective',
  'ImportDirective',
  'StructDefinition',
  'EventDefinition',
  'ErrorDefinition',
  'EnumDefinition',
  'UserDefinedValueTypeDefinition',
  'UsingForDirective',
  'StructuredDocumentation',
  'InheritanceSpecifier',
  'OverrideSpecifier',
])

/** Every change of `source`, whose syntax tree is `ast` (after analysis, so that types are known), in the order of the text. */
export function mutateSolidity(source: Uint8Array, ast: unknown): readonly Edit[] {
  const text = (start: number, end: number) => new TextDecoder().decode(source.subarray(start, end))
  const edits: Edit[] = []
  walk(ast, (node, ancestors) => {
    if (SKIPPED.has(node.nodeType)) return false
    const place = placeOf(node, ancestors)
    for (const draft of draftsOf(node, ancestors, text)) edits.push({ ...draft, place })
    return true
  })
  return edits.sort((a, b) => a.start - b.start || a.end - b.end)
}

type Text = (start: number, end: number) => string

function draftsOf(node: AstNode, ancestors: readonly AstNode[], text: Text): readonly Draft[] {
  switch (node.nodeType) {
    case 'BinaryOperation':
      return swapOperator(node, node.leftExpression, node.rightExpression, text)
    case 'Assignment':
      return swapAssignment(node, text)
    case 'UnaryOperation':
      return dropOrSwapUnary(node, ancestors, text)
    case 'Conditional':
    case 'IfStatement':
      return fixCondition(node.condition)
    case 'Return':
      return negateAnswer(node, text)
    case 'Block':
    case 'UncheckedBlock':
      return asNodes(node.statements).flatMap((statement) => removeStatement(statement, ancestors, node, text))
    case 'FunctionCall':
      return swapArguments(node, text)
    case 'Literal':
      return changeLiteral(node, ancestors, text)
    case 'FunctionDefinition':
      return asNodes(node.modifiers)
        .filter(({ kind }) => kind === 'modifierInvocation')
        .map((modifier) => ({ ...spanOf(modifier), mutator: 'modifier removed', replacement: '' }))
    default:
      return node.nodeType.startsWith('Yul') ? changeYul(node, ancestors, text) : []
  }
}

function placeOf(node: AstNode, ancestors: readonly AstNode[]): string {
  const named = [...ancestors, node].filter(({ nodeType }) =>
    ['FunctionDefinition', 'ModifierDefinition', 'ContractDefinition'].includes(nodeType),
  )
  const last = named.at(-1)
  if (last === undefined) return ''
  return last.kind === 'constructor' ? 'constructor' : String(last.name)
}

/** The operator stands between its two operands, with nothing but space and comments. */
function swapOperator(node: AstNode, left: unknown, right: unknown, text: Text): readonly Draft[] {
  const [from, to] = [asNode(left), asNode(right)]
  const operator = String(node.operator)
  const [mutator, ...others] = OPERATORS[operator] ?? []
  if (from === undefined || to === undefined || mutator === undefined) return []
  const begin = spanOf(from).end
  const start = begin + Buffer.byteLength(text(begin, spanOf(to).start).split(operator)[0] ?? '')
  return others.map((replacement) => ({ start, end: start + operator.length, mutator, replacement }))
}

function swapAssignment(node: AstNode, text: Text): readonly Draft[] {
  const operator = String(node.operator)
  const [, other] = OPERATORS[operator.slice(0, -1)] ?? []
  const [left, right] = [asNode(node.leftHandSide), asNode(node.rightHandSide)]
  if (other === undefined || left === undefined || right === undefined) return []
  const begin = spanOf(left).end
  const start = begin + Buffer.byteLength(text(begin, spanOf(right).start).split(operator)[0] ?? '')
  return [{ start, end: start + operator.length, mutator: 'arithmetic', replacement: `${other}=` }]
}

function dropOrSwapUnary(node: AstNode, ancestors: readonly AstNode[], text: Text): readonly Draft[] {
  const { start, end } = spanOf(node)
  const operator = String(node.operator)
  const mutator = operator === '!' ? 'logic' : 'arithmetic'
  if (operator === '!' || operator === '~') return [{ start, end: start + 1, mutator, replacement: '' }]
  // A loop that counts down runs until its gas is gone, whatever it does.
  if (ancestors.at(-1)?.nodeType === 'ExpressionStatement' && ancestors.at(-2)?.nodeType === 'ForStatement') return []
  if (operator !== '++' && operator !== '--') return []
  const other = operator === '++' ? '--' : '++'
  return [{ start, end, mutator, replacement: text(start, end).replace(operator, other) }]
}

function fixCondition(condition: unknown): readonly Draft[] {
  const node = asNode(condition)
  if (node === undefined) return []
  return ['true', 'false'].map((replacement) => ({ ...spanOf(node), mutator: 'condition', replacement }))
}

function negateAnswer(node: AstNode, text: Text): readonly Draft[] {
  const expression = asNode(node.expression)
  if (expression === undefined || typeOf(expression) !== 'bool' || expression.nodeType === 'Literal') return []
  const { start, end } = spanOf(expression)
  return [{ start, end, mutator: 'logic', replacement: `!(${text(start, end)})` }]
}

function removeStatement(
  statement: AstNode,
  ancestors: readonly AstNode[],
  block: AstNode,
  text: Text,
): readonly Draft[] {
  const span = spanOf(statement)
  // solc leaves the semicolon out.
  const end = text(span.end, span.end + 1) === ';' ? span.end + 1 : span.end
  const removed = (mutator: Mutator): Draft => ({ start: span.start, end, mutator, replacement: '{}' })
  if (statement.nodeType === 'EmitStatement') return [removed('event removed')]
  if (statement.nodeType === 'RevertStatement') return [removed('check removed')]
  if (statement.nodeType !== 'ExpressionStatement') return []
  const name = asNode(asNode(statement.expression)?.expression)?.name
  if (typeof name === 'string' && CHECKS.has(name)) return [removed('check removed')]
  const isChecked = [...ancestors, block].every(({ nodeType }) => nodeType !== 'UncheckedBlock')
  return isChecked && subtracts(statement)
    ? [
        removed('statement removed'),
        { start: span.start, end, mutator: 'unchecked', replacement: `unchecked { ${text(span.start, end)} }` },
      ]
    : [removed('statement removed')]
}

/** Whether it can revert for going below zero. */
function subtracts(statement: AstNode): boolean {
  let isFound = false
  walk(statement, (node) => {
    const isMinus = node.operator === '-' || node.operator === '-='
    if (isMinus && !typeOf(node).startsWith('int_const')) isFound = true
    return !isFound
  })
  return isFound
}

/** Neighbours of one type. */
function swapArguments(node: AstNode, text: Text): readonly Draft[] {
  const given = asNodes(node.arguments)
  const hasNames = Array.isArray(node.names) && node.names.length > 0
  if (node.kind !== 'functionCall' || hasNames) return []
  return given.slice(1).flatMap((right, i): readonly Draft[] => {
    const left = given[i]
    if (left === undefined || typeOf(left) !== typeOf(right)) return []
    const [a, b] = [spanOf(left), spanOf(right)]
    const [first, second] = [text(a.start, a.end), text(b.start, b.end)]
    if (first === second) return []
    const replacement = second + text(a.end, b.start) + first
    return [{ start: a.start, end: b.end, mutator: 'argument order', replacement }]
  })
}

function changeLiteral(node: AstNode, ancestors: readonly AstNode[], text: Text): readonly Draft[] {
  const span = spanOf(node)
  const literal = text(span.start, span.end)
  const isShape = ancestors.at(-1)?.nodeType === 'ArrayTypeName'
  if (isShape || typeOf(node) === 'address') return []
  if (node.kind === 'bool') return [{ ...span, mutator: 'literal', replacement: literal === 'true' ? 'false' : 'true' }]
  if (node.kind !== 'number') return []
  const changes = node.value === '0' ? ['+'] : ['+', '-']
  return changes.map((sign) => ({ ...span, mutator: 'literal', replacement: `(${literal} ${sign} 1)` }))
}

function changeYul(node: AstNode, ancestors: readonly AstNode[], text: Text): readonly Draft[] {
  const span = spanOf(node)
  const draft = (replacement: string, at: Span = span): Draft => ({ ...at, mutator: 'assembly', replacement })
  switch (node.nodeType) {
    case 'YulFunctionCall': {
      const called = asNode(node.functionName)
      const other = YUL_CALLS[String(called?.name)]
      if (called !== undefined && other !== undefined) return [draft(other, spanOf(called))]
      const [only] = asNodes(node.arguments)
      if (called?.name !== 'iszero' || only === undefined) return []
      return [draft(text(spanOf(only).start, spanOf(only).end))]
    }
    case 'YulLiteral': {
      const isInSwitch = ancestors.at(-1)?.nodeType === 'YulCase'
      return node.kind === 'number' && !isInSwitch ? [draft(String(BigInt(text(span.start, span.end)) + 1n))] : []
    }
    case 'YulExpressionStatement':
    case 'YulAssignment':
      return [draft('')]
    case 'YulIf': {
      const condition = asNode(node.condition)
      return condition === undefined ? [] : [draft('0', spanOf(condition)), draft('1', spanOf(condition))]
    }
    default:
      return []
  }
}

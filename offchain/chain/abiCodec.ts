/**
 * Contract calls as bytes: of the ABI what this project's clients read, numbers, addresses, words, and arrays and tuples of them. A page instead
 * of viem's whole codec, because browsers carry it; the tests compare the two. @module
 */
import { concatBytes, decodeUint, encodeUint, encodeUtf8, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'

export type AbiParameter = {
  readonly type: string
  readonly name?: string
  readonly components?: readonly AbiParameter[]
}
type AbiFunction = {
  readonly name: string
  readonly inputs: readonly AbiParameter[]
  readonly outputs: readonly AbiParameter[]
}

const WORD = 32

/** Calldata: the selector and its arguments, one word each. Throws `TypeError` for a function or a type that is unknown here. */
export function encodeCall(abi: readonly unknown[], functionName: string, args: readonly unknown[]): Hex {
  const { name, inputs } = functionOf(abi, functionName)
  if (args.length !== inputs.length) throw new TypeError(`expected ${inputs.length} arguments of ${name}`)
  const signature = `${name}(${inputs.map(({ type }) => type).join(',')})`
  const words = inputs.map((input, i) => encodeWord(input, args[i]))
  return toHex(concatBytes(keccak256(encodeUtf8(signature)).subarray(0, 4), ...words))
}

/**
 * What the function answered, in viem's shape: numbers of at most 48 bits as `number`, others as `bigint`, addresses in lower case; a lone output
 * as it is, several as an array. Throws `AbiError` for bytes that are no such answer.
 */
export function decodeResult(abi: readonly unknown[], functionName: string, data: Hex): unknown {
  const { outputs } = functionOf(abi, functionName)
  const values = decodeTuple(fromHex(data), 0, outputs)
  return outputs.length === 1 ? values[0] : values
}

function functionOf(abi: readonly unknown[], functionName: string): AbiFunction {
  const entry = (abi as readonly (AbiFunction & { type: string })[]).find(
    ({ type, name }) => type === 'function' && name === functionName,
  )
  if (entry === undefined) throw new TypeError(`expected ${functionName} in the ABI`)
  return entry
}

function encodeWord({ type }: AbiParameter, value: unknown): Uint8Array {
  if (/^uint\d+$/.test(type) && (typeof value === 'bigint' || Number.isSafeInteger(value))) {
    const width = Number(type.slice(4)) / 8
    return concatBytes(new Uint8Array(WORD - width), encodeUint(BigInt(value as number | bigint), width))
  }
  if (type === 'address') return concatBytes(new Uint8Array(12), fromHex(String(value), 20))
  if (type === 'bytes32') return fromHex(String(value), WORD)
  throw new TypeError(`expected an argument of a type that fits one word, not ${type}`)
}

/** The array's element type and its length, undefined where the length is part of the data; undefined for what is no array. */
function arrayOf({ type, ...rest }: AbiParameter): { element: AbiParameter; length: number | undefined } | undefined {
  const match = /^(.*)\[(\d*)\]$/.exec(type)
  if (match === null) return undefined
  const [, element = '', length = ''] = match
  return { element: { ...rest, type: element }, length: length === '' ? undefined : Number(length) }
}

/** Bytes that the value takes in place; undefined for what stands elsewhere and is pointed to. */
function staticSize(parameter: AbiParameter): number | undefined {
  const array = arrayOf(parameter)
  if (array !== undefined) {
    const size = staticSize(array.element)
    return array.length === undefined || size === undefined ? undefined : array.length * size
  }
  if (parameter.type !== 'tuple') return WORD
  let total = 0
  for (const component of parameter.components ?? []) {
    const size = staticSize(component)
    if (size === undefined) return undefined
    total += size
  }
  return total
}

/** Values that stand one behind the other from `base`; offsets count from there. */
function decodeTuple(data: Uint8Array, base: number, parameters: readonly AbiParameter[]): unknown[] {
  let at = base
  return parameters.map((parameter) => {
    const size = staticSize(parameter)
    const place = size === undefined ? base + decodeSize(data, at) : at
    at += size ?? WORD
    return decodeValue(data, place, parameter)
  })
}

function decodeValue(data: Uint8Array, at: number, parameter: AbiParameter): unknown {
  const array = arrayOf(parameter)
  if (array !== undefined) return decodeArray(data, at, array)
  if (parameter.type !== 'tuple') return decodeWord(wordAt(data, at), parameter.type)
  const components = parameter.components ?? []
  const values = decodeTuple(data, at, components)
  return Object.fromEntries(components.map(({ name = '' }, i) => [name, values[i]]))
}

function decodeArray(
  data: Uint8Array,
  at: number,
  { element, length }: { element: AbiParameter; length: number | undefined },
): unknown[] {
  const size = staticSize(element)
  // An array of arrays could point into itself, and a few bytes would become millions of values.
  if (size === undefined || size === 0) throw new TypeError(`expected elements of a fixed size, not ${element.type}`)
  const count = length ?? decodeSize(data, at)
  const from = length === undefined ? at + WORD : at
  if (count * size > data.length - from) throw new AbiError('the answer is shorter than its arrays')
  return Array.from({ length: count }, (_, i) => decodeValue(data, from + i * size, element))
}

/** An offset or a length: what does not fit into the data is refused before it is used. */
function decodeSize(data: Uint8Array, at: number): number {
  const value = decodeUint(wordAt(data, at))
  if (value > BigInt(data.length)) throw new AbiError('the answer points outside of itself')
  return Number(value)
}

function decodeWord(word: Uint8Array, type: string): unknown {
  if (type === 'bytes32') return toHex(word)
  const bits = type === 'address' ? 160 : type === 'bool' ? 1 : Number(/^uint(\d+)$/.exec(type)?.[1])
  if (Number.isNaN(bits)) throw new TypeError(`expected a type that fits one word, not ${type}`)
  const value = decodeUint(word)
  if (value >> BigInt(bits) !== 0n) throw new AbiError(`the answer holds no ${type} where one is expected`)
  if (type === 'address') return toHex(word.subarray(12))
  if (type === 'bool') return value === 1n
  return bits <= 48 ? Number(value) : value
}

function wordAt(data: Uint8Array, at: number): Uint8Array {
  if (at + WORD > data.length) throw new AbiError('the answer is too short')
  return data.subarray(at, at + WORD)
}

/** The answer of a contract that is none. */
export class AbiError extends Error {
  override readonly name = 'AbiError'
}

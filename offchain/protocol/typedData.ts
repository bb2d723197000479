/**
 * EIP-712 for what is signed and hashed here: flat structs under the domain of a contract. A page instead of viem's whole encoder, because
 * browsers carry it; the tests compare the two. @module
 */
import { concatBytes, encodeUint, encodeUtf8, fromHex, type Hex, toHex } from './bytes.ts'
import { keccak256 } from './hash.ts'

/** Fields in the order in which they are hashed. Types: `address`, `bool`, `string`, `bytes32` and `uint8` to `uint256`. */
export type StructFields = readonly { readonly name: string; readonly type: string }[]

/** What a field of a type takes. */
export type FieldValue<Type extends string> = Type extends 'address' | 'bytes32'
  ? Hex
  : Type extends 'bool'
    ? boolean
    : Type extends 'string'
      ? string
      : number | bigint

export type StructValue<Fields extends StructFields> = {
  readonly [Field in Fields[number] as Field['name']]: FieldValue<Field['type']>
}

/** Names a contract on a chain, so that no signature means anything elsewhere. */
export type TypedDataDomain = {
  readonly name: string
  readonly version: string
  readonly chainId: number
  readonly verifyingContract: Hex
}

export type TypedStruct<Types extends Readonly<Record<string, StructFields>>, Name extends keyof Types & string> = {
  readonly types: Types
  readonly primaryType: Name
  readonly data: StructValue<Types[Name]>
}

const DOMAIN_TYPES = {
  EIP712Domain: [
    { name: 'name', type: 'string' },
    { name: 'version', type: 'string' },
    { name: 'chainId', type: 'uint256' },
    { name: 'verifyingContract', type: 'address' },
  ],
} as const
/** 0x19 0x01: what no RLP-encoded transaction begins with. */
const PREFIX = Uint8Array.of(0x19, 0x01)

/** The digest to sign, 32 bytes. Throws `TypeError` for a field that is not of its type, and `BytesError` for a number that does not fit. */
export function hashTypedData<Types extends Readonly<Record<string, StructFields>>, Name extends keyof Types & string>({
  domain,
  types,
  primaryType,
  message,
}: Omit<TypedStruct<Types, Name>, 'data'> & {
  readonly domain: TypedDataDomain
  readonly message: StructValue<Types[Name]>
}): Hex {
  const separator = hashFields('EIP712Domain', DOMAIN_TYPES.EIP712Domain, domain)
  return toHex(keccak256(concatBytes(PREFIX, separator, hashFields(primaryType, types[primaryType], message))))
}

/** The struct's hash, 32 bytes: of its type and its fields. Throws as `hashTypedData` does. */
export function hashStruct<Types extends Readonly<Record<string, StructFields>>, Name extends keyof Types & string>({
  types,
  primaryType,
  data,
}: TypedStruct<Types, Name>): Hex {
  return toHex(hashFields(primaryType, types[primaryType], data))
}

function hashFields(name: string, fields: StructFields | undefined, values: object): Uint8Array {
  if (fields === undefined) throw new TypeError(`expected the fields of ${name}`)
  const words = fields.map((field) => encodeField(field, (values as Readonly<Record<string, unknown>>)[field.name]))
  return keccak256(concatBytes(hashType(name, fields), ...words))
}

const typeHashes = new WeakMap<StructFields, Uint8Array>()

function hashType(name: string, fields: StructFields): Uint8Array {
  const known = typeHashes.get(fields)
  if (known !== undefined) return known
  const hash = keccak256(encodeUtf8(`${name}(${fields.map((field) => `${field.type} ${field.name}`).join(',')})`))
  typeHashes.set(fields, hash)
  return hash
}

function encodeField({ name, type }: StructFields[number], value: unknown): Uint8Array {
  const isHex = typeof value === 'string' && value.startsWith('0x')
  if (type === 'bytes32' && isHex) return fromHex(value, 32)
  if (type === 'address' && isHex) return concatBytes(new Uint8Array(12), fromHex(value, 20))
  if (type === 'string' && typeof value === 'string') return keccak256(encodeUtf8(value))
  if (type === 'bool' && typeof value === 'boolean') return encodeUint(value ? 1n : 0n, 32)
  const bits = /^uint([0-9]{1,3})$/.exec(type)?.[1]
  if (bits !== undefined && (typeof value === 'bigint' || Number.isSafeInteger(value))) {
    const width = Number(bits) / 8
    return concatBytes(new Uint8Array(32 - width), encodeUint(BigInt(value as number | bigint), width))
  }
  throw new TypeError(`expected ${name} as ${type}`)
}

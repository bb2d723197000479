/** A small assembler for straight EVM code that knows the name of every stack item, so that a program can say "duplicate e". @module */
import { concatBytes, encodeUint, joinBytes } from '#protocol/bytes.ts'

const OPCODES = {
  ADD: 0x01,
  MUL: 0x02,
  SUB: 0x03,
  GT: 0x11,
  AND: 0x16,
  OR: 0x17,
  XOR: 0x18,
  SHL: 0x1b,
  SHR: 0x1c,
  CALLDATASIZE: 0x36,
  CALLDATACOPY: 0x37,
  CALLDATALOAD: 0x35,
  POP: 0x50,
  MLOAD: 0x51,
  MSTORE: 0x52,
  JUMPI: 0x57,
  GAS: 0x5a,
  JUMPDEST: 0x5b,
  PUSH0: 0x5f,
  RETURN: 0xf3,
  STATICCALL: 0xfa,
} as const

/** Items taken and left by each operation. */
const EFFECTS: { readonly [op in Operation]: readonly [taken: number, left: number] } = {
  ADD: [2, 1],
  MUL: [2, 1],
  SUB: [2, 1],
  GT: [2, 1],
  AND: [2, 1],
  OR: [2, 1],
  XOR: [2, 1],
  SHL: [2, 1],
  SHR: [2, 1],
  CALLDATASIZE: [0, 1],
  CALLDATACOPY: [3, 0],
  CALLDATALOAD: [1, 1],
  POP: [1, 0],
  MLOAD: [1, 1],
  MSTORE: [2, 0],
  JUMPI: [2, 0],
  GAS: [0, 1],
  RETURN: [2, 0],
  STATICCALL: [6, 1],
}

type Operation = Exclude<keyof typeof OPCODES, 'PUSH0' | 'JUMPDEST'>

const REACH = 16
const ANONYMOUS = ''

/** Appends code; every method returns the assembler. Depths are checked: a name out of reach of DUP16 or SWAP16 throws `RangeError`. */
export class Assembler {
  private readonly parts: Uint8Array[] = []
  private length = 0
  private readonly stack: string[] = []

  push(value: bigint | number): this {
    const number = BigInt(value)
    if (number === 0n) this.emit(Uint8Array.of(OPCODES.PUSH0))
    else {
      const size = Math.ceil(number.toString(16).length / 2)
      this.emit(concatBytes(Uint8Array.of(OPCODES.PUSH0 + size), encodeUint(number, size)))
    }
    this.stack.push(ANONYMOUS)
    return this
  }

  /** A copy of the named item, or of the top. */
  dup(name?: string): this {
    const depth = name === undefined ? 1 : this.depthOf(name)
    this.emit(Uint8Array.of(0x7f + depth))
    this.stack.push(this.stack[this.stack.length - depth] ?? ANONYMOUS)
    return this
  }

  /** Exchanges the top with the named item below it. */
  swap(name: string): this {
    const depth = this.depthOf(name) - 1
    if (depth < 1) throw new RangeError(`expected ${name} below the top`)
    return this.swapDepth(depth)
  }

  /** Exchanges the top with the item `depth` below it. */
  swapDepth(depth: number): this {
    this.emit(Uint8Array.of(0x8f + depth))
    const at = this.stack.length - 1 - depth
    const other = this.stack[at]
    const top = this.stack.at(-1)
    if (other === undefined || top === undefined) throw new RangeError('expected a deeper stack')
    this.stack[at] = top
    this.stack[this.stack.length - 1] = other
    return this
  }

  /** Operations in order; a result has no name until `name` gives it one. */
  op(...operations: readonly Operation[]): this {
    for (const operation of operations) {
      const [taken, left] = EFFECTS[operation]
      if (this.stack.length < taken) throw new RangeError(`expected ${taken} items for ${operation}`)
      this.emit(Uint8Array.of(OPCODES[operation]))
      this.stack.length -= taken
      for (let i = 0; i < left; i++) this.stack.push(ANONYMOUS)
    }
    return this
  }

  /** Names the top. */
  name(name: string): this {
    return this.rename(this.stack.length - 1, name)
  }

  /** Gives the item called `from` the name `to`. */
  renameItem(from: string, to: string): this {
    return this.rename(this.stack.lastIndexOf(from), to)
  }

  load(address: number): this {
    return this.push(address).op('MLOAD')
  }

  store(address: number): this {
    return this.push(address).op('MSTORE')
  }

  /** A jump target here; returns it. The stack must be empty. */
  label(): number {
    if (this.stack.length !== 0) throw new RangeError(`expected an empty stack, got ${this.stack.length} items`)
    this.emit(Uint8Array.of(OPCODES.JUMPDEST))
    return this.length - 1
  }

  get top(): string | undefined {
    return this.stack.at(-1)
  }

  bytes(): Uint8Array {
    return joinBytes(this.parts)
  }

  private emit(bytes: Uint8Array): void {
    this.parts.push(bytes)
    this.length += bytes.length
  }

  private rename(at: number, name: string): this {
    if (at < 0) throw new RangeError(`expected an item to call ${name}`)
    this.stack[at] = name
    return this
  }

  private depthOf(name: string): number {
    const at = this.stack.lastIndexOf(name)
    const depth = this.stack.length - at
    if (at < 0 || depth > REACH) throw new RangeError(`expected ${name} within reach`)
    return depth
  }
}

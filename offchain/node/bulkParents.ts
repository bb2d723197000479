/**
 * Parents in a log's tree, thousands at a time: keccak256(0x01 || left || right), two of them at once in the 128-bit lanes of WebAssembly
 * (proposal "Fixed-width SIMD"). Written for this one length of input, so that nothing is allocated or copied for a single hash.
 *
 * The module is assembled here when it is loaded, from the permutation as FIPS 202 section 3.2 states it. `parentsOf` of protocol/log/tiles.ts is
 * the oracle of the tests.
 * @module
 */
import { LOG_NODE_TAG } from '#protocol/log/tree.ts'

const NODE_BYTES = 32
const PAIR_BYTES = 64
/** Pairs in one call of the module. */
const PAIRS_MAX = 1_024
/** Layout of its memory: round constants, then pairs after a byte that is read with them, then parents. */
const PAIRS_AT = 256
const PARENTS_AT = PAIRS_AT + PAIRS_MAX * PAIR_BYTES
const PAGES = 2

/** The parents (32 bytes each) of consecutive nodes; an odd last node has none yet. */
export function bulkParents(nodes: Uint8Array): Uint8Array {
  const pairs = Math.floor(nodes.length / PAIR_BYTES)
  const parents = new Uint8Array(pairs * NODE_BYTES)
  for (let first = 0; first < pairs; first += PAIRS_MAX) {
    const past = Math.min(pairs, first + PAIRS_MAX)
    memory.set(nodes.subarray(first * PAIR_BYTES, past * PAIR_BYTES), PAIRS_AT)
    hashPairs(PAIRS_AT, PARENTS_AT, PAIRS_AT + (past - first) * PAIR_BYTES)
    parents.set(memory.subarray(PARENTS_AT, PARENTS_AT + (past - first) * NODE_BYTES), first * NODE_BYTES)
  }
  return parents
}

/** Rounds of the permutation, each a constant of eight bytes in memory. */
const ROUNDS = 24
const LANES = Array.from({ length: 25 }, (_, lane) => lane)
const COLUMNS = [0, 1, 2, 3, 4]

// Parameters and variables of the function.
const PAIR = 0
const PARENT = 1
const END = 2
const ROUND = 3
const laneOf = (lane: number) => 4 + lane
const movedOf = (lane: number) => 29 + lane
const parityOf = (x: number) => 54 + ((x + 5) % 5)
const mixedOf = (x: number) => 59 + x

/** Code, as bytes or as what it is made of. */
type Code = readonly (number | Code)[]

const get = (local: number): Code => [0x20, local]
const set = (local: number): Code => [0x21, local]
const number = (value: number): Code => [0x41, signed(value)]
const add = (local: number, value: number): Code => [get(local), number(value), 0x6a, set(local)]
const repeatWhileBelow = (body: Code, local: number, bound: Code): Code => [
  [0x03, 0x40, body],
  [get(local), bound, 0x49, 0x0d, 0, 0x0b],
]
const vector = (operation: number): Code => [0xfd, unsigned(operation)]
const loadFirst = (offset: number): Code => [vector(0x5d), 0, unsigned(offset)]
const loadSecond = (offset: number): Code => [vector(0x57), 0, unsigned(offset), 1]
const loadBoth = (offset: number): Code => [vector(0x0a), 0, unsigned(offset)]
const storeLane = (offset: number, half: number): Code => [vector(0x5b), 0, unsigned(offset), half]
const constant = (lane: bigint): Code => [vector(0x0c), littleEndian(lane), littleEndian(lane)]
const XOR = vector(0x51)
const OR = vector(0x50)
/** The first without the bits of the second. */
const WITHOUT = vector(0x4f)
const shiftLeft = (bits: number): Code => [number(bits), vector(0xcb)]
const shiftRight = (bits: number): Code => [number(bits), vector(0xcd)]
const rotated = (value: Code, bits: number): Code =>
  bits === 0 ? value : [value, shiftLeft(bits), value, shiftRight(64 - bits), OR]

/** Eight bytes of both preimages; the tag before them shifts all by one byte. */
function loadLane(lane: number): Code {
  if (lane === 16) return constant(1n << 63n)
  if (lane > 8) return constant(0n)
  // The second pair of the two begins where the first ends.
  const at = Math.max(0, 8 * lane - 1)
  const bytes = (offset: number): Code => [get(PAIR), get(PAIR), loadFirst(offset), loadSecond(offset + PAIR_BYTES)]
  if (lane === 0) return [bytes(0), shiftLeft(8), constant(BigInt(LOG_NODE_TAG)), OR]
  // The last byte, and after it the padding's first bit.
  if (lane === 8) return [bytes(56), shiftRight(56), constant(0x0100n), OR]
  return bytes(at)
}

function round(): Code {
  const parities = COLUMNS.map((x) => [
    get(laneOf(x)),
    [5, 10, 15, 20].map((row) => [get(laneOf(x + row)), XOR]),
    set(parityOf(x)),
  ])
  const mixes = COLUMNS.map((x) => [get(parityOf(x - 1)), rotated(get(parityOf(x + 1)), 1), XOR, set(mixedOf(x))])
  const moves: Code[] = LANES.map((lane) => {
    const value = [get(laneOf(lane)), get(mixedOf(lane % 5)), XOR]
    // The rotation takes its value twice.
    return [value, set(laneOf(lane)), rotated(get(laneOf(lane)), OFFSETS[lane] ?? 0), set(movedOf(TARGETS[lane] ?? 0))]
  })
  const steps = LANES.map((lane) => {
    const [row, x] = [lane - (lane % 5), lane % 5]
    const next = get(movedOf(row + ((x + 1) % 5)))
    return [get(movedOf(lane)), get(movedOf(row + ((x + 2) % 5))), next, WITHOUT, XOR, set(laneOf(lane))]
  })
  return [parities, mixes, moves, steps, get(laneOf(0)), get(ROUND), loadBoth(0), XOR, set(laneOf(0)), add(ROUND, 8)]
}

/** Where pi moves each lane, and how far rho rotates it before. */
const TARGETS = LANES.map((lane) => Math.floor(lane / 5) + 5 * ((2 * (lane % 5) + 3 * Math.floor(lane / 5)) % 5))
const OFFSETS = rotationOffsets()

function rotationOffsets(): number[] {
  const offsets = LANES.map(() => 0)
  for (let t = 0, lane = 1; t < 24; t++) {
    offsets[lane] = (((t + 1) * (t + 2)) / 2) % 64
    lane = TARGETS[lane] ?? 0
  }
  return offsets
}

function roundConstants(): bigint[] {
  let state = 1
  return Array.from({ length: ROUNDS }, () => {
    let lane = 0n
    for (let j = 0; j <= 6; j++) {
      if (state & 1) lane |= 1n << BigInt(2 ** j - 1)
      state = (state << 1) ^ (state & 0x80 ? 0x171 : 0)
    }
    return lane
  })
}

/** `(pair, parent, end)`: hashes the pairs from address `pair` to `end` into parents from address `parent` on. */
function functionBody(): Code {
  const body: Code = [
    LANES.map((lane) => [loadLane(lane), set(laneOf(lane))]),
    [number(0), set(ROUND)],
    repeatWhileBelow(round(), ROUND, number(8 * ROUNDS)),
    [0, 1, 2, 3].map((lane) => [
      [get(PARENT), get(laneOf(lane)), storeLane(8 * lane, 0)],
      [get(PARENT), get(laneOf(lane)), storeLane(8 * lane + NODE_BYTES, 1)],
    ]),
    [add(PAIR, 2 * PAIR_BYTES), add(PARENT, 2 * NODE_BYTES)],
  ]
  const locals: Code = [2, 1, 0x7f, 60, 0x7b]
  return sized([locals, repeatWhileBelow(body, PAIR, get(END)), 0x0b])
}

function assemble(): Uint8Array<ArrayBuffer> {
  const name = (text: string): Code => sized([...new TextEncoder().encode(text)])
  const section = (id: number, content: Code): Code => [id, sized(content)]
  return Uint8Array.from(
    flatten([
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, [1, 0x60, 3, 0x7f, 0x7f, 0x7f, 0]),
      section(3, [1, 0]),
      section(5, [1, 0, PAGES]),
      section(7, [2, name('memory'), 2, 0, name('hashPairs'), 0, 0]),
      section(10, [1, functionBody()]),
      section(11, [1, 0, number(0), 0x0b, sized(roundConstants().map(littleEndian))]),
    ]),
  )
}

function flatten(code: Code): number[] {
  return code.flatMap((part) => (typeof part === 'number' ? [part] : flatten(part)))
}

function sized(content: Code): Code {
  const bytes = flatten(content)
  return [unsigned(bytes.length), bytes]
}

/** LEB128 of a non-negative number. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}

/** The same where the sign is the highest of the last seven bits. */
function signed(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)]
}

function littleEndian(value: bigint): number[] {
  return Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn))
}

const { exports } = new WebAssembly.Instance(new WebAssembly.Module(assemble()))
const { hashPairs, memory: pages } = exports as {
  hashPairs: (pair: number, parent: number, end: number) => void
  memory: WebAssembly.Memory
}
const memory = new Uint8Array(pages.buffer)

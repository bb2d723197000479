/**
 * The code of contracts/attestation/sha384: SHA-384 (FIPS 180-4 section 6.5) as raw opcodes, about 19.8k gas for each block of 128 bytes.
 * Two ideas carry it. A 64-bit word x is kept as x·(2^64 + 1), that is twice in a row, so that a rotation is one shift. The message
 * schedule computes two words at once, in the two 128-bit lanes of an EVM word.
 * @module
 */
import { Assembler } from './assembler.ts'

const MASK64 = 2n ** 64n - 1n
/** x·TWICE is x beside x. */
const TWICE = 2n ** 64n + 1n
/** The low 64 bits of both lanes. */
const LANES = (MASK64 << 128n) | MASK64
const BLOCK_BYTES = 128
const ROUNDS = 80

/** Memory: end of the padded message, the current block, the eight state words, 80 schedule words of 16 bytes, the message. */
const AT = { end: 0x2c0, block: 0x2e0, state: 0x300, schedule: 0x400, message: 0x2000 } as const

/** FIPS 180-4 section 5.3.4. */
const INITIAL = [
  0xcbbb9d5dc1059ed8n,
  0x629a292a367cd507n,
  0x9159015a3070dd17n,
  0x152fecd8f70e5939n,
  0x67332667ffc00b31n,
  0x8eb44a8768581511n,
  0xdb0c2e0d64f98fa7n,
  0x47b5481dbefa4fa4n,
] as const

/** The runtime code. Calldata: the message. Returns 48 bytes. */
export function assembleSha384(): Uint8Array {
  const code = new Assembler()
  pad(code)
  for (const [index, word] of INITIAL.entries()) code.push(word).store(AT.state + 32 * index)
  code.push(AT.message).store(AT.block)
  const loop = code.label()
  hashBlock(code)
  code.load(AT.block).push(BLOCK_BYTES).op('ADD').dup().store(AT.block)
  code.load(AT.end).op('GT').push(loop).op('JUMPI')
  returnDigest(code)
  return code.bytes()
}

/** Copies the message, appends 0x80, zeros (memory is zero) and the length in bits: FIPS 180-4 section 5.1.2. */
function pad(code: Assembler): void {
  code.op('CALLDATASIZE').push(0).push(AT.message).op('CALLDATACOPY')
  code.push(0x80).push(248).op('SHL')
  code.op('CALLDATASIZE').push(AT.message).op('ADD', 'MSTORE')
  // end = message + (size + 17 bytes, rounded up to whole blocks). 17 is 0x80 and a length of 16 bytes.
  code.push(144).op('CALLDATASIZE', 'ADD').push(7).op('SHR').push(7).op('SHL')
  code.push(AT.message).op('ADD').dup().store(AT.end)
  // The length shares its word with message bytes only if those are 0x80 and zeros: or, not store.
  code.push(32).swapDepth(1).op('SUB').name('last')
  code.op('CALLDATASIZE').push(3).op('SHL').dup('last').op('MLOAD', 'OR').swapDepth(1).op('MSTORE')
}

function hashBlock(code: Assembler): void {
  loadWords(code)
  expandWords(code)
  const letters = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] as const
  for (const [index, letter] of letters.entries()) {
    code
      .load(AT.state + 32 * index)
      .push(TWICE)
      .op('MUL')
      .name(letter)
  }
  // b ^ c is kept from round to round: it is the a ^ b of the round before.
  code.dup('b').dup('c').op('XOR').name('b^c').swap('h')
  let words: readonly string[] = letters
  for (let round = 0; round < ROUNDS; round++) words = hashRound(code, words, round)
  for (let index = 7; index >= 0; index--) {
    const word = words[index] ?? ''
    if (code.top !== word) code.swap(word)
    code
      .load(AT.state + 32 * index)
      .op('ADD')
      .push(MASK64)
      .op('AND')
      .store(AT.state + 32 * index)
  }
  code.op('POP')
}

/** The block's 16 words, two by two into the lanes of a memory word: w[t] in the upper one, w[t+1] in the lower one. */
function loadWords(code: Assembler): void {
  for (let quarter = 0; quarter < 4; quarter++) {
    code.load(AT.block)
    if (quarter > 0) code.push(32 * quarter).op('ADD')
    code.op('MLOAD').name('four')
    code.dup('four').push(128).op('SHR').push(MASK64).op('AND')
    code
      .dup('four')
      .push(192)
      .op('SHR')
      .push(128)
      .op('SHL')
      .op('OR')
      .store(AT.schedule + 64 * quarter)
    code.dup('four').push(MASK64).op('AND')
    code.dup('four').push(64).op('SHR').push(MASK64).op('AND').push(128).op('SHL').op('OR')
    code.store(AT.schedule + 64 * quarter + 32)
    code.op('POP')
  }
}

/** w[t] = σ1(w[t−2]) + w[t−7] + σ0(w[t−15]) + w[t−16], for t and t + 1 at once. Sums of four words stay below 2^66, within a lane. */
function expandWords(code: Assembler): void {
  for (let t = 16; t < ROUNDS; t += 2) {
    // From the second pair on, the pair w[t−2] is still on the stack.
    if (t === 16) code.load(AT.schedule + 16 * (t - 2))
    smallSigma(code, 19, 61, 6)
    code.load(AT.schedule + 16 * (t - 15))
    smallSigma(code, 1, 8, 7)
    code
      .op('ADD')
      .load(AT.schedule + 16 * (t - 7))
      .op('ADD')
      .load(AT.schedule + 16 * (t - 16))
      .op('ADD')
    code.push(LANES).op('AND')
    if (t + 2 < ROUNDS) code.dup()
    code.store(AT.schedule + 16 * t)
  }
}

/** ROTR(x) ^ ROTR(x) ^ SHR(x) in both lanes of the top; bits above 64 of a lane are masked away. */
function smallSigma(code: Assembler, rotation1: number, rotation2: number, shift: number): void {
  code.dup().push(TWICE).op('MUL')
  code.dup().push(rotation1).op('SHR').swapDepth(1).push(rotation2).op('SHR', 'XOR')
  code.swapDepth(1).push(shift).op('SHR', 'XOR').push(LANES).op('AND')
}

/**
 * One round. `words` are the names of a … h; h is on top and ends as the sum. Sums carry garbage above bit 64 (the doubled halves, the
 * schedule's other lane) and are masked once, when the new a and e are made. Returns the names of the next round's a … h.
 */
function hashRound(code: Assembler, words: readonly string[], round: number): readonly string[] {
  const [a = '', b = '', c = '', d = '', e = '', f = '', g = '', h = ''] = words
  if (code.top !== h) throw new RangeError(`expected ${h} on top in round ${round}`)
  // h + Σ1(e) + Ch(e, f, g) + w + K, with Ch = ((f ^ g) & e) ^ g.
  code.dup(e).push(14).op('SHR').dup(e).push(18).op('SHR', 'XOR').dup(e).push(41).op('SHR', 'XOR', 'ADD')
  code.dup(f).dup(g).op('XOR').dup(e).op('AND').dup(g).op('XOR', 'ADD')
  code
    .load(AT.schedule + 16 * round - 16)
    .op('ADD')
    .push(ROUND_CONSTANTS[round] ?? 0n)
    .op('ADD')
    .name('sum')
  // The new e replaces d; d itself is used up.
  code.dup('sum').name('copy').swap(d).op('ADD').push(MASK64).op('AND').push(TWICE).op('MUL')
  code.name(`e${round}`).swap('copy').name('sum')
  // The new a is sum + Σ0(a) + Maj(a, b, c), with Maj = ((a ^ b) & (b ^ c)) ^ b.
  code.dup(a).push(28).op('SHR').dup(a).push(34).op('SHR', 'XOR').dup(a).push(39).op('SHR', 'XOR', 'ADD')
  code.dup(a).dup(b).op('XOR').name('a^b').dup().swap('b^c').op('AND').dup(b).op('XOR', 'ADD')
  code.push(MASK64).op('AND').push(TWICE).op('MUL').name(`a${round}`)
  code.renameItem('a^b', 'b^c')
  code.swap(g)
  return [`a${round}`, a, b, c, `e${round}`, e, f, g]
}

/** The first six state words in a row. The eighth and seventh are computed and not returned: that is SHA-384. */
function returnDigest(code: Assembler): void {
  for (const [first, count, address] of [
    [0, 4, 0x00],
    [4, 2, 0x20],
  ] as const) {
    code.push(0)
    for (let i = 0; i < count; i++)
      code
        .load(AT.state + 32 * (first + i))
        .push(192 - 64 * i)
        .op('SHL', 'OR')
    code.store(address)
  }
  code.push(48).push(0).op('RETURN')
}

/** FIPS 180-4 section 4.2.3: the first 64 bits of the fractional parts of the cube roots of the first 80 primes. */
const ROUND_CONSTANTS: readonly bigint[] = firstPrimes(ROUNDS).map((prime) => cubeRoot(BigInt(prime) << 192n) & MASK64)

function firstPrimes(count: number): number[] {
  const primes: number[] = []
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n)
  return primes
}

/** The largest x with x³ ≤ n. */
function cubeRoot(n: bigint): bigint {
  let low = 0n
  let high = 1n << BigInt(Math.ceil(n.toString(2).length / 3) + 1)
  while (high - low > 1n) {
    const middle = (low + high) / 2n
    if (middle ** 3n <= n) low = middle
    else high = middle
  }
  return low
}

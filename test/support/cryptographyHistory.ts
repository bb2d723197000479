/** Cryptography on chain, each vector as a transaction and as a question: our own contracts, and the precompiled ones and rules that they or Osaka rest on. @module */
import { p256 } from '@noble/curves/nist.js'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { concatBytes, encodeUint, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { encodeP384Call, makeP384Hints } from '#protocol/evidence/p384Hints.ts'
import { keccak256 } from '#protocol/hash.ts'
import { randomCases } from '../../scripts/attestation/p384Cases.ts'
import { deployArtifact } from './artifacts.ts'
import type { LocalChain } from './chain.ts'
import { HISTORY_GAS, type HistoryCall, sendData } from './historySending.ts'

/** Addresses of precompiled contracts. */
const EC_RECOVER: Hex = '0x0000000000000000000000000000000000000001'
const MODEXP: Hex = '0x0000000000000000000000000000000000000005'
const P256_VERIFY: Hex = '0x0000000000000000000000000000000000000100'
/** Stores and returns the number of leading zeros of the calldata's first word. */
const CLZ_CODE: Hex = '0x5f351e805f555f5260205ff3'
/** Lengths around the blocks of SHA-384. */
const LENGTHS = [0, 111, 112, 127, 128, 300]

type Vector = HistoryCall & { readonly isRefused?: boolean }

/** Sends every vector, and answers them as questions. */
export async function makeCryptographyHistory(chain: LocalChain): Promise<HistoryCall[]> {
  const vectors = [...(await ownVectors(chain)), ...modexpVectors(), ...(await clzVectors(chain)), ...curveVectors()]
  for (const { to, data, isRefused = false } of vectors) await sendData(chain, to, data, { isRefused })
  return vectors.map(({ name, to, data }) => ({ name, to, data }))
}

/** P-384 signatures, right and wrong, and digests by SHA-384. */
async function ownVectors(chain: LocalChain): Promise<Vector[]> {
  const table = await deployArtifact(chain, 'contracts/attestation/p384/P384Table.sol/P384Table.json')
  const artifact = 'contracts/attestation/p384/P384Verifier.sol/P384Verifier.json'
  const p384 = await deployArtifact(chain, artifact, [table.address])
  const sha384 = await deployArtifact(chain, 'contracts/attestation/sha384/Sha384.sol/Sha384.json')
  const signatures = randomCases('second implementation', 2).flatMap(({ name, input }) => {
    const call = encodeP384Call(input, makeP384Hints(input))
    const right = { name, to: p384.address, data: toHex(call) }
    return [right, { name: `${name}, wrong`, to: p384.address, data: toHex(flipped(call, 10)), isRefused: true }]
  })
  const digests = LENGTHS.map((length) => ({
    name: `SHA-384 of ${length} bytes`,
    to: sha384.address,
    data: toHex(new Uint8Array(length).fill(7)),
  }))
  return [...signatures, ...digests]
}

/** Priced by EIP-7883, and bounded by EIP-7823: no operand of more than 1,024 bytes. */
function modexpVectors(): Vector[] {
  const exponent = 1n << 255n
  const usual = concatBytes(word(32n), word(32n), word(32n), word(3n), word(exponent), word(exponent - 19n))
  const large = concatBytes(word(1_025n), word(1n), word(1n), new Uint8Array(1_027).fill(3))
  return [
    { name: 'MODEXP', to: MODEXP, data: toHex(usual) },
    { name: 'MODEXP past its bounds', to: MODEXP, data: toHex(large), isRefused: true },
  ]
}

/** The instruction of EIP-7939. */
async function clzVectors(chain: LocalChain): Promise<Vector[]> {
  const hash = await chain.wallet('deployer').sendTransaction({ data: initOf(CLZ_CODE), gas: HISTORY_GAS })
  const { contractAddress: to } = await chain.client.waitForTransactionReceipt({ hash })
  if (to === null || to === undefined) throw new Error('the code was not deployed')
  return [0n, 1n, 1n << 155n, 1n << 255n].map((value) => ({ name: `CLZ of ${value}`, to, data: toHex(word(value)) }))
}

/** P-256 (EIP-7951) and secp256k1. */
function curveVectors(): Vector[] {
  const key = keccak256(word(1n))
  const digest = keccak256(word(2n))
  const signature = p256.sign(digest, key, { prehash: false })
  const verify = concatBytes(digest, signature, p256.getPublicKey(key, false).subarray(1))
  const [recovery = 0, ...rs] = secp256k1.sign(digest, key, { prehash: false, format: 'recovered' })
  const recover = concatBytes(digest, word(BigInt(27 + recovery)), Uint8Array.from(rs))
  return [
    { name: 'P-256', to: P256_VERIFY, data: toHex(verify) },
    { name: 'P-256, wrong', to: P256_VERIFY, data: toHex(flipped(verify, 0)) },
    { name: 'ecrecover', to: EC_RECOVER, data: toHex(recover) },
  ]
}

/** Code that deploys `runtime`, of fewer than 256 bytes. */
function initOf(runtime: Hex): Hex {
  const code = fromHex(runtime)
  return toHex(concatBytes(Uint8Array.of(0x60, code.length, 0x80, 0x60, 9, 0x5f, 0x39, 0x5f, 0xf3), code))
}

function flipped(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

function word(value: bigint): Uint8Array<ArrayBuffer> {
  return encodeUint(value, 32)
}

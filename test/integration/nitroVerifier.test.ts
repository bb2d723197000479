/** NitroVerifier on chain: real documents at their own time, development documents, hints, caching, revocation, refusals. @module */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { decodeEventLog, encodeAbiParameters, keccak256 as keccakHex, type Hex as ViemHex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nitroVerifierAbi } from '#chain/generated/abis.ts'
import { nitroRootOf } from '#chain/nitroRoot.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createDevelopmentRoot, type DevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { keccak256 } from '#protocol/hash.ts'
import { deployArtifact } from '../support/artifacts.ts'
import { deployLocal, type LocalChain } from '../support/chain.ts'
import { readRefusal } from '../support/refusal.ts'

const VECTORS = new URL('../../../shared/vectors/nitro/', import.meta.url)
/** The limit on one transaction (EIP-7825). */
const TRANSACTION_GAS_MAX = 16_777_216n
const USER_DATA = new Uint8Array(32).fill(9)
const PCRS = new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(index + 1)]))

type Verifier = { readonly chain: LocalChain; readonly address: Hex }

async function deployVerifier(chain: LocalChain, rootDer: Uint8Array, isDevelopment: boolean): Promise<Verifier> {
  const table = await deployArtifact(chain, 'contracts/attestation/p384/P384Table.sol/P384Table.json')
  const p384 = await deployArtifact(chain, 'contracts/attestation/p384/P384Verifier.sol/P384Verifier.json', [
    table.address,
  ])
  const sha384 = await deployArtifact(chain, 'contracts/attestation/sha384/Sha384.sol/Sha384.json')
  const { address } = await deployArtifact(chain, 'contracts/attestation/nitro/NitroVerifier.sol/NitroVerifier.json', [
    chain.account('deployer').address,
    p384.address,
    sha384.address,
    nitroRootOf(rootDer),
    isDevelopment,
  ])
  return { chain, address }
}

/** What a call of `verify` would answer, or the code of the refusal. */
async function simulate({ chain, address }: Verifier, document: Uint8Array, hints: Uint8Array) {
  try {
    const { result } = await chain.client.simulateContract({
      address,
      abi: nitroVerifierAbi,
      functionName: 'verify',
      args: [toHex(document), toHex(hints)],
      account: chain.account('deployer').address,
      gas: TRANSACTION_GAS_MAX,
    })
    return result
  } catch (error) {
    return readRefusal(error, nitroVerifierAbi)
  }
}

async function send({ chain, address }: Verifier, document: Uint8Array, hints: Uint8Array) {
  const hash = await chain.wallet('deployer').writeContract({
    address,
    abi: nitroVerifierAbi,
    functionName: 'verify',
    args: [toHex(document), toHex(hints)],
    gas: TRANSACTION_GAS_MAX,
  })
  return chain.client.waitForTransactionReceipt({ hash })
}

function noneCached(document: Uint8Array): boolean[] {
  return authorityIds(document).map(() => false)
}

describe('with development documents', () => {
  let verifier: Verifier
  let root: DevelopmentRoot
  let document: Uint8Array

  beforeAll(async () => {
    const chain = await deployLocal()
    root = createDevelopmentRoot(Math.floor(Date.now() / 1000))
    verifier = await deployVerifier(chain, root.certificate, true)
    document = await createDevelopmentAttester({ pcrs: PCRS, root, now: Date.now }).attest({ userData: USER_DATA })
  }, 120_000)
  afterAll(() => verifier?.chain.close())

  it('verifies a cold chain in one transaction and answers what the client finds too', async () => {
    const hints = makeNitroHints(document, noneCached(document))
    const now = (await verifier.chain.client.getBlock()).timestamp
    const policy = { roots: [{ kind: 'development', certificate: root.certificate }], ageSecondsMax: 7_200n } as const
    const verdict = verifyNitroEvidence(document, policy, now)
    if (!verdict.ok) throw new Error(verdict.message)
    expect(await simulate(verifier, document, hints)).toEqual({
      measurement: verdict.evidence.measurement,
      userData: toHex(USER_DATA),
      issuedAt: verdict.evidence.issuedAt,
      validUntil: verdict.evidence.validUntil,
      development: true,
    })
    const receipt = await send(verifier, document, hints)
    expect(receipt.status).toBe('success')
    expect(receipt.gasUsed).toBeLessThan(TRANSACTION_GAS_MAX)
    const cached = receipt.logs.map((log) => decodeEventLog({ abi: nitroVerifierAbi, ...log }))
    expect(cached.map(({ args }) => (args as { id?: ViemHex }).id)).toEqual(authorityIds(document))
  })

  it('needs hints for leaf and document only once the CA certificates are cached', async () => {
    const warm = makeNitroHints(document, [true, true, true])
    expect(await simulate(verifier, document, warm)).toMatchObject({ development: true })
    expect(await simulate(verifier, document, makeNitroHints(document, noneCached(document)))).toBe(
      'BAD_CHAIN_SIGNATURE',
    )
  })

  it('refuses hints that are cut or too long', async () => {
    const hints = makeNitroHints(document, [true, true, true])
    expect(await simulate(verifier, document, hints.subarray(0, hints.length - 1))).toBe('HINTS_LENGTH')
    expect(await simulate(verifier, document, Uint8Array.of(...hints, 0))).toBe('HINTS_LENGTH')
    expect(await simulate(verifier, document, new Uint8Array())).toBe('HINTS_LENGTH')
  })

  it('refuses a document under another root', async () => {
    const other = await createDevelopmentAttester({ pcrs: PCRS, now: Date.now }).attest({ userData: USER_DATA })
    expect(await simulate(verifier, other, makeNitroHints(other, noneCached(other)))).toBe('ROOT_NOT_PINNED')
  })

  it('refuses debug mode', async () => {
    const debug = await createDevelopmentAttester({ pcrs: new Map(), root, now: Date.now }).attest({
      userData: USER_DATA,
    })
    expect(await simulate(verifier, debug, makeNitroHints(debug, noneCached(debug)))).toBe('DEBUG_MODE')
  })

  it('refuses user data that is no digest', async () => {
    const attester = createDevelopmentAttester({ pcrs: PCRS, root, now: Date.now })
    const odd = await attester.attest({ userData: new Uint8Array(31) })
    expect(await simulate(verifier, odd, makeNitroHints(odd, noneCached(odd)))).toBe('USER_DATA_MISMATCH')
  })

  it('refuses what is expired, by seconds and not by milliseconds', async () => {
    const { client } = verifier.chain
    const hints = makeNitroHints(document, [true, true, true])
    const { notAfter } = parseCertificate(parseNitroDocument(document).certificate)
    const snapshot = await client.request({ method: 'evm_snapshot' } as never)
    await client.request({ method: 'evm_setNextBlockTimestamp', params: [Number(notAfter) + 1] } as never)
    await client.request({ method: 'evm_mine' } as never)
    expect(await simulate(verifier, document, hints)).toBe('CERTIFICATE_EXPIRED')
    await client.request({ method: 'evm_revert', params: [snapshot] } as never)
  })

  it('keeps a revoked certificate revoked, cached or not', async () => {
    const { chain, address } = verifier
    const snapshot = await chain.client.request({ method: 'evm_snapshot' } as never)
    const instance = parseCertificate(parseNitroDocument(document).cabundle.at(-1) ?? new Uint8Array())
    const revocationId = keccakHex(
      encodeAbiParameters(
        [{ type: 'bytes32' }, { type: 'uint256' }],
        [toHex(keccak256(instance.issuer)), instance.serial],
      ),
    )
    const revocation = { address, abi: nitroVerifierAbi, functionName: 'revoke', args: [revocationId] } as const
    await expect(
      chain.client.simulateContract({ ...revocation, account: chain.account('stranger').address }),
    ).rejects.toThrow()
    await chain.client.waitForTransactionReceipt({ hash: await chain.wallet('deployer').writeContract(revocation) })
    expect(await simulate(verifier, document, makeNitroHints(document, [true, true, true]))).toBe('CERTIFICATE_REVOKED')
    await chain.client.request({ method: 'evm_revert', params: [snapshot] } as never)
  })

  it('accepts no flipped bit of document or hints', async () => {
    const hints = makeNitroHints(document, [true, true, true])
    let state = 7
    const random = (below: number) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const { payload, signature } = parseNitroDocument(document)
    const from = payload.byteOffset - document.byteOffset
    for (let i = 0; i < 40; i++) {
      const bit = 8 * from + random(8 * (payload.length + 3 + signature.length))
      expect(await simulate(verifier, flip(document, bit), hints), `document bit ${bit}`).toBeTypeOf('string')
      const hintBit = random(8 * hints.length)
      expect(await simulate(verifier, document, flip(hints, hintBit)), `hint bit ${hintBit}`).toBeTypeOf('string')
    }
  })

  it('measures what the client measures', () => {
    const pcr = (index: number) => PCRS.get(index) ?? new Uint8Array(48)
    const { bootPcrs } = parseNitroDocument(document)
    expect(measurementOf('development', ...bootPcrs)).toBe(measurementOf('nitro', pcr(0), pcr(1), pcr(2)))
  })
})

const hasVectors = existsSync(VECTORS)
if (!hasVectors) process.stdout.write('skipped: real Nitro documents, because ../shared/vectors/nitro is not there\n')

describe.skipIf(!hasVectors)('with documents that AWS signed', () => {
  let verifier: Verifier
  const vectors = hasVectors
    ? readdirSync(VECTORS)
        .filter((name) => name.endsWith('.bin'))
        .map((name) => ({ name, bytes: new Uint8Array(readFileSync(new URL(name, VECTORS))) }))
        .map((entry) => ({ ...entry, issuedAt: Math.floor(parseNitroDocument(entry.bytes).timestampMs / 1000) }))
        .toSorted((a, b) => a.issuedAt - b.issuedAt)
    : []

  beforeAll(async () => {
    const chain = await deployLocal({ initialDate: '2021-01-01T00:00:00Z' })
    verifier = await deployVerifier(chain, AWS_NITRO_ROOT.certificate, false)
  }, 120_000)
  afterAll(() => verifier?.chain.close())

  it('accepts each at its own time and refuses it three hours later', async () => {
    const { client } = verifier.chain
    for (const { name, bytes, issuedAt } of vectors) {
      const snapshot = await client.request({ method: 'evm_snapshot' } as never)
      await client.request({ method: 'evm_setNextBlockTimestamp', params: [issuedAt] } as never)
      await client.request({ method: 'evm_mine' } as never)
      const verdict = verifyNitroEvidence(bytes, { roots: [AWS_NITRO_ROOT], ageSecondsMax: 60n }, BigInt(issuedAt))
      const hints = hintsOrNothing(bytes)
      const answer = await simulate(verifier, bytes, hints)
      if (verdict.ok) {
        // Real user data is rarely a statement's digest: that is the last thing looked at.
        const hasDigest = verdict.evidence.userData?.length === 32
        if (hasDigest)
          expect(answer, name).toMatchObject({ measurement: verdict.evidence.measurement, development: false })
        else expect(answer, name).toBe('USER_DATA_MISMATCH')
      } else if (name.includes('badsig')) {
        expect(answer, name).toBe('HINTS_LENGTH')
      } else {
        expect(answer, name).toBe(verdict.code)
      }
      await client.request({ method: 'evm_setNextBlockTimestamp', params: [issuedAt + 3 * 3_600 + 600] } as never)
      await client.request({ method: 'evm_mine' } as never)
      const later = await simulate(verifier, bytes, hints)
      if (verdict.ok) expect(later, name).toBe('CERTIFICATE_EXPIRED')
      else expect(later, name).toBeTypeOf('string')
      await client.request({ method: 'evm_revert', params: [snapshot] } as never)
    }
  })
})

/** A document that does not verify has no hints: the contract then misses them, whatever else it would find. */
function hintsOrNothing(document: Uint8Array): Uint8Array {
  try {
    return makeNitroHints(document, noneCached(document))
  } catch {
    return new Uint8Array()
  }
}

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return flipped
}

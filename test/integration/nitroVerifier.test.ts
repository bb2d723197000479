/** NitroVerifier on chain: real documents at their own time, development documents, hints, caching, revocation, refusals. @module */
import { decodeEventLog, encodeAbiParameters, keccak256 as keccakHex, type Hex as ViemHex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nitroVerifierAbi } from '#chain/generated/abis.ts'
import { nitroRootOf } from '#chain/nitroRoot.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createDevelopmentRoot, type DevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { verifyNitroEvidence } from '#protocol/evidence/verifyEvidence.ts'
import { keccak256 } from '#protocol/hash.ts'
import { deployArtifact } from '../support/artifacts.ts'
import { deployLocal, type LocalChain } from '../support/chain.ts'
import { readRefusal } from '../support/refusal.ts'

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
    // Its certificate begins now, and the chain's newest block may be older.
    await chain.control.mine({ blocks: 1 })
  })
  afterAll(() => verifier?.chain.close())

  it('verifies a cold chain in one transaction and answers what the client finds too', async () => {
    const hints = makeNitroHints(document, noneCached(document))
    const now = (await verifier.chain.client.getBlock()).timestamp
    const policy = { roots: [{ kind: 'development', certificate: root.certificate }], ageSecondsMax: 7_200n } as const
    const verdict = verifyNitroEvidence(document, policy, now)
    if (!verdict.ok) throw new Error(verdict.message)
    expect(await simulate(verifier, document, hints)).toMatchObject({
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

  it('measures what the client measures', () => {
    const pcr = (index: number) => PCRS.get(index) ?? new Uint8Array(48)
    const { bootPcrs } = parseNitroDocument(document)
    expect(measurementOf('development', ...bootPcrs)).toBe(measurementOf('nitro', pcr(0), pcr(1), pcr(2)))
  })
})

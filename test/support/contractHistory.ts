/**
 * A history in which every contract does what it is there for, once: deployed, registered with evidence of the real shape, settled, proven, paid out, left
 * with credits, and given what it refuses. Whoever replays its blocks has run all the bytecode that matters. @module
 */

import {
  creditVaultAbi,
  enclaveRegistryAbi,
  inferenceVerifierAbi,
  proofMeterAbi,
  receiptSettlementAbi,
} from '#chain/generated/abis.ts'
import { createDevelopmentHost } from '#node/attesters/developmentHost.ts'
import { createDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { concatBytes, encodeUint, fromHex, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { batchLeaf } from '#protocol/log/batch.ts'
import { appendLeaves, createRows, pathAt, rootAt } from '#protocol/log/rows.ts'
import { BATCH_NODE_TAG } from '#protocol/log/tree.ts'
import { signClearing } from '#protocol/receipt/clearing.ts'
import { signHead } from '#protocol/receipt/head.ts'
import {
  encodePublicReceipt,
  hashPublicReceipt,
  type PublicReceipt,
  receiptLeaf,
  ZERO_HASH,
} from '#protocol/receipt/receipt.ts'
import { deployEvidenceRegistry, prepareRegistration, REGISTRATION_GAS } from '../../scripts/bench/registration.ts'
import { deployArtifact } from './artifacts.ts'
import { type LocalChain, registerTestEnclave, type TestEnclave } from './chain.ts'
import { depositCredits, openTestKeyset, prepareExits, type TestKeyset, testSeed } from './credits.ts'
import { makeCryptographyHistory } from './cryptographyHistory.ts'
import { ask, type HistoryCall, send } from './historySending.ts'

const EARNINGS_KIND = 1
const DAY = 86_400
const RECIPIENT: Hex = '0x00000000000000000000000000000000deadbeef'
const LOG_SIZE = 100
const PROVEN_INDEX = 42
/** Makes the history, and answers what to ask of the chain after it. */
export async function makeContractHistory(chain: LocalChain): Promise<HistoryCall[]> {
  // First, for evidence grows old while the other parts let days pass.
  const evidence = await registerWithEvidence(chain)
  const issuer = await registerTestEnclave(chain, testSeed(900), { role: ENCLAVE_ROLE.issuer })
  const keyset = await openTestKeyset(chain, issuer.enclave)
  await depositCredits(chain, keyset.id, 2, issuer.operator)
  const proofs = await settleAndProve(chain, issuer, keyset)
  const exits = await leaveWithCredits(chain, keyset)
  return [...evidence, ...proofs, ...exits, ...(await makeCryptographyHistory(chain))]
}

/** Two settlements of three enclaves with a clearing each, a contradiction, a payout; proofs of a leaf, a wrong one among them. */
async function settleAndProve(chain: LocalChain, issuer: TestEnclave, keyset: TestKeyset): Promise<HistoryCall[]> {
  const { settlement, registry, inference } = chain.addresses
  const enclaves: TestEnclave[] = []
  for (let i = 0; i < 3; i++) enclaves.push(await registerTestEnclave(chain, testSeed(i)))
  const [first, second, third] = enclaves
  if (first === undefined || second === undefined || third === undefined) throw new Error('expected three enclaves')
  const receipt = receiptOf(first.enclave)
  const log = createRows()
  const leaves = Array.from({ length: LOG_SIZE }, (_, i) =>
    i === PROVEN_INDEX ? receiptLeaf(hashPublicReceipt(receipt), ZERO_HASH) : keccak256(encodeUint(BigInt(i), 32)),
  )
  appendLeaves(log, joinBytes(leaves))
  const head = ({ enclave, privateKey }: TestEnclave, size: number, fees: bigint, root?: Uint8Array) => {
    const stated = { enclave, size: BigInt(size), root: toHex(root ?? keccak256(privateKey)), fees }
    const { signature } = signHead({ kind: 'earnings', ...stated }, chain.addresses, privateKey)
    return { ...stated, kind: EARNINGS_KIND, ...signature }
  }
  const clearing = (each: bigint) => {
    const lines = enclaves.map(({ enclave }) => ({ enclave, captured: each }))
    const stated = { keyset: keyset.id, issued: 3n * each, captured: 3n * each, enclaves: lines }
    return signClearing(stated, chain.addresses, issuer.privateKey)
  }
  const settle = async (
    ...args: readonly [readonly ReturnType<typeof head>[], readonly ReturnType<typeof clearing>[]]
  ) => send(chain, 'settler', settlement, receiptSettlementAbi, 'settle', args)

  const heads = [head(first, LOG_SIZE, 700n, rootAt(log, LOG_SIZE)), head(second, 9, 900n), head(third, 5, 100n)]
  await settle(heads, [clearing(500n)])
  // The second is told again, the clearing is signed by nobody who may.
  const forged = signClearing({ ...clearing(800n), enclaves: [] }, chain.addresses, third.privateKey)
  await settle(
    [head(first, 150, 1_000n), heads[1] ?? head(second, 9, 900n), head(third, 6, 300n)],
    [clearing(800n), forged],
  )
  await send(chain, 'stranger', settlement, receiptSettlementAbi, 'reportContradiction', [
    head(third, 7, 300n),
    head(third, 7, 300n, keccak256(new Uint8Array(1))),
  ])
  await send(chain, 'operator', settlement, receiptSettlementAbi, 'thaw', [first.enclave])
  // Before the thaw is over it pays nothing.
  await send(chain, 'operator', settlement, receiptSettlementAbi, 'withdraw', [first.enclave], { isRefused: true })
  await chain.control.increaseTime({ seconds: DAY })
  await send(chain, 'operator', settlement, receiptSettlementAbi, 'withdraw', [first.enclave])

  const batch = createRows(BATCH_NODE_TAG)
  appendLeaves(batch, concatBytes(...heads.map(({ enclave, size, root }) => batchLeaf(enclave, size, fromHex(root)))))
  const proof = {
    receipt: encodePublicReceipt(receipt),
    privateHash: ZERO_HASH,
    index: BigInt(PROVEN_INDEX),
    size: BigInt(LOG_SIZE),
    logPath: pathAt(log, PROVEN_INDEX, LOG_SIZE).map(toHex),
    batch: 1n,
    batchIndex: 0n,
    batchSize: 3n,
    batchPath: pathAt(batch, 0, 3).map(toHex),
  }
  const meter = await deployArtifact(chain, 'test/contracts/support/ProofMeter.sol/ProofMeter.json')
  return [
    ask('a settled proof', inference, inferenceVerifierAbi, 'settled', [proof]),
    ask('a proof of another leaf', inference, inferenceVerifierAbi, 'settled', [{ ...proof, index: 41n }]),
    ask('what a proof costs', meter.address, proofMeterAbi, 'measure', [settlement, registry, proof]),
    ...enclaves.map(({ enclave }, i) =>
      ask(`the account of enclave ${i}`, settlement, receiptSettlementAbi, 'accountOf', [enclave]),
    ),
    ask('the totals of the keyset', settlement, receiptSettlementAbi, 'keysetTotals', [keyset.id]),
    ask('the standing of the one that contradicted itself', registry, enclaveRegistryAbi, 'standingOf', [
      third.enclave,
    ]),
  ]
}

/** Three exits of which one is challenged, the rest paid after the window; and one under a wrong signature. */
async function leaveWithCredits(chain: LocalChain, keyset: TestKeyset): Promise<HistoryCall[]> {
  const { vault } = chain.addresses
  const exits = prepareExits(keyset, testSeed(2), 0, [3, 7, 7], RECIPIENT)
  await send(chain, 'stranger', vault, creditVaultAbi, 'openExits', exits.args)
  const wrong = prepareExits(
    { ...keyset, secretKeys: keyset.secretKeys.map((key) => key + 1n) },
    testSeed(3),
    0,
    [5],
    RECIPIENT,
  )
  await send(chain, 'stranger', vault, creditVaultAbi, 'openExits', wrong.args, { isRefused: true })
  const [spent] = exits.secrets
  if (spent === undefined) throw new Error('expected three credits')
  await send(chain, 'stranger', vault, creditVaultAbi, 'challengeExit', [keyset.id, spent.exitKey, toHex(spent.secret)])
  await chain.control.increaseTime({ seconds: DAY })
  await send(chain, 'stranger', vault, creditVaultAbi, 'finishExits', [exits.credits.slice(1)])
  return exits.credits.map((credit, i) => ask(`the exit of credit ${i}`, vault, creditVaultAbi, 'exitOf', [credit]))
}

/** An enclave under a cold chain of certificates, one under a warm chain, and one whose hints have a wrong bit. */
async function registerWithEvidence(chain: LocalChain): Promise<HistoryCall[]> {
  const host = createDevelopmentHost(createDevelopmentRoot(Math.floor(Date.now() / 1000)))
  const registry = await deployEvidenceRegistry(chain, host.root.certificate)
  const register = async (number: number, isWarm: boolean, flip = 0) => {
    const [statement, document, hints, signature] = await prepareRegistration(chain, registry, host, number, isWarm)
    const bytes = fromHex(hints)
    const last = bytes.length - 1
    bytes[last] = (bytes[last] ?? 0) ^ flip
    const args = [statement, document, toHex(bytes), signature]
    await send(chain, 'operator', registry, enclaveRegistryAbi, 'register', args, {
      gas: REGISTRATION_GAS,
      isRefused: flip !== 0,
    })
    return statement.enclave
  }
  const cold = await register(1, false)
  const warm = await register(2, true)
  const refused = await register(3, true, 1)
  return [cold, warm, refused].map((enclave, i) =>
    ask(`the standing of enclave ${i} with evidence`, registry, enclaveRegistryAbi, 'standingOf', [enclave]),
  )
}

function receiptOf(enclave: Hex): PublicReceipt {
  const commitment: Hex = `0x${'c0'.repeat(32)}`
  return {
    version: 1,
    enclave,
    model: commitment,
    source: 'measured',
    origin: ZERO_HASH,
    request: commitment,
    output: commitment,
    nonce: commitment,
    outcome: 'complete',
  }
}

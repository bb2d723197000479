/** Gas of settling and of verifying, on Hardhat's EVM under Osaka rules. Steady state: the second settlement is the one measured. @module */
import { readFileSync } from 'node:fs'
import { parseEventLogs } from 'viem'
import { proofMeterAbi as METER_ABI, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { concatBytes, encodeUint, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { batchLeaf } from '#protocol/log/batch.ts'
import { appendLeaves, createRows, type LogRows, pathAt, rootAt } from '#protocol/log/rows.ts'
import { BATCH_NODE_TAG } from '#protocol/log/tree.ts'
import { signClearing } from '#protocol/receipt/clearing.ts'
import { enclaveOfKey, type SettlementDomain, signHead } from '#protocol/receipt/head.ts'
import {
  encodePublicReceipt,
  hashPublicReceipt,
  type PublicReceipt,
  receiptLeaf,
  ZERO_HASH,
} from '#protocol/receipt/receipt.ts'
import { deployLocal, type LocalChain, registerTestEnclave, type TestEnclave } from '../../test/support/chain.ts'
import { depositCredits, openTestKeyset } from '../../test/support/credits.ts'
import { measureExits } from './exits.ts'
import { type ModelFigures, measureModels } from './peers/models.ts'
import { measureRealDocuments } from './realDocuments.ts'
import { measureCryptography, measureRegistration } from './registration.ts'
import { type Row, round } from './row.ts'

const EARNINGS_KIND = 1
const FINALITY_SETTLED = 2
const METER_ARTIFACT = '../../artifacts/test/contracts/support/ProofMeter.sol/ProofMeter.json'

/** The gas rows, and beside them what models of others' settlement cost on the same EVM. */
export async function measureGas(): Promise<Row[]> {
  const models = await measureModels()
  return [
    ...(await measureSettling(models)),
    await measureVerifying(models),
    ...(await measureExits()),
    ...(await measureRegistration()),
    ...(await measureRealDocuments()),
    ...(await measureCryptography()),
    ...models.rows,
  ]
}

async function measureSettling({ perReceipt }: ModelFigures): Promise<Row[]> {
  const small = await settleWorkload(10, 1_000)
  const large = await settleWorkload(100, 10_000)
  return [
    {
      id: 'gas.settle.10k',
      name: '10,000 receipts of 10 enclaves, per receipt, clearing and payout credited',
      value: round(small / 10_000, 2),
      unit: 'gas',
      target: { value: 31, direction: 'at most' },
      others: perReceipt,
      published: 'x402 485; 0G 1,120; OpenGradient 1,279 (event only, unverified); GraphTally 1,645; Aligned 1,937',
    },
    {
      id: 'gas.settle.1m',
      name: '1,000,000 receipts of 100 enclaves, per receipt, likewise',
      value: round(large / 1_000_000, 2),
      unit: 'gas',
      target: { value: 3, direction: 'at most' },
    },
    {
      id: 'gas.settle.head',
      name: 'one more head with its clearing line',
      value: round((large - small) / 90, 2),
      unit: 'gas',
    },
  ]
}

/** Gas of the second settlement of `enclaveCount` enclaves, each with as many receipts, with one clearing over all of them. */
async function settleWorkload(enclaveCount: number, receiptsEach: number): Promise<number> {
  const chain = await deployLocal()
  try {
    const issuer = await registerTestEnclave(chain, keyOf(9_999), { role: ENCLAVE_ROLE.issuer })
    const keyset = await fundKeyset(chain, issuer)
    const enclaves: TestEnclave[] = []
    for (let i = 0; i < enclaveCount; i++) enclaves.push(await registerTestEnclave(chain, keyOf(i)))
    await settleOnce(chain, { ...issuer, keyset }, enclaves, BigInt(receiptsEach), 1n)
    return await settleOnce(chain, { ...issuer, keyset }, enclaves, BigInt(receiptsEach), 2n)
  } finally {
    await chain.close()
  }
}

/** The `round`-th settlement: every log grew by `receipts` and earned 10,000 units, all of them cleared. Answers its gas. */
async function settleOnce(
  chain: LocalChain,
  issuer: TestEnclave & { readonly keyset: Hex },
  enclaves: readonly TestEnclave[],
  receipts: bigint,
  round: bigint,
): Promise<number> {
  const fees = 10_000n * round
  const domain = domainOf(chain)
  const heads = enclaves.map(({ enclave, privateKey }) => {
    const size = receipts * round
    const root = toHex(keccak256(concatBytes(encodeUint(size, 32), privateKey)))
    const signed = signHead({ kind: 'earnings', enclave, size, root, fees }, domain, privateKey)
    return { enclave, kind: EARNINGS_KIND, size, root, fees, ...signed.signature }
  })
  const captured = fees * BigInt(enclaves.length)
  const clearing = signClearing(
    {
      keyset: issuer.keyset,
      issued: captured,
      captured,
      enclaves: enclaves.map(({ enclave }) => ({ enclave, captured: fees })),
    },
    domain,
    issuer.privateKey,
  )
  const hash = await chain.wallet('settler').writeContract({
    address: chain.addresses.settlement,
    abi: receiptSettlementAbi,
    functionName: 'settle',
    args: [heads, [clearing]],
  })
  const receipt = await chain.client.waitForTransactionReceipt({ hash })
  const skipped = parseEventLogs({
    abi: receiptSettlementAbi,
    logs: receipt.logs,
    eventName: ['HeadSkipped', 'ClearingSkipped'],
  })
  if (skipped.length > 0) throw new Error('a part of the workload was skipped')
  for (const { enclave } of enclaves) {
    const { credited } = await chain.client.readContract({
      address: chain.addresses.settlement,
      abi: receiptSettlementAbi,
      functionName: 'accountOf',
      args: [enclave],
    })
    if (credited !== fees) throw new Error('the workload was not credited in full')
  }
  return Number(receipt.gasUsed)
}

/** A log of 10,000 in a batch of 16 heads: what a contract pays to learn that one of its receipts settled. */
async function measureVerifying({ perStatement }: ModelFigures): Promise<Row> {
  const chain = await deployLocal()
  try {
    const domain = domainOf(chain)
    const size = 10_000
    const index = 4_321
    const enclaves: TestEnclave[] = []
    for (let i = 0; i < 16; i++) enclaves.push(await registerTestEnclave(chain, keyOf(i)))
    const chosen = enclaves[7]
    if (chosen === undefined) throw new Error('expected sixteen enclaves')
    const receipt = benchReceipt(chosen.enclave)
    const log = logWith(size, index, receiptLeaf(hashPublicReceipt(receipt), ZERO_HASH))
    const heads = enclaves.map(({ enclave, privateKey }) => {
      const root = toHex(enclave === chosen.enclave ? rootAt(log, size) : keccak256(privateKey))
      const signed = signHead({ kind: 'earnings', enclave, size: BigInt(size), root, fees: 1n }, domain, privateKey)
      return { enclave, kind: EARNINGS_KIND, size: BigInt(size), root, fees: 1n, ...signed.signature }
    })
    const hash = await chain.wallet('settler').writeContract({
      address: chain.addresses.settlement,
      abi: receiptSettlementAbi,
      functionName: 'settle',
      args: [heads, []],
    })
    await chain.client.waitForTransactionReceipt({ hash })
    const batch = createRows(BATCH_NODE_TAG)
    appendLeaves(batch, concatBytes(...heads.map((head) => batchLeaf(head.enclave, head.size, fromHex(head.root)))))
    const proof = {
      receipt: encodePublicReceipt(receipt),
      privateHash: ZERO_HASH,
      index: BigInt(index),
      size: BigInt(size),
      logPath: pathAt(log, index, size).map(toHex),
      batch: 1n,
      batchIndex: 7n,
      batchSize: 16n,
      batchPath: pathAt(batch, 7, 16).map(toHex),
    }
    const meter = await deployMeter(chain)
    const [gas, finality] = await chain.client.readContract({
      ...meter,
      functionName: 'measure',
      args: [chain.addresses.settlement, chain.addresses.registry, proof],
    })
    if (finality !== FINALITY_SETTLED) throw new Error('the proof to measure is not accepted')
    return {
      id: 'gas.verify',
      name: 'settled proof in a contract, log of 10,000, 16 enclaves, both contracts cold',
      value: Number(gas),
      unit: 'gas',
      target: { value: 20_000, direction: 'at most' },
      others: perStatement,
      published: 'EAS 277,000 and ERC-8004 304,000 to write one',
    }
  } finally {
    await chain.close()
  }
}

/** A keyset of the issuer's with 1,000 OPG behind it. Answers its id. */
async function fundKeyset(chain: LocalChain, issuer: TestEnclave): Promise<Hex> {
  const { id } = await openTestKeyset(chain, issuer.enclave)
  for (let i = 0; i < 10; i++) await depositCredits(chain, id, 2, enclaveOfKey(keyOf(i)))
  return id
}

function benchReceipt(enclave: Hex): PublicReceipt {
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

/** A log of `size` leaves with `leaf` at `index`. */
function logWith(size: number, index: number, leaf: Uint8Array): LogRows {
  const log = createRows()
  const leaves = new Uint8Array(size * 32)
  for (let i = 0; i < size; i++) leaves.set(i === index ? leaf : keccak256(encodeUint(BigInt(i), 32)), i * 32)
  appendLeaves(log, leaves)
  return log
}

function domainOf({ addresses }: LocalChain): SettlementDomain {
  return { chainId: addresses.chainId, settlement: addresses.settlement }
}

function keyOf(index: number): Uint8Array {
  return keccak256(encodeUint(BigInt(index) + 1n, 32))
}

/** The contract that measures a check from within. */
async function deployMeter(chain: LocalChain): Promise<{ address: Hex; abi: typeof METER_ABI }> {
  const artifact = JSON.parse(readFileSync(new URL(METER_ARTIFACT, import.meta.url), 'utf8')) as { bytecode: Hex }
  const hash = await chain.wallet('deployer').deployContract({ abi: METER_ABI, bytecode: artifact.bytecode })
  const { contractAddress } = await chain.client.waitForTransactionReceipt({ hash })
  if (contractAddress === null || contractAddress === undefined) throw new Error('the meter was not deployed')
  return { address: contractAddress, abi: METER_ABI }
}

/**
 * What must be true whatever died: everything acknowledged is on chain exactly once and proven, what was not can be delivered again, and the account's nonces
 * have neither gaps nor transactions that nobody meant. Reads the chain itself, the database, and what went through the endpoint.
 * @module
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { inferenceVerifierAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { settledProofArgument } from '#chain/proof.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { EnclaveLogSchema } from '#protocol/wire/aggregatorApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { type SettledLeaf, SettledLeafSchema } from '#protocol/wire/receiptFile.ts'
import type { TestLog } from '../support/testLog.ts'
import { type Aggregator, type AggregatorNetwork, DEPTH, eventually } from './aggregatorNetwork.ts'

/** What the judge compares with. */
export type Before = { readonly nonce: number; readonly broadcasts: number; readonly transactions: number }

/** What a case did, and what is expected of it. */
export type Claim = {
  readonly log: TestLog
  /** Up to where the log was acknowledged: 0 when nothing was. */
  readonly acknowledged: number
  /** Sizes of the heads that are settled; the whole log unless told. */
  readonly sizes?: readonly number[]
  /** For each nonce of the case, in their order: how often the node took raw bytes, and how many different ones. Once, one, unless told. */
  readonly taken?: readonly Taken[]
  /** How many of the nonces somebody else used. */
  readonly foreign?: number
}

export type Taken = { readonly times: number; readonly attempts: number }

/** `settled` of InferenceVerifier: the contract believes the proof. */
const SETTLED = 2
/** What was mined is looked at by the process before there is more. */
const LOOK_MS = 100
const MINED: ReadonlySet<string> = new Set(['included', 'safe'])

export async function readBefore(network: AggregatorNetwork): Promise<Before> {
  const [nonce, transactions] = await Promise.all([readNonce(network), network.transactions()])
  return { nonce, broadcasts: network.gate.broadcasts.length, transactions: transactions.length }
}

/** Answers what is wrong, a sentence each; nothing when all is as it must be. Mines until everything is final. Throws when that does not happen in time. */
export async function judge(
  network: AggregatorNetwork,
  aggregator: Aggregator,
  before: Before,
  claim: Claim,
): Promise<string[]> {
  const { log, acknowledged } = claim
  const faults: string[] = []
  const held = await heldSize(aggregator, log.enclave)
  if (held < acknowledged) faults.push(`${acknowledged} leaves were acknowledged, ${held} are held`)
  if (acknowledged < log.size) await deliverAgain(network, aggregator, log)
  const proofs = await finish(network, aggregator, log)
  await deliverAgain(network, aggregator, log)
  faults.push(...(await judgeProofs(network, log, proofs)))
  faults.push(...(await judgeChain(network, claim)))
  faults.push(...(await judgeNonces(network, before, claim)))
  return faults
}

/** Waits until each leaf has a proof and every transaction of ours has come to an end. */
function finish(network: AggregatorNetwork, aggregator: Aggregator, log: TestLog): Promise<SettledLeaf[]> {
  return eventually('the end of every transaction, and a proof of each leaf,', async () => {
    const states = (await network.transactions()).map(({ state }) => state)
    const live = states.filter((state) => state !== 'final' && state !== 'failed')
    if (live.length > 0) {
      await network.mine(live.every((state) => MINED.has(state)) ? DEPTH.final : 1)
      await sleep(LOOK_MS)
      return undefined
    }
    const proofs: SettledLeaf[] = []
    for (let index = 0; index < log.size; index++) {
      const response = await fetch(`${aggregator.url}/v1/proofs/${toHex(log.leaf(index))}`)
      const text = await response.text()
      if (response.status !== 200) return undefined
      proofs.push(parseJson(SettledLeafSchema, text, 'proof'))
    }
    return proofs
  })
}

async function judgeProofs({ chain }: AggregatorNetwork, log: TestLog, proofs: SettledLeaf[]): Promise<string[]> {
  const verdicts = await Promise.all(
    proofs.map((settled, index) =>
      chain.client.readContract({
        address: chain.addresses.inference,
        abi: inferenceVerifierAbi,
        functionName: 'settled',
        args: [settledProofArgument(log.receipt(index, chain.addresses.registry), settled)],
      }),
    ),
  )
  return verdicts.flatMap(({ finality }, index) =>
    finality === SETTLED ? [] : [`the contract does not believe the proof of leaf ${index}`],
  )
}

/** Each head once, each in a transaction of its own, and none that was skipped. */
async function judgeChain({ chain }: AggregatorNetwork, { log, sizes = [log.size] }: Claim): Promise<string[]> {
  const contract = { address: chain.addresses.settlement, abi: receiptSettlementAbi, fromBlock: 0n } as const
  const args = { enclave: log.enclave }
  const [settled, skipped] = await Promise.all([
    chain.client.getContractEvents({ ...contract, eventName: 'HeadSettled', args, strict: true }),
    chain.client.getContractEvents({ ...contract, eventName: 'HeadSkipped', args, strict: true }),
  ])
  const found = settled.map((event) => Number(event.args.size))
  const faults: string[] = []
  if (found.join() !== sizes.join()) faults.push(`settled are the heads of ${found}, expected those of ${sizes}`)
  if (skipped.length > 0) faults.push(`${skipped.length} heads were sent without effect`)
  return faults
}

async function judgeNonces(network: AggregatorNetwork, before: Before, claim: Claim): Promise<string[]> {
  const { sizes = [claim.log.size], foreign = 0 } = claim
  const taken = claim.taken ?? sizes.map(() => ({ times: 1, attempts: 1 }))
  const faults: string[] = []
  const [used, pending] = await Promise.all([readNonce(network), readNonce(network, 'pending')])
  if (pending !== used) faults.push(`${pending - used} transactions of ours still wait at the node`)
  if (used - before.nonce !== sizes.length + foreign) {
    faults.push(`${used - before.nonce} nonces were used, expected ${sizes.length} and ${foreign} foreign ones`)
  }
  const rows = (await network.transactions()).slice(before.transactions)
  const ours = rows.flatMap(({ state, nonce }) => (state === 'final' && nonce !== undefined ? [nonce] : []))
  const expected = sizes.map((_, i) => before.nonce + foreign + i)
  if (ours.toSorted((a, b) => a - b).join() !== expected.join()) {
    faults.push(`the database says the nonces ${ours}, expected ${expected}`)
  }
  const broadcasts = network.gate.broadcasts.slice(before.broadcasts).filter(({ refusal }) => refusal === undefined)
  const counts = expected.map((nonce) => {
    const hashes = broadcasts.filter((broadcast) => broadcast.nonce === nonce).map(({ hash }) => hash)
    return { times: hashes.length, attempts: new Set(hashes).size }
  })
  if (JSON.stringify(counts) !== JSON.stringify(taken)) {
    faults.push(`the node took ${JSON.stringify(counts)}, expected ${JSON.stringify(taken)}`)
  }
  const strays = broadcasts.filter(({ nonce }) => !expected.includes(nonce))
  if (strays.length > 0) faults.push(`the node took transactions with the nonces ${strays.map(({ nonce }) => nonce)}`)
  return faults
}

function readNonce({ chain }: AggregatorNetwork, blockTag: 'latest' | 'pending' = 'latest'): Promise<number> {
  return chain.client.getTransactionCount({ address: chain.account('settler').address, blockTag })
}

/** How many leaves of the log are held. A database that has just come back costs a question or two. */
function heldSize({ url }: Aggregator, enclave: Hex): Promise<number> {
  return eventually('an answer about the log', async () => {
    const response = await fetch(`${url}/v1/enclaves/${enclave}`)
    const text = await response.text()
    if (response.status === 404) return 0
    return response.status === 200 && Number(parseJson(EnclaveLogSchema, text, 'log').size)
  })
}

/** As an agent does: again when there is no room or no database. */
function deliverAgain(network: AggregatorNetwork, aggregator: Aggregator, log: TestLog): Promise<true> {
  return eventually('the acknowledgement of a second delivery', () => network.deliver(aggregator, log))
}

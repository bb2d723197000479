/** Many answers while roles are killed: every receipt that a client holds settles, and the contract believes each one. @module */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { inferenceVerifierAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { settledProofArgument } from '#chain/proof.ts'
import { connect, type SealedClient } from '../../offchain/sdk/connect.ts'
import type { SealedReceipt } from '../../offchain/sdk/sealedReceipt.ts'
import { DEMO_MODEL } from '../../scripts/local/demoPrices.ts'
import { type LocalNetwork, startLocalNetwork } from '../../scripts/local/network.ts'

const ROUNDS = 8
const ANSWERS_PER_ROUND = 25
const AT_ONCE = 5
const SETTLED = 2
const QUESTIONS = ['Hello', 'What is Sealpath?', 'Who can read my prompt?', 'How does a receipt settle?']

let network: LocalNetwork
let sealed: SealedClient

beforeAll(async () => {
  network = await startLocalNetwork({
    port: 20_545,
    onCrash: (error) => {
      throw error
    },
  })
  const { wallet } = await network.buyCredits({ seed: new Uint8Array(32).fill(6) })
  sealed = await connect({
    rpcUrl: network.urls.rpc,
    relayUrl: network.urls.relay,
    registry: network.deployment().registry,
    aggregatorUrl: network.urls.aggregator,
    padding: 'balanced',
    wallet,
  })
}, 180_000)

afterAll(() => network?.stop(), 60_000)

async function ask(question: string): Promise<SealedReceipt> {
  const response = await sealed.fetch(`${sealed.baseURL}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: DEMO_MODEL, stream: true, messages: [{ role: 'user', content: question }] }),
  })
  await response.text()
  return sealed.receiptOf(response)
}

it('settles every receipt although the aggregator is killed in every round', async () => {
  const receipts: SealedReceipt[] = []
  for (let round = 0; round < ROUNDS; round++) {
    let asked = 0
    const askSome = async () => {
      while (asked < ANSWERS_PER_ROUND) receipts.push(await ask(QUESTIONS[asked++ % QUESTIONS.length] ?? 'Hello'))
    }
    const kill = network.kill(network.children.aggregator)
    await Promise.all(Array.from({ length: AT_ONCE }, askSome))
    await kill
    await network.restartAggregator()
  }
  let fees = 0n
  for (const receipt of receipts) {
    const proof = await receipt.settled({ timeoutMs: 120_000 })
    const status = await network.client.readContract({
      address: network.deployment().inference,
      abi: inferenceVerifierAbi,
      functionName: 'settled',
      args: [settledProofArgument(proof.receipt, proof.settled)],
    })
    expect(status.finality).toBe(SETTLED)
    fees += receipt.file.private.fee
  }
  const account = await network.client.readContract({
    address: network.deployment().settlement,
    abi: receiptSettlementAbi,
    functionName: 'accountOf',
    args: [sealed.gateway.enclave],
  })
  expect(new Set(receipts.map((receipt) => receipt.leaf)).size).toBe(ROUNDS * ANSWERS_PER_ROUND)
  expect(account.earned).toBe(fees)
  expect(account.credited).toBe(fees)
})

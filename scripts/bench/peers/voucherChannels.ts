/** x402 batch-settlement, as a model: 200 channels claimed 100 in a call, then one sweep for each receiver. @module */
import type { Contract, ModelChain } from './modelChain.ts'
import { addressOf, ENCLAVES, inGroups, keyOf, numbers, OWED, PAIRS, RECEIPTS, signWith, sum } from './workload.ts'

const CLAIMS_IN_A_CALL = 100

export type ChannelCosts = { readonly claim: number; readonly sweep: number; readonly perReceipt: number }

/** Gas in the second round. The payers are wallets without an authorizer of their own; a facilitator claims for all receivers. */
export async function measureVoucherChannels(chain: ModelChain): Promise<ChannelCosts> {
  const token = await chain.deploy('ModelToken')
  const channels = await chain.deploy('VoucherChannels')
  await chain.send(token, 'mint', [channels.address, 10n ** 12n])
  const pairs = numbers(PAIRS).map((i) => ({ payer: keyOf('payer', i), config: configOf(chain, token, i) }))
  for (const { config } of pairs) await chain.send(channels, 'open', [config, 10n ** 9n])
  const settleRound = async (round: bigint): Promise<ChannelCosts> => {
    const claims: unknown[] = []
    for (const { payer, config } of pairs) {
      const id = await chain.read(channels, 'channelIdOf', [config])
      // The voucher allows more than was charged, as it was signed before the answer.
      const maxClaimableAmount = OWED * round + 10_000n
      const digest = await chain.read(channels, 'voucherDigest', [id, maxClaimableAmount])
      const voucher = { channel: config, maxClaimableAmount }
      claims.push({ voucher, signature: signWith(payer, digest), totalClaimed: OWED * round })
    }
    const calls: number[] = []
    for (const group of inGroups(claims, CLAIMS_IN_A_CALL)) calls.push(await chain.send(channels, 'claim', [group]))
    const sweeps: number[] = []
    for (const i of numbers(ENCLAVES)) {
      sweeps.push(await chain.send(channels, 'settle', [addressOf('receiver', i), token.address]))
    }
    return {
      claim: sum(calls) / PAIRS,
      sweep: sum(sweeps) / ENCLAVES,
      perReceipt: (sum(calls) + sum(sweeps)) / RECEIPTS,
    }
  }
  await settleRound(1n)
  return await settleRound(2n)
}

function configOf(chain: ModelChain, token: Contract, i: number): Readonly<Record<string, unknown>> {
  return {
    payer: keyOf('payer', i).address,
    payerAuthorizer: `0x${'00'.repeat(20)}`,
    receiver: addressOf('receiver', i % ENCLAVES),
    receiverAuthorizer: chain.account(0),
    token: token.address,
    withdrawDelay: 86_400,
    salt: `0x${'00'.repeat(32)}`,
  }
}

/** 0G's settleFeesWithTEE, as a model: fees of users that the provider's enclave signs one by one. @module */
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { Contract, ModelChain } from './modelChain.ts'
import { addressOf, ENCLAVES, type Key, keyOf, numbers, OWED, PAIRS, RECEIPTS, signWith, sum } from './workload.ts'

/** As many as one call takes. */
const USERS_IN_A_CALL = 50

export type ServingCosts = { readonly user50: number; readonly user1: number; readonly perReceipt: number }

/** Gas in the second round: of a call that is full, of a user alone, and of ten providers with twenty users each. */
export async function measureEnclaveServing(chain: ModelChain): Promise<ServingCosts> {
  const { address: implementation } = await chain.deploy('EnclaveServing')
  const beacon = await chain.deploy('ModelBeacon', [implementation])
  const serving = chain.at('EnclaveServing', (await chain.deploy('BeaconForwarder', [beacon.address])).address)
  await chain.send(serving, 'initialize', [])
  const ledger = chain.at('FundLedger', (await chain.read(serving, 'ledger')) as Hex)
  const stage = { chain, serving, ledger }
  const large = await Provider.open(stage, ENCLAVES, USERS_IN_A_CALL)
  await large.settle(1, USERS_IN_A_CALL)
  const full = await large.settle(2, USERS_IN_A_CALL)
  const alone = await large.settle(3, 1)
  const totals: number[] = []
  for (const number of numbers(ENCLAVES)) {
    const provider = await Provider.open(stage, number, PAIRS / ENCLAVES)
    await provider.settle(1, PAIRS / ENCLAVES)
    totals.push(await provider.settle(2, PAIRS / ENCLAVES))
  }
  return { user50: full / USERS_IN_A_CALL, user1: alone, perReceipt: sum(totals) / RECEIPTS }
}

type Stage = { readonly chain: ModelChain; readonly serving: Contract; readonly ledger: Contract }

class Provider {
  readonly #stage: Stage
  readonly #address: Hex
  readonly #enclave: Key
  readonly #users: readonly Hex[]

  private constructor(stage: Stage, number: number, users: readonly Hex[]) {
    this.#stage = stage
    this.#address = stage.chain.account(1 + number)
    this.#enclave = keyOf('enclave', number)
    this.#users = users
  }

  static async open(stage: Stage, number: number, userCount: number): Promise<Provider> {
    const { chain, serving, ledger } = stage
    const users = numbers(userCount).map((i) => addressOf(`user of ${number}`, i))
    const provider = new Provider(stage, number, users)
    await chain.send(serving, 'serve', [provider.#enclave.address], { from: provider.#address })
    for (const user of users) {
      await chain.send(ledger, 'fund', [user], { value: 10n ** 12n })
      await chain.send(serving, 'open', [user, provider.#address, 10n ** 12n])
    }
    return provider
  }

  /** The `round`-th fees of the first `count` users. Answers the gas of the call. */
  async settle(round: number, count: number): Promise<number> {
    const { chain, serving } = this.#stage
    const rows: unknown[] = []
    for (const user of this.#users.slice(0, count)) {
      const row = {
        user,
        provider: this.#address,
        totalFee: OWED,
        requestsHash: toHex(keyOf(`requests ${round} of ${user}`, 0).privateKey),
        nonce: BigInt(round + 1),
        signature: '0x',
      }
      rows.push({ ...row, signature: signWith(this.#enclave, await chain.read(serving, 'digestOf', [row])) })
    }
    const sending = { from: this.#address }
    const gas = await chain.send(serving, 'settleFeesWithTEE', [rows], sending)
    return gas
  }
}

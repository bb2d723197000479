/** Makes blocks, and makes things go wrong from time to time until it is told to end. @module */

import type { Hex } from '#protocol/bytes.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { SUGGESTED_TIP } from './chain.ts'
import { signTransaction } from './chainPort.ts'
import type { SimulatedLog } from './enclaves.ts'
import { MOMENTS, type Moment } from './faults.ts'
import type { SimulatedProcess, World } from './process.ts'
import type { Random } from './random.ts'
import type { Traffic } from './traffic.ts'

const DEPTH_MAX = 8
/** Blocks that can still be reorganised. */
const FINALITY_BLOCKS = 10
const FINALITY_BLOCKS_LATE = 40
const PLENTY = 10n ** 22n

export class Misfortune {
  readonly #world: World
  readonly #random: Random
  readonly #processes: readonly SimulatedProcess[]
  readonly #traffic: Traffic
  readonly #gateways: readonly SimulatedLog[]
  readonly #blockMs: number
  #isEnded = false
  #isFinalityLate = false

  constructor(
    world: World,
    random: Random,
    processes: readonly SimulatedProcess[],
    traffic: Traffic,
    gateways: readonly SimulatedLog[],
    blockMs: number,
  ) {
    this.#world = world
    this.#random = random
    this.#processes = processes
    this.#traffic = traffic
    this.#gateways = gateways
    this.#blockMs = blockMs
  }

  /** Blocks come for ever, faults until `until` at most. */
  start(until: number): void {
    this.#mine()
    const moments = MOMENTS.filter((moment) => moment === 'link' || this.#world.faults.has(moment))
    const wait = () =>
      this.#world.scheduler.after(this.#random.integer(1_000, 12_000), () => {
        if (this.#isEnded || this.#world.scheduler.now >= until) return
        this.#happen(this.#random.pick(moments))
        wait()
      })
    wait()
  }

  /** Everything works again, and stays so. */
  end(): void {
    const { chain, faults, note } = this.#world
    note('nothing goes wrong any more')
    this.#isEnded = true
    this.#isFinalityLate = false
    faults.endEpisodes()
    faults.isStoreDown = false
    chain.isCongested = false
    chain.baseFeePercent = 100n
    this.#refill()
    for (const process of this.#processes) if (!process.isRunning) process.start()
  }

  #mine(): void {
    const { chain, scheduler } = this.#world
    scheduler.after(this.#blockMs, () => {
      chain.mine(BigInt(Math.floor(scheduler.now / 1_000)), scheduler.now)
      const behind = BigInt(this.#isFinalityLate ? FINALITY_BLOCKS_LATE : FINALITY_BLOCKS)
      if (chain.head.number - behind > chain.finalNumber) chain.finalNumber = chain.head.number - behind
      this.#mine()
    })
  }

  #happen(moment: Moment): void {
    const { chain, faults, scheduler, note, accountKeys } = this.#world
    const random = this.#random
    if (moment === 'link') {
      const process = random.pick(this.#processes).name
      const kind = faults.beginEpisode(process, scheduler.now + random.integer(3_000, 40_000))
      if (kind !== undefined) note(`${process} meets ${kind} for a while`)
      return
    }
    if (moment !== 'otherSettler' && moment !== 'reorganisation') faults.note(moment)
    switch (moment) {
      case 'crash': {
        const process = random.pick(this.#processes)
        if (!process.isRunning) return
        process.kill()
        this.#later(random.integer(0, 30_000), () => process.start())
        return
      }
      case 'standstill':
        random.pick(this.#processes).standStill(random.pick([2_000, 10_000, 30_000]))
        return
      case 'storeOutage':
        note('the store is down')
        faults.isStoreDown = true
        this.#later(random.integer(500, 10_000), () => {
          faults.isStoreDown = false
        })
        return
      case 'reorganisation': {
        const depth = Math.min(random.integer(1, DEPTH_MAX), Number(chain.head.number - chain.finalNumber) - 1)
        if (depth < 1) return
        faults.note(moment)
        note(`${depth} blocks from ${chain.head.number} down are reorganised`)
        chain.reorganise(depth, random.integer(0, 1), random.pick([0, 0.3, 1]), scheduler.now)
        return
      }
      case 'mempoolLoss':
        note(`the mempool loses ${chain.drop(random.pick([0.5, 1]))}`)
        return
      case 'feeSpike':
        chain.baseFeePercent = BigInt(random.integer(150, 1_200))
        note(`the base fee is at ${chain.baseFeePercent} %`)
        this.#later(random.integer(5_000, 40_000), () => {
          chain.baseFeePercent = 100n
        })
        return
      case 'congestion':
        note('blocks are full')
        chain.isCongested = true
        this.#later(random.integer(5_000, 40_000), () => {
          chain.isCongested = false
        })
        return
      case 'emptyAccount':
        note('accounts are empty')
        chain.submitDeed({ name: 'drain', apply: ({ balances }) => this.#setBalances(balances, 0n) })
        this.#later(random.integer(5_000, 30_000), () => this.#refill())
        return
      case 'foreignNonce':
        this.#takeNonce(random.pick(accountKeys))
        return
      case 'otherSettler':
        if (this.#traffic.settleByOther(this.#gateways)) faults.note(moment)
        return
      case 'finalityLag':
        note('nothing becomes final')
        this.#isFinalityLate = true
        this.#later(random.integer(20_000, 60_000), () => {
          this.#isFinalityLate = false
        })
        return
    }
  }

  /** Whoever else has the key sends something of no consequence under the next nonce. */
  #takeNonce(key: Uint8Array): void {
    const { chain, note } = this.#world
    const account = enclaveOfKey(key).toLowerCase() as Hex
    const nonce = chain.head.state.nonces.get(account) ?? 0
    const fees = { maxFeePerGas: 60n * SUGGESTED_TIP, maxPriorityFeePerGas: 6n * SUGGESTED_TIP }
    const call = { chainId: chain.options.chainId, to: account, data: '0x', nonce, gas: 30_000n, ...fees } as const
    note(`nonce ${nonce} of ${account.slice(0, 8)} is taken: ${chain.submit(signTransaction(call, key))}`)
  }

  #refill(): void {
    this.#world.chain.submitDeed({ name: 'refill', apply: ({ balances }) => this.#setBalances(balances, PLENTY) })
  }

  #setBalances(balances: Map<Hex, bigint>, amount: bigint): void {
    for (const account of balances.keys()) balances.set(account, amount)
  }

  /** Unless everything was made to work before. */
  #later(ms: number, run: () => void): void {
    this.#world.scheduler.after(ms, () => {
      if (!this.#isEnded) run()
    })
  }
}

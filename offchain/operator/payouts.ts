/**
 * Brings an operator's earnings home without being asked: draws what has thawed, starts the thaw of what has come together, releases bonds that are
 * free. Nothing is kept: every round reads the chain, so that a restart misses nothing and does nothing twice.
 * @module
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Account, Chain, PublicClient, Transport, WalletClient } from 'viem'
import { type OperatorEarnings, type PayoutCall, planPayouts, readEarnings } from '#chain/earnings.ts'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { fromChain } from '#chain/vaultErrors.ts'
import { sendCall, signerOfWallet } from '#chain/vaultSigner.ts'
import { errorFields, type Logger } from '#node/log.ts'
import type { Hex } from '#protocol/bytes.ts'

export type PayoutsOptions = {
  readonly access: {
    readonly client: PublicClient
    readonly wallet: WalletClient<Transport, Chain, Account>
    readonly registry: Hex
  }
  readonly log: Logger
  /** Block from which the registry exists, or any before. */
  readonly fromBlock: bigint
  /** What is less than this stays where it is, in units. Undefined: nothing is drawn unless `draw` is called. */
  readonly unitsMin: bigint | undefined
  readonly pollMs: number
}

export type PayoutDone = Pick<PayoutCall, 'kind' | 'enclave' | 'units'> & { readonly transaction: Hex }

export class Payouts {
  readonly #options: PayoutsOptions
  readonly #closing = new AbortController()
  #settlement: Hex | undefined
  #drawing: Promise<readonly PayoutDone[]> | undefined
  #loop: Promise<void> | undefined

  constructor(options: PayoutsOptions) {
    this.#options = options
  }

  /** Draws by itself until `close`, where a smallest amount is set. */
  start(): void {
    const { unitsMin } = this.#options
    if (unitsMin !== undefined) this.#loop ??= this.#forever(unitsMin)
  }

  /** What this agent's operator has. Throws `VaultError` (`CHAIN_FAILED`). */
  async read(): Promise<OperatorEarnings> {
    const { client, wallet, registry } = this.#options.access
    return readEarnings(
      { client, registry, settlement: await this.#readSettlement(), fromBlock: this.#options.fromBlock },
      wallet.account.address,
    )
  }

  /** Does everything that can be done now. A call while another is under way gets that one's answer. Throws `VaultError`. */
  draw(unitsMin: bigint): Promise<readonly PayoutDone[]> {
    this.#drawing ??= this.#draw(unitsMin).finally(() => {
      this.#drawing = undefined
    })
    return this.#drawing
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#loop
    await this.#drawing?.catch(() => {
      // Whoever asked for it is told.
    })
  }

  async #draw(unitsMin: bigint): Promise<readonly PayoutDone[]> {
    const { access, log } = this.#options
    const settlement = await this.#readSettlement()
    const calls = planPayouts({ ...access, settlement }, await this.read(), { unitsMin, isSettler: true })
    const done: PayoutDone[] = []
    for (const call of calls) {
      const transaction = await sendCall(access.client, signerOfWallet(access.wallet), call)
      const { kind, enclave, units } = call
      const step = { kind, units, transaction, ...(enclave === undefined ? {} : { enclave }) }
      log.info('payout', step)
      done.push(step)
    }
    return done
  }

  async #readSettlement(): Promise<Hex> {
    const { client, registry } = this.#options.access
    this.#settlement ??= await fromChain(
      client.readContract({ address: registry, abi: enclaveRegistryAbi, functionName: 'settlement' }),
    )
    return this.#settlement
  }

  async #forever(unitsMin: bigint): Promise<void> {
    const { log, pollMs } = this.#options
    let hasFailed = false
    while (!this.#closing.signal.aborted) {
      try {
        await this.draw(unitsMin)
        hasFailed = false
      } catch (error) {
        if (!hasFailed) log.warn('payout failed', errorFields(error))
        hasFailed = true
      }
      await sleep(pollMs, undefined, { signal: this.#closing.signal }).catch(() => {
        // The only way to fail is the close, which the loop's condition sees.
      })
    }
  }
}

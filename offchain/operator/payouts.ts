/**
 * Brings an operator's earnings home without being asked: draws what has thawed, starts the thaw of what has come together, releases bonds that are
 * free. Nothing is kept: every round reads the chain, so that a restart misses nothing and does nothing twice.
 * @module
 */
import type { Account, Chain, PublicClient, Transport, WalletClient } from 'viem'
import { type EarningsAccess, type OperatorEarnings, readEarnings } from '#chain/earnings.ts'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { type PayoutDone, payOut } from '#chain/payouts.ts'
import { fromChain } from '#chain/vaultErrors.ts'
import { signerOfWallet } from '#chain/vaultSigner.ts'
import type { Logger } from '#node/log.ts'
import { type Rounds, startRounds } from '#node/rounds.ts'
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

export class Payouts {
  readonly #options: PayoutsOptions
  #settlement: Hex | undefined
  #drawing: Promise<readonly PayoutDone[]> | undefined
  #rounds: Rounds | undefined

  constructor(options: PayoutsOptions) {
    this.#options = options
  }

  /** Draws by itself until `close`, where a smallest amount is set. */
  start(): void {
    const { unitsMin } = this.#options
    if (unitsMin !== undefined) {
      this.#rounds ??= startRounds(() => this.draw(unitsMin), { ...this.#options, name: 'payout' })
    }
  }

  /** What this agent's operator has. Throws `VaultError` (`CHAIN_FAILED`). */
  async read(): Promise<OperatorEarnings> {
    return readEarnings(await this.#open(), this.#options.access.wallet.account.address)
  }

  /** Does everything that can be done now. A call while another is under way gets that one's answer. Throws `VaultError`. */
  draw(unitsMin: bigint): Promise<readonly PayoutDone[]> {
    this.#drawing ??= this.#draw(unitsMin).finally(() => {
      this.#drawing = undefined
    })
    return this.#drawing
  }

  async close(): Promise<void> {
    await this.#rounds?.close()
    await this.#drawing?.catch(() => {
      // Whoever asked for it is told.
    })
  }

  async #draw(unitsMin: bigint): Promise<readonly PayoutDone[]> {
    const { wallet } = this.#options.access
    const signer = signerOfWallet(wallet)
    const done: PayoutDone[] = []
    for await (const step of payOut(await this.#open(), { operator: wallet.account.address, signer, unitsMin })) {
      this.#options.log.info('payout', step)
      done.push(step)
    }
    return done
  }

  async #open(): Promise<EarningsAccess> {
    const { fromBlock } = this.#options
    const { client, registry } = this.#options.access
    this.#settlement ??= await fromChain(
      client.readContract({ address: registry, abi: enclaveRegistryAbi, functionName: 'settlement' }),
    )
    return { client, registry, settlement: this.#settlement, fromBlock }
  }
}

/**
 * What a wallet meets when it buys and exits, in memory: a vault, an issuer, a clock, and a disk. Everything that can be interrupted is a step; a crash
 * can be put before or behind any of them, and from then on nothing happens until the wallet is opened again.
 * @module
 */
import type { VaultDeposit } from '#chain/vaultDeposits.ts'
import { VaultError } from '#chain/vaultErrors.ts'
import { type ExitCredit, hashExit, type VaultExit } from '#chain/vaultExits.ts'
import type { DepositRequest } from '#chain/vaultPayIn.ts'
import { concatBytes, encodeUint, encodeUtf8, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { verifyWithSecretKey } from '#protocol/credits/blindSignature.ts'
import type { Keyset } from '#protocol/credits/keyset.ts'
import { hashKeyset } from '#protocol/credits/keyset.ts'
import { addressWord } from '#protocol/credits/message.ts'
import { keccak256 } from '#protocol/hash.ts'
import { recoverSigner } from '#protocol/receipt/head.ts'
import { SealpathError } from '../../offchain/sdk/errors.ts'
import { type AccountStore, WalletAccount } from '../../offchain/sdk/wallet/account.ts'
import { parseAccount, serializeAccount } from '../../offchain/sdk/wallet/accountState.ts'
import type { Depositor, PurchasePorts } from '../../offchain/sdk/wallet/buy.ts'
import type { ExitPorts } from '../../offchain/sdk/wallet/exit.ts'
import type { Wallet } from '../../offchain/sdk/wallet/wallet.ts'
import { keyset, PlainIssuer, secretKeys } from './plainIssuer.ts'

export const WORLD_SEED: Uint8Array = new Uint8Array(32).fill(7)
const DAY = 86_400

/** A power cut. */
export class Crash extends Error {
  override readonly name = 'Crash'
}

export type CrashPoint = { readonly step: number; readonly isBefore: boolean }

export class WalletWorld {
  readonly issuer: PlainIssuer = new PlainIssuer()
  readonly deposits: Map<Hex, VaultDeposit> = new Map()
  readonly exits: Map<Hex, VaultExit & { readonly units: bigint }> = new Map()
  /** Units paid to each recipient. */
  readonly paid: Map<Hex, bigint> = new Map()
  time: number = 1_000_000
  allowance: bigint = 10n ** 9n
  /** What the issuer answers instead of signatures, if anything. */
  refusal: string | undefined
  /** Purchases whose pauses and issuers were under way at once, at most. */
  slept: number = 0
  steps: number = 0
  #saved: string | undefined
  #crash: CrashPoint | undefined
  #isDown = false

  /** Opens the wallet after a start, or after a crash; nothing crashes again unless told. */
  async open(crash?: CrashPoint): Promise<{ account: WalletAccount; wallet: Wallet }> {
    this.#crash = crash
    this.#isDown = false
    this.steps = 0
    const account = await this.#openAccount()
    return { account, wallet: await account.walletOf(keyset) }
  }

  async #openAccount(): Promise<WalletAccount> {
    const store: AccountStore = {
      load: async () => (this.#saved === undefined ? undefined : parseAccount(this.#saved)),
      save: (state) =>
        this.step(() => {
          this.#saved = serializeAccount(state)
        }),
    }
    if (this.#saved !== undefined) return WalletAccount.open(store)
    const { chainId, vault } = keyset
    return WalletAccount.create(store, { seed: WORLD_SEED, chainId, vault, isRestoring: false })
  }

  async step<T>(act: () => T | Promise<T>): Promise<T> {
    if (this.#isDown) throw new Crash()
    const isHere = this.#crash?.step === this.steps++
    if (isHere && this.#crash?.isBefore === true) this.#fail()
    const result = await act()
    if (isHere) this.#fail()
    return result
  }

  #fail(): never {
    this.#isDown = true
    throw new Crash()
  }

  readonly depositor: Depositor = {
    payer: `0x${'bb'.repeat(20)}`,
    deposit: ({ claimKey, units }: DepositRequest) =>
      this.step(() => {
        if (this.deposits.has(claimKey)) {
          throw new VaultError('REFUSED', 'there is one already', { reason: 'VaultDepositExists' })
        }
        this.deposits.set(claimKey, {
          state: 'open',
          units,
          payer: this.depositor.payer,
          depositedAt: this.time,
          refundableAt: this.time + 3_600,
          refundReadyAt: undefined,
        })
        this.issuer.deposits.set(claimKey, units)
        return toHex(keccak256(fromHex(claimKey)))
      }),
  }

  readonly purchasePorts: PurchasePorts = {
    depositOf: (_keyset, claimKey) => this.step(() => this.deposits.get(claimKey)),
    answerOf: () => Promise.resolve(undefined),
    issue: (_wallet, purchase) =>
      this.step(() => {
        if (this.refusal !== undefined) throw new SealpathError('ISSUER_REFUSED', 'no', { reason: this.refusal })
        return this.issuer.issue(purchase)
      }),
    hidesAmong: () => this.step(() => this.deposits.size),
    isRelayShared: true,
    now: async () => this.time,
    sleep: (milliseconds, signal) =>
      this.step(() => {
        signal?.throwIfAborted()
        this.slept += milliseconds
        this.time += milliseconds / 1_000
      }),
  }

  readonly exitPorts: ExitPorts = {
    readExits: (credits) =>
      this.step(() =>
        credits.map((credit) => this.exits.get(credit) ?? { state: 'none', recipient: '0x', readyAt: 0 }),
      ),
    allowance: () => this.step(() => this.allowance),
    now: async () => this.time,
    sender: {
      open: (of, recipient, credits) =>
        this.step(() => {
          this.#openExits(of, recipient, credits)
          return '0x'
        }),
      finish: (credits) =>
        this.step(() => {
          this.#finishExits(credits)
          return '0x'
        }),
    },
  }

  /** As the vault does it: every credit signed by the keyset and by its exit key, once. */
  #openExits(of: Keyset, recipient: Hex, credits: readonly ExitCredit[]): void {
    const ids = credits.map((credit) => {
      const message = keccak256(
        concatBytes(
          keccak256(encodeUtf8('Sealpath credit v1')),
          encodeUint(BigInt(of.chainId), 32),
          addressWord(of.vault),
          fromHex(hashKeyset(of), 32),
          addressWord(credit.exitKey),
          fromHex(credit.hashT, 32),
        ),
      )
      const id = toHex(message)
      const isSigned = verifyWithSecretKey(message, credit.signature, secretKeys[credit.exponent] ?? 0n)
      const isOwn = recoverSigner(hashExit(of, id, recipient), credit.exit) === credit.exitKey
      if (!isSigned || !isOwn) throw new VaultError('REFUSED', 'not signed', { reason: 'BlindSignaturesWrong' })
      if (this.exits.has(id)) throw new VaultError('REFUSED', 'opened before', { reason: 'VaultExitIs' })
      return id
    })
    for (const [i, id] of ids.entries()) {
      const units = 1n << BigInt(credits[i]?.exponent ?? 0)
      this.exits.set(id, { state: 'open', recipient, readyAt: this.time + DAY, units })
      this.allowance -= units
    }
  }

  #finishExits(credits: readonly Hex[]): void {
    const exits = credits.map((credit) => [credit, this.exits.get(credit)] as const)
    for (const [credit, exit] of exits) {
      if (exit?.state !== 'open' || exit.readyAt > this.time) throw new VaultError('REFUSED', 'not ready')
      this.exits.set(credit, { ...exit, state: 'paid' })
      this.paid.set(exit.recipient, (this.paid.get(exit.recipient) ?? 0n) + exit.units)
    }
  }
}

/** Runs with a crash before and behind each step there is, in turn. `act` answers whether the crash was reached. */
export async function crashEverywhere(act: (crash: CrashPoint) => Promise<boolean>): Promise<number> {
  for (let step = 0; ; step++) {
    for (const isBefore of [true, false]) {
      if (!(await act({ step, isBefore }))) return step
    }
  }
}

/** What `act` answers, or undefined when it crashed. */
export async function untilCrash<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof Crash) return undefined
    throw error
  }
}

/**
 * Speaks for an issuer at the vault, where silence would cost it: shows the blind signatures of a deposit that is asked back although it was
 * answered, and cancels the exit of a credit that was spent. Both have a day. Whoever does it pays the gas; the contract believes nobody.
 *
 * Nothing is kept: every round reads what was asked of the vault within the last days and is still open, so that a restart misses nothing.
 * @module
 */
import { encodeFunctionData, getAbiItem, getAddress } from 'viem'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { openVault, readKeysets, type VaultAccess, type VaultKeyset } from '#chain/vault.ts'
import { readExits } from '#chain/vaultExits.ts'
import { readLogs } from '#chain/vaultLogs.ts'
import { sendCall, signerOfWallet } from '#chain/vaultSigner.ts'
import type { Logger } from '#node/log.ts'
import { type Rounds, startRounds } from '#node/rounds.ts'
import { type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { decodeG1, encodeEip2537G1, encodeEip2537G2, G1_BYTES } from '#protocol/credits/points.ts'
import { type IssuedAnswer, SPENT_QUESTION_MAX } from '#protocol/wire/vaultDutyApi.ts'
import type { DutyEnclave } from './peers.ts'
import type { RegistryAccess } from './registration.ts'

export type DutyOptions = {
  readonly access: RegistryAccess
  readonly enclave: DutyEnclave
  readonly log: Logger
  readonly pollMs: number
  /** Block from which the vault exists, or any before. */
  readonly fromBlock: bigint
}

/** Blocks that are read again: the newest may be replaced. */
const OVERLAP_BLOCKS = 64n
const REFUND_REQUESTED = getAbiItem({ abi: creditVaultAbi, name: 'RefundRequested' })
const EXITS_OPENED = getAbiItem({ abi: creditVaultAbi, name: 'ExitsOpened' })
/** Of `DepositState`. */
const STATE_REFUND_REQUESTED = 2

type Refund = { readonly keyset: Hex; readonly claimKey: Hex }
type OpenedCredit = { readonly keyset: Hex; readonly credit: Hex }

export class VaultDuty {
  readonly #options: DutyOptions
  #vault: VaultAccess | undefined
  #next: bigint
  /** What may still have to be answered or cancelled. */
  readonly #refunds = new Map<Hex, Refund>()
  readonly #exits = new Map<Hex, OpenedCredit>()
  #rounds: Rounds | undefined

  constructor(options: DutyOptions) {
    this.#options = options
    this.#next = options.fromBlock
  }

  /** Goes on until `close`. */
  start(): void {
    this.#rounds ??= startRounds(() => this.step(), { ...this.#options, name: 'vault duty' })
  }

  /** One round. Throws what the chain or the enclave throw; the next round does it again. */
  async step(): Promise<void> {
    if (!(await this.#options.enclave.isIssuer())) return
    const vault = await this.#open()
    await this.#read(vault)
    await eachOf([this.#answerRefunds, this.#cancelExits], (duty) => duty.call(this, vault))
  }

  async close(): Promise<void> {
    await this.#rounds?.close()
  }

  async #open(): Promise<VaultAccess> {
    const { access, fromBlock } = this.#options
    this.#vault ??= await openVault(access.client, access.registry, { fromBlock })
    return this.#vault
  }

  async #read(vault: VaultAccess): Promise<void> {
    const { client, vault: address } = vault
    const latest = await client.getBlockNumber({ cacheTime: 0 })
    const refunds = await readLogs(
      vault,
      (range) => client.getLogs({ address, event: REFUND_REQUESTED, strict: true, ...range }),
      { from: this.#next },
    )
    const exits = await readLogs(
      vault,
      (range) => client.getLogs({ address, event: EXITS_OPENED, strict: true, ...range }),
      { from: this.#next },
    )
    for (const { args } of refunds) {
      const claimKey = args.claimKey.toLowerCase() as Hex
      this.#refunds.set(`${args.keyset}${claimKey.slice(2)}`, { keyset: args.keyset, claimKey })
    }
    for (const { args } of exits) {
      for (const credit of args.credits) this.#exits.set(credit, { keyset: args.keyset, credit })
    }
    const overlapped = latest > OVERLAP_BLOCKS ? latest - OVERLAP_BLOCKS : 0n
    if (overlapped > this.#next) this.#next = overlapped
  }

  async #answerRefunds(vault: VaultAccess): Promise<void> {
    await eachOf(this.#refunds, async ([name, { keyset, claimKey }]) => {
      const contract = { address: vault.vault, abi: creditVaultAbi } as const
      const args = [keyset, getAddress(claimKey)] as const
      const { state } = await vault.client.readContract({ ...contract, functionName: 'depositOf', args })
      if (state !== STATE_REFUND_REQUESTED) {
        this.#refunds.delete(name)
        return
      }
      const answer = await this.#options.enclave.issuedAnswer(keyset, claimKey)
      if (answer === undefined) return
      const known = (await readKeysets(vault)).find(({ id }) => id === keyset)
      if (known === undefined) return
      const transaction = await this.#send(vault, encodeAnswer(known, claimKey, answer))
      this.#options.log.info('deposit answered on chain', { keyset, transaction })
    })
  }

  async #cancelExits(vault: VaultAccess): Promise<void> {
    const opened = [...this.#exits.values()]
    for (let from = 0; from < opened.length; from += SPENT_QUESTION_MAX) {
      const group = opened.slice(from, from + SPENT_QUESTION_MAX)
      const states = await readExits(
        vault,
        group.map(({ credit }) => credit),
      )
      const open = group.filter((_, i) => states[i]?.state === 'open')
      for (const { credit } of group) if (!open.some((exit) => exit.credit === credit)) this.#exits.delete(credit)
      if (open.length > 0) await this.#cancelSpent(vault, open)
    }
  }

  async #cancelSpent(vault: VaultAccess, open: readonly OpenedCredit[]): Promise<void> {
    const spent = await this.#options.enclave.spent(open.map(({ credit }) => credit))
    await eachOf(spent, async ({ credit, exitKey, secret }) => {
      const keyset = open.find((exit) => exit.credit === credit)?.keyset
      if (keyset === undefined) return
      const args = [keyset, getAddress(exitKey), toHex(secret)] as const
      const data = encodeFunctionData({ abi: creditVaultAbi, functionName: 'challengeExit', args })
      const transaction = await this.#send(vault, data)
      this.#options.log.info('exit of a spent credit cancelled', { keyset, transaction })
    })
  }

  /** What somebody else has done meanwhile fails when it is tried out, without gas; the next round sees that it is done. */
  #send({ vault, client }: VaultAccess, data: Hex): Promise<Hex> {
    return sendCall(client, signerOfWallet(this.#options.access.wallet), { to: vault, data })
  }
}

/** One that fails does not hold up the others; the first failure is thrown at the end. */
async function eachOf<Item>(items: Iterable<Item>, act: (item: Item) => Promise<void>): Promise<void> {
  const failures: unknown[] = []
  for (const item of [...items]) await act(item).catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
}

/** Calldata of `answerDeposit`: the keys that are used, ascending, and points as EIP-2537 has them. */
function encodeAnswer({ id, keyset }: VaultKeyset, claimKey: Hex, answer: IssuedAnswer): Hex {
  const used = [...new Set(answer.exponents)].flatMap((exponent) => keyset.keys[exponent] ?? [])
  return encodeFunctionData({
    abi: creditVaultAbi,
    functionName: 'answerDeposit',
    args: [
      id,
      getAddress(claimKey),
      toHex(joinBytes(used.map(encodeEip2537G2))),
      toHex(answer.exponents),
      toHex(encodePoints(answer.blinded)),
      toHex(encodePoints(answer.signatures)),
      answer.r,
      answer.vs,
    ],
  })
}

/** Compressed points, 48 bytes each, as 128 bytes each. */
function encodePoints(compressed: Uint8Array): Uint8Array {
  const points: Uint8Array[] = []
  for (let from = 0; from < compressed.length; from += G1_BYTES) {
    points.push(encodeEip2537G1(decodeG1(compressed.slice(from, from + G1_BYTES))))
  }
  return joinBytes(points)
}

/**
 * Exits: credits back into OPG without anybody's help. Credits are chosen and set aside, signed for by their exit keys, opened at the vault in lists of 64
 * under the keyset's daily cap, and drawn a day later. Each step is looked up on chain before it is made, so that whatever stopped in between goes on.
 * @module
 */
import { VaultError } from '#chain/vaultErrors.ts'
import { EXIT_CREDITS_MAX, type ExitCredit, type VaultExit } from '#chain/vaultExits.ts'
import type { Hex } from '#protocol/bytes.ts'
import { coverUnits, formatOpg } from '#protocol/credits/amounts.ts'
import { type Keyset, keysetPhase } from '#protocol/credits/keyset.ts'
import type { Wallet } from './wallet.ts'
import { WalletError } from './walletError.ts'
import type { OpenExit, WalletCredit } from './walletState.ts'
import { unitsIn } from './walletState.ts'

/** What exits need of the chain. All of it throws `VaultError`. */
export type ExitPorts = {
  readExits(credits: readonly Hex[]): Promise<readonly VaultExit[]>
  /** Units whose exits can be opened today. */
  allowance(keyset: Hex): Promise<bigint>
  /** Time of the newest block, in seconds. */
  now(): Promise<number>
  /** Whoever pays the gas. Without one, nothing is sent. */
  readonly sender?: ExitSender
}

export type ExitSender = {
  open(keyset: Keyset, recipient: Hex, credits: readonly ExitCredit[]): Promise<Hex>
  finish(credits: readonly Hex[]): Promise<Hex>
}

/** Units: what was paid now, what is not, and why. Times in seconds. */
export type ExitReport = {
  readonly paid: bigint
  /** Shown to have been spent before: they are gone. */
  readonly cancelled: bigint
  /** Opened: drawn from `readyAt` on. */
  readonly waiting: readonly { readonly units: bigint; readonly recipient: Hex; readonly readyAt: number }[]
  /** Not opened: `CAP` until the next day (UTC), `NO_SENDER` until somebody pays the gas. */
  readonly queued: readonly {
    readonly units: bigint
    readonly recipient: Hex
    readonly reason: 'CAP' | 'NO_SENDER'
  }[]
}

/**
 * Sets credits aside that are worth `units`, or as little more as credits allow, those first whose keysets end first; all of them for undefined. Answers
 * what they are worth. Throws `WalletError` (`INSUFFICIENT`).
 */
export async function startExits(
  wallets: readonly Wallet[],
  units: bigint | undefined,
  recipient: Hex,
  now: number,
): Promise<bigint> {
  const exitable = wallets
    .filter(({ keyset }) => keysetPhase(keyset, now) !== 'ended')
    .toSorted((a, b) => a.keyset.exitUntil - b.keyset.exitUntil)
  const held = exitable.reduce((sum, { balance }) => sum + balance.spendable, 0n)
  if (held === 0n || (units !== undefined && held < units)) {
    const needed = units ?? 1n
    const amounts = { needed, spendable: held }
    throw new WalletError(
      'INSUFFICIENT',
      `the wallet holds ${formatOpg(held)}, and ${formatOpg(needed)} shall leave it`,
      amounts,
    )
  }
  let chosen = 0n
  for (const wallet of exitable) {
    const { credits } = wallet
    const wanted = units === undefined ? wallet.balance.spendable : units - chosen
    if (wanted <= 0n) break
    const all = credits.map((_, index) => index)
    const indices =
      coverUnits(
        credits.map(({ exponent }) => exponent),
        wanted,
      ) ?? all
    const leaving = indices.flatMap((index) => credits[index] ?? [])
    await wallet.startExits(recipient, listsOf(leaving))
    chosen += unitsIn(leaving)
  }
  return chosen
}

/** Brings every exit of a wallet as far as it can be brought now. Throws `VaultError`; what was done before is kept. */
export async function advanceExits(wallet: Wallet, ports: ExitPorts): Promise<ExitReport> {
  const report: MutableReport = { paid: 0n, cancelled: 0n, waiting: [], queued: [] }
  for (const exit of wallet.openExits) await advanceExit(wallet, exit, ports, report)
  return report
}

type MutableReport = {
  -readonly [Key in keyof ExitReport]: ExitReport[Key] extends readonly (infer Item)[] ? Item[] : ExitReport[Key]
}

async function advanceExit(wallet: Wallet, exit: OpenExit, ports: ExitPorts, report: MutableReport): Promise<void> {
  const { recipient } = exit
  let sorted = await sort(wallet, exit, ports, report)
  if (sorted.none.length > 0) {
    const units = unitsIn(sorted.none)
    const reason = await whyNotOpened(wallet, units, ports)
    if (reason === undefined && ports.sender !== undefined) {
      await open(wallet, { ...exit, credits: sorted.none }, ports.sender)
      sorted = await sort(wallet, { ...exit, credits: [...sorted.none, ...sorted.open] }, ports, report)
    } else {
      report.queued.push({ units, recipient, reason: reason ?? 'NO_SENDER' })
    }
  }
  if (sorted.open.length === 0) return
  const readyAt = sorted.readyAt
  const units = unitsIn(sorted.open)
  await wallet.updateExit(exit.id, { isSent: true, readyAt, credits: [...sorted.none, ...sorted.open] })
  if (ports.sender === undefined || (await ports.now()) < readyAt) {
    report.waiting.push({ units, recipient, readyAt })
    return
  }
  await ports.sender.finish(sorted.open.map((credit) => wallet.keys.idOf(credit)))
  await wallet.updateExit(exit.id, { credits: sorted.none })
  report.paid += units
}

type SortedCredits = {
  readonly none: readonly WalletCredit[]
  readonly open: readonly WalletCredit[]
  readonly readyAt: number
}

/** What the vault says of each credit. Those that were paid or cancelled are let go of. */
async function sort(
  wallet: Wallet,
  { id, credits }: OpenExit,
  ports: ExitPorts,
  report: MutableReport,
): Promise<SortedCredits> {
  const exits = await ports.readExits(credits.map((credit) => wallet.keys.idOf(credit)))
  const inState = (state: VaultExit['state']) => credits.filter((_, i) => exits[i]?.state === state)
  const [none, open, paid, cancelled] = [inState('none'), inState('open'), inState('paid'), inState('cancelled')]
  if (paid.length + cancelled.length > 0) {
    await wallet.updateExit(id, { credits: [...none, ...open] })
    report.paid += unitsIn(paid)
    report.cancelled += unitsIn(cancelled)
  }
  const readyAt = Math.max(0, ...exits.filter(({ state }) => state === 'open').map((exit) => exit.readyAt))
  return { none, open, readyAt }
}

async function whyNotOpened(wallet: Wallet, units: bigint, ports: ExitPorts): Promise<'CAP' | 'NO_SENDER' | undefined> {
  if (ports.sender === undefined) return 'NO_SENDER'
  return (await ports.allowance(wallet.keysetId)) < units ? 'CAP' : undefined
}

/** Remembers that the exits may have left before they do, and that they did not when the vault would refuse them. */
async function open(wallet: Wallet, { id, recipient, credits, isSent }: OpenExit, sender: ExitSender): Promise<void> {
  if (!isSent) await wallet.updateExit(id, { isSent: true })
  try {
    await sender.open(
      wallet.keyset,
      recipient,
      credits.map((credit) => wallet.keys.exit(credit, recipient)),
    )
  } catch (error) {
    if (!isSent && error instanceof VaultError && (error.code === 'REFUSED' || error.code === 'NOT_SENT')) {
      await wallet.updateExit(id, { isSent: false })
    }
    throw error
  }
}

/** Lists of at most 64, each of neighbouring sizes: fewer different keys to a transaction. */
function listsOf(credits: readonly WalletCredit[]): WalletCredit[][] {
  const ordered = credits.toSorted((a, b) => b.exponent - a.exponent)
  return Array.from({ length: Math.ceil(ordered.length / EXIT_CREDITS_MAX) }, (_, i) =>
    ordered.slice(i * EXIT_CREDITS_MAX, (i + 1) * EXIT_CREDITS_MAX),
  )
}

/**
 * Buying credits to the end: a purchase that is stored, its deposit, a pause, and the issuer's signatures through a relay. Every part can be repeated,
 * so that whatever stopped in between goes on where it was: the deposit is looked for on chain before one is made, and the claim key takes only one.
 *
 * Depositing and asking within one minute would tell the relay which payer it serves, so the asking waits. The pause is drawn when the purchase begins
 * and counts from the deposit, so that a restart neither shortens nor repeats it. Spec: docs/spec.md section 9.
 * @module
 */
import type { VaultDeposit } from '#chain/vaultDeposits.ts'
import { VaultError } from '#chain/vaultErrors.ts'
import type { DepositRequest } from '#chain/vaultPayIn.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { Purchase } from '#protocol/credits/purchase.ts'
import { SealpathError } from '../errors.ts'
import type { PurchaseStep } from './steps.ts'
import type { Wallet } from './wallet.ts'
import type { OpenPurchase } from './walletState.ts'

/** Whoever pays. Resolves with the transaction's hash once the deposit is made; throws `VaultError`. */
export type Depositor = { readonly payer: Hex; deposit(request: DepositRequest): Promise<Hex> }

/** What buying needs of the world. Deposits and answers throw `VaultError`, `issue` throws `SealpathError`. */
export type PurchasePorts = {
  depositOf(keyset: Hex, claimKey: Hex): Promise<VaultDeposit | undefined>
  /** Blind signatures that the issuer posted on chain; undefined when it did not. */
  answerOf(keyset: Hex, claimKey: Hex): Promise<readonly Uint8Array[] | undefined>
  /** Asks for a purchase's blind signatures, through the relay for purchases. */
  issue(wallet: Wallet, purchase: Purchase): Promise<readonly Uint8Array[]>
  /** How many deposits of this size the keyset has. */
  hidesAmong(keyset: Hex, units: bigint): Promise<number>
  /** Whether requests take the same relay as purchases. */
  readonly isRelayShared: boolean
  /** The chain's time or ours, whichever is later, in seconds. */
  now(): Promise<number>
  /** Rejects when `signal` aborts. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>
}

/** Bounds of the pause in seconds. It is drawn evenly between them. */
export type DelayRange = { readonly minimumSeconds: number; readonly maximumSeconds: number }
/** On chains where something is at stake. */
export const DELAY_DEFAULT: DelayRange = { minimumSeconds: 600, maximumSeconds: 3_600 }
/** A deposit must be answered while its keyset signs: so much longer than the pause that it may have to. */
export const ANSWER_MARGIN_SECONDS = 7_200
export const NO_DELAY: DelayRange = { minimumSeconds: 0, maximumSeconds: 0 }

export type PurchaseOptions = {
  /** Without one, nothing is deposited. */
  readonly depositor?: Depositor
  /** Waits for the pause and for the issuer; otherwise answers at once how far it came. */
  readonly waits: boolean
  /** How long the issuer is asked again when it does not answer, in seconds; 20 minutes unless told, which is longer than finality takes. */
  readonly patienceSeconds?: number
  readonly signal?: AbortSignal
  readonly onStep?: (step: PurchaseStep) => void
}

/** How far a purchase came. Times in seconds. */
export type PurchaseResult = { readonly purchase: number; readonly units: bigint } & (
  | { readonly state: 'bought' }
  /** No deposit is on chain. */
  | { readonly state: 'undeposited' }
  /** The issuer is asked at `until`. */
  | { readonly state: 'waiting'; readonly until: number }
  /** The issuer did not answer: `reason` is its code. The deposit can be asked back from `refundableAt` on. */
  | { readonly state: 'unanswered'; readonly reason: string; readonly refundableAt: number }
  | { readonly state: 'refundRequested'; readonly refundReadyAt: number }
  | { readonly state: 'refunded' }
  /** It was never deposited, and its keyset takes no deposits any more: forgotten. */
  | { readonly state: 'expired' }
)

const PATIENCE_SECONDS = 1_200
const RETRY_MS_MIN = 1_000
const RETRY_MS_MAX = 30_000
/** Endpoints behind one address do not all know the newest block: a deposit that was just made is looked for again. */
const DEPOSIT_LOOKS = 10
/** Reasons that pass by themselves. */
const PASSING: ReadonlySet<string> = new Set([
  'NO_DEPOSIT',
  'UNAVAILABLE',
  'RELAY_FAILED',
  'NO_GATEWAY',
  'CHAIN_FAILED',
])

/**
 * Begins a purchase of this size, or takes up one of it that was never deposited: so no claim key is left behind, and restoring by counting finds
 * everything. Answers its number.
 */
export async function startPurchase(
  wallet: Wallet,
  units: bigint,
  ports: Pick<PurchasePorts, 'depositOf'>,
  options: {
    readonly delay: DelayRange
    readonly automaticAt?: number
    readonly onStep?: (step: PurchaseStep) => void
  },
): Promise<number> {
  const { automaticAt } = options
  for (const open of wallet.openPurchases) {
    if (open.units !== units || open.isAutomatic !== (automaticAt !== undefined)) continue
    if ((await ports.depositOf(wallet.keysetId, wallet.keys.claimKeyOf(open.number))) === undefined) return open.number
  }
  const delaySeconds = drawDelay(options.delay)
  const start = automaticAt === undefined ? { delaySeconds } : { delaySeconds, automaticAt }
  const { number } = await wallet.startPurchase(units, start)
  options.onStep?.({ kind: 'purchase-started', purchase: number, units })
  return number
}

/** Brings an open purchase as far as it can be brought. Throws `VaultError`, `CreditError` for signatures that are not the keyset's, and what `signal` aborts with. */
export async function advancePurchase(
  wallet: Wallet,
  number: number,
  ports: PurchasePorts,
  options: PurchaseOptions,
): Promise<PurchaseResult> {
  const open = wallet.openPurchases.find((purchase) => purchase.number === number)
  if (open === undefined) throw new SealpathError('BAD_OPTIONS', `no purchase ${number} is open`)
  const named = { purchase: number, units: open.units }
  if (await isExpired(wallet, open, ports)) {
    await wallet.dropPurchase(number)
    return { ...named, state: 'expired' }
  }
  const deposit = await requireDeposit(wallet, open, ports, options)
  if (deposit === undefined) return { ...named, state: 'undeposited' }
  return collect(wallet, open, deposit, ports, options)
}

/** Brings every open purchase as far as it can be brought, deposits one after the other and the rest side by side. */
export async function advancePurchases(
  wallet: Wallet,
  ports: PurchasePorts,
  options: PurchaseOptions,
): Promise<PurchaseResult[]> {
  for (const open of wallet.openPurchases) {
    if (options.depositor === undefined || (await isExpired(wallet, open, ports))) continue
    await requireDeposit(wallet, open, ports, options)
  }
  const { depositor: _, ...collecting } = options
  return Promise.all(wallet.openPurchases.map(({ number }) => advancePurchase(wallet, number, ports, collecting)))
}

/** An hour behind the end of signing no deposit can be on its way any more, whatever our clock says. */
const EXPIRY_SECONDS = 3_600

async function isExpired(wallet: Wallet, { number }: OpenPurchase, ports: PurchasePorts): Promise<boolean> {
  if ((await ports.now()) < wallet.keyset.signUntil + EXPIRY_SECONDS) return false
  return (await ports.depositOf(wallet.keysetId, wallet.keys.claimKeyOf(number))) === undefined
}

/** The purchase's deposit: the one on chain, or a new one. */
async function requireDeposit(
  wallet: Wallet,
  { number, units }: OpenPurchase,
  ports: PurchasePorts,
  { depositor, onStep, signal }: PurchaseOptions,
): Promise<VaultDeposit | undefined> {
  const { keysetId: keyset } = wallet
  const claimKey = wallet.keys.claimKeyOf(number)
  const known = await ports.depositOf(keyset, claimKey)
  if (known !== undefined || depositor === undefined) return known
  signal?.throwIfAborted()
  try {
    const transaction = await depositor.deposit({ keyset, units, claimKey })
    onStep?.({ kind: 'deposit-made', purchase: number, units, transaction })
  } catch (error) {
    // An earlier run may have sent one that was mined just now, or this one was mined though nobody said so.
    const made = error instanceof VaultError ? await ports.depositOf(keyset, claimKey) : undefined
    if (made === undefined) throw error
    return made
  }
  for (let look = 0; look < DEPOSIT_LOOKS; look++) {
    const made = await ports.depositOf(keyset, claimKey)
    if (made !== undefined) return made
    await ports.sleep(RETRY_MS_MIN, signal)
  }
  throw new VaultError('UNCONFIRMED', 'the deposit was made, and the RPC endpoint does not show it yet')
}

async function collect(
  wallet: Wallet,
  open: OpenPurchase,
  deposit: VaultDeposit,
  ports: PurchasePorts,
  options: PurchaseOptions,
): Promise<PurchaseResult> {
  const { number, units } = open
  const named = { purchase: number, units }
  const { keysetId: keyset } = wallet
  if (deposit.state === 'refunded') {
    await wallet.dropPurchase(number)
    return { ...named, state: 'refunded' }
  }
  const finish = async (signatures: readonly Uint8Array[]): Promise<PurchaseResult> => {
    await wallet.finishPurchase(number, signatures)
    options.onStep?.({ kind: 'purchase-finished', ...named })
    return { ...named, state: 'bought' }
  }
  if (deposit.state === 'answered') {
    const signatures = await ports.answerOf(keyset, wallet.keys.claimKeyOf(number))
    if (signatures !== undefined) return finish(signatures)
  }
  const until = deposit.depositedAt + open.delaySeconds
  const now = await ports.now()
  if (now < until) {
    options.onStep?.({ kind: 'purchase-waits', ...named, until, hidesAmong: await hiding(ports, keyset, units) })
    if (!options.waits) return { ...named, state: 'waiting', until }
    await ports.sleep((until - now) * 1_000, options.signal)
  }
  if (ports.isRelayShared) options.onStep?.({ kind: 'purchase-relay-shared', purchase: number })
  options.onStep?.({ kind: 'purchase-asked', ...named, hidesAmong: await hiding(ports, keyset, units) })
  const asked = await ask(wallet, open, ports, options)
  if (asked.ok) return finish(asked.signatures)
  const { refundReadyAt, refundableAt } = deposit
  if (refundReadyAt !== undefined) return { ...named, state: 'refundRequested', refundReadyAt }
  return { ...named, state: 'unanswered', reason: asked.reason, refundableAt }
}

/** Nobody has to know it to get their credits. */
async function hiding(ports: PurchasePorts, keyset: Hex, units: bigint): Promise<number | undefined> {
  try {
    return await ports.hidesAmong(keyset, units)
  } catch (error) {
    if (error instanceof VaultError) return undefined
    throw error
  }
}

type Asked =
  | { readonly ok: true; readonly signatures: readonly Uint8Array[] }
  | { readonly ok: false; readonly reason: string }

/** Asks until there is an answer, a reason that does not pass, or no patience left. */
async function ask(
  wallet: Wallet,
  { number, units }: OpenPurchase,
  ports: PurchasePorts,
  { waits, patienceSeconds = PATIENCE_SECONDS, signal, onStep }: PurchaseOptions,
): Promise<Asked> {
  const purchase = wallet.keys.purchase(number, units)
  let waitedMs = 0
  for (let pauseMs = RETRY_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, RETRY_MS_MAX)) {
    const reason = await (async (): Promise<string | readonly Uint8Array[]> => {
      try {
        return await ports.issue(wallet, purchase)
      } catch (error) {
        return reasonOf(error)
      }
    })()
    if (typeof reason !== 'string') return { ok: true, signatures: reason }
    if (!waits || !PASSING.has(reason) || waitedMs >= patienceSeconds * 1_000) return { ok: false, reason }
    onStep?.({ kind: 'purchase-unanswered', purchase: number, reason })
    await ports.sleep(pauseMs, signal)
    waitedMs += pauseMs
  }
}

/** The issuer's code, or what kept us from reaching it. Whatever is neither is a bug and thrown on. */
function reasonOf(error: unknown): string {
  if (error instanceof SealpathError) return error.code === 'ISSUER_REFUSED' ? (error.reason ?? error.code) : error.code
  throw error
}

/** Evenly between the bounds, in whole seconds, from the platform's CSPRNG. */
export function drawDelay({ minimumSeconds, maximumSeconds }: DelayRange): number {
  const span = maximumSeconds - minimumSeconds + 1
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1))
  return minimumSeconds + (random % span)
}

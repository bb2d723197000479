/** Random histories for settlement: the same calls to the contracts and to plainSettlement.ts, compared after each. @module */
import { deepStrictEqual } from 'node:assert'
import { Random } from '../simulation/random.ts'
import { type Name, type PlainAnswer, type PlainCall, type PlainHead, PlainSettlement } from './plainSettlement.ts'
import { CALLERS, DEPOSITS, GATEWAYS, ISSUERS, KEYSETS, type PlainStage } from './plainStage.ts'

/** As test/support/chain.ts deploys. */
const TERMS = { protocolBps: 500n, settlerBps: 100n, thawSeconds: 86_400n }
const HOUR = 3_600
/** For how long test/support/chain.ts registers an enclave, and what the first calls are later than that. */
const REGISTERED_SECONDS = 86_400n
const SETUP_SECONDS = 600n
const STEP = 200_000

/** What a history met, by name: so that one which meets nothing shows. */
export type Met = Map<string, number>

/** What a few hundred calls always meet. */
export const MET_IN_MANY: readonly string[] = [
  'settle',
  'credit',
  'thaw',
  'withdraw',
  'sweepUnmatched',
  'deposit',
  'insure',
  'nameSettler',
  'head BadSignature',
  'head UnknownEnclave',
  'head EnclaveEnded',
  'head SizeOutOfRange',
  'head Duplicate',
  'head Contradiction',
  'head SettlerExclusive',
  'clearing StaleLine',
  'clearing OutOfBounds',
  'thaw: SettlementNothingToThaw',
  'withdraw: SettlementStillThawing',
  'sweepUnmatched: SettlementEnclaveNotEnded',
  'reportContradiction: SettlementNoContradiction',
]

/** Makes `steps` calls that follow from `seed`. Throws with the seed, the step and the call where both sides differ. */
export async function comparePlainHistory(stage: PlainStage, seed: number, steps: number, met: Met): Promise<void> {
  const snapshot = await stage.snapshot()
  try {
    const random = new Random(seed)
    const plain = new PlainSettlement(TERMS, 'operator')
    for (const name of GATEWAYS) plain.addEnclave(name, 'gateway', await stage.endsAtOf(name))
    for (const name of ISSUERS) plain.addEnclave(name, 'issuer', await stage.endsAtOf(name))
    for (const [i, name] of KEYSETS.entries()) {
      plain.addKeyset(name, ISSUERS[i] ?? '', await stage.signUntilOf(name))
    }
    // From the end of an enclave and not from the clock, so that a seed makes the same history at any time.
    let now = (await stage.endsAtOf('gateway 0')) - REGISTERED_SECONDS + SETUP_SECONDS
    for (let step = 0; step < steps; step++) {
      now += BigInt(random.chance(0.1) ? random.integer(HOUR, 30 * HOUR) : random.integer(1, 600))
      const call = step < KEYSETS.length ? depositOf(random, step) : nextCall(random, plain, now)
      const expected = plain.call(call, now)
      const where = `seed ${seed}, step ${step}: ${print(call)}`
      deepStrictEqual(await stage.call(call, now), expected, `${where}: the answers differ`)
      deepStrictEqual(await stage.read(), readPlain(plain, now), `${where}: what is read differs`)
      count(met, call, expected)
    }
  } finally {
    await stage.revert(snapshot)
  }
}

/** What `PlainStage.read` reads, from the maps. */
function readPlain(plain: PlainSettlement, now: bigint): Readonly<Record<string, unknown>> {
  const payout = ({ thawing, readyAt }: { thawing: bigint; readyAt: bigint }) =>
    thawing === 0n ? undefined : { thawing, readyAt }
  const enclaves = GATEWAYS.map((name) => {
    const enclave = plain.state.enclaves.get(name)
    if (enclave === undefined) throw new Error(`there is no ${name}`)
    const { size, earned, credited, settler } = enclave
    return {
      name,
      state: plain.stateOf(name, now),
      account: { size, earned, cleared: plain.clearedOf(name), credited },
      due: plain.dueTo(name),
      payout: payout(enclave.payout),
      settler: settler?.name === undefined ? undefined : settler,
    }
  })
  const keysets = [...plain.state.keysets].map(([name, keyset]) => ({
    name,
    deposited: keyset.deposited,
    issued: keyset.issued,
    claimed: keyset.claimed,
    cleared: plain.clearedIn(keyset),
    lines: GATEWAYS.map((gateway) => keyset.lines.get(gateway) ?? 0n),
  }))
  const settlers = CALLERS.map((name) => ({
    name,
    due: plain.dueToSettler(name),
    payout: payout(plain.state.settlerPayouts.get(name) ?? { thawing: 0n, readyAt: 0n }),
  }))
  const { protocolEarned, insurance, batches, held } = plain.state
  const paidToProtocol = plain.state.paid.get('protocol') ?? 0n
  return { enclaves, keysets, settlers, protocolEarned, insurance, batches, held, paidToProtocol }
}

// What people do

/** Sometimes what pays somebody, so that money comes out too; else anything. */
function nextCall(random: Random, plain: PlainSettlement, now: bigint): PlainCall {
  const sender = random.pick(CALLERS)
  const paying = payingCalls(plain, sender, now)
  if (paying.length > 0 && random.chance(0.2)) return random.pick(paying)
  const enclave = random.pick(GATEWAYS)
  const draw = random.integer(1, 100)
  if (draw <= 45) return settle(random, plain, sender)
  if (draw <= 50) return { kind: 'credit', sender, enclave }
  if (draw <= 57) return { kind: 'thaw', sender, enclave }
  if (draw <= 66) return { kind: 'withdraw', sender, enclave }
  if (draw <= 70) return { kind: random.pick(['thawSettler', 'thawProtocol']), sender }
  if (draw <= 76) return { kind: random.pick(['withdrawSettler', 'withdrawProtocol']), sender }
  if (draw <= 82) {
    const settler = random.chance(0.3) ? undefined : random.pick(CALLERS)
    return {
      kind: 'nameSettler',
      sender: mostly(random, 'operator', sender),
      enclave,
      settler,
      seconds: secondsOf(random),
    }
  }
  if (draw <= 88) return { kind: 'sweepUnmatched', sender, enclave }
  if (draw <= 89)
    return {
      kind: 'retire',
      sender: mostly(random, 'operator', sender),
      enclave: random.pick([...GATEWAYS, ...ISSUERS]),
    }
  if (draw <= 92) return report(random, enclave, sender)
  if (draw <= 96) return depositOf(random, random.integer(0, 1))
  return { kind: 'insure', sender: 'deployer', units: BigInt(random.integer(1, STEP)) }
}

/** Calls that start a thaw, draw what has thawed, or sweep what an ended enclave left. */
function payingCalls(plain: PlainSettlement, sender: Name, now: bigint): PlainCall[] {
  const calls: PlainCall[] = []
  for (const [enclave, { role, payout }] of plain.state.enclaves) {
    if (role === 'issuer') continue
    if (payout.thawing === 0n && plain.dueTo(enclave) > 0n) calls.push({ kind: 'thaw', sender, enclave })
    if (payout.thawing > 0n && now >= payout.readyAt) calls.push({ kind: 'withdraw', sender, enclave })
    if (plain.stateOf(enclave, now) > 2) calls.push({ kind: 'sweepUnmatched', sender, enclave })
  }
  for (const [name, { thawing, readyAt }] of plain.state.settlerPayouts) {
    if (thawing > 0n && now >= readyAt) calls.push({ kind: 'withdrawSettler', sender: name })
  }
  const { thawing, readyAt } = plain.state.protocolPayout
  if (thawing > 0n && now >= readyAt) calls.push({ kind: 'withdrawProtocol', sender })
  return calls
}

function settle(random: Random, plain: PlainSettlement, sender: Name): PlainCall {
  const heads = Array.from({ length: random.integer(0, 3) }, () => headOf(random, plain))
  const clearings = random.chance(0.55) ? [clearingOf(random, plain)] : []
  return { kind: 'settle', sender, heads, clearings }
}

/** Mostly the next head of an enclave; sometimes stale, contradicting, unsigned, of nobody, too small or too large. */
function headOf(random: Random, plain: PlainSettlement): PlainHead {
  const enclave = random.pick(GATEWAYS)
  const { size, earned } = plain.state.enclaves.get(enclave) ?? { size: 0n, earned: 0n }
  const kind = random.chance(0.85) ? 'earnings' : 'log'
  const fees = earned + BigInt(random.integer(0, STEP))
  const head: PlainHead = {
    enclave,
    signer: enclave,
    kind,
    size: size + BigInt(random.integer(1, 9)),
    root: random.integer(1, 3),
    fees,
  }
  if (random.chance(0.7)) return head
  const less = (most: bigint) => (most * BigInt(random.integer(0, 10))) / 10n
  return random.pick<PlainHead>([
    { ...head, size, fees: earned },
    { ...head, size },
    { ...head, size: less(size), fees: less(2n * earned) },
    { ...head, fees: less(earned) },
    { ...head, signer: random.pick([...GATEWAYS, ...ISSUERS]) },
    { ...head, enclave: 'nobody', signer: 'nobody' },
    { ...head, enclave: 'issuer 0', signer: 'issuer 0' },
    { ...head, size: random.pick([0n, 2n ** 40n, 2n ** 40n - 1n]) },
  ])
}

function clearingOf(random: Random, plain: PlainSettlement): PlainClearing {
  const k = random.integer(0, 1)
  const name = KEYSETS[k] ?? ''
  const keyset = plain.state.keysets.get(name)
  if (keyset === undefined) throw new Error(`there is no ${name}`)
  const more = (from: bigint) => from + BigInt(random.integer(-STEP / 4, STEP))
  const captured = atLeastNothing(more(keyset.claimed))
  const lines = Array.from({ length: random.integer(0, 3) }, () => {
    const enclave = random.pick(GATEWAYS)
    return { enclave, captured: atLeastNothing(more(keyset.lines.get(enclave) ?? 0n)) }
  })
  const issued = random.chance(0.2) ? atLeastNothing(more(captured)) : keyset.deposited
  const clearing = { keyset: name, signer: ISSUERS[k] ?? '', issued, captured, lines }
  if (random.chance(0.8)) return clearing
  return random.pick([
    { ...clearing, keyset: 'no keyset' },
    { ...clearing, signer: random.pick([...GATEWAYS, ...ISSUERS]) },
    { ...clearing, issued: keyset.deposited + 1n },
    { ...clearing, captured: keyset.deposited + 1n },
  ])
}

type PlainClearing = Extract<PlainCall, { kind: 'settle' }>['clearings'][number]

function report(random: Random, enclave: Name, sender: Name): PlainCall {
  const head = (): PlainHead => ({
    enclave,
    signer: random.chance(0.85) ? enclave : 'nobody',
    kind: random.chance(0.8) ? 'earnings' : 'log',
    size: BigInt(random.integer(1, 3)),
    root: random.integer(1, 2),
    fees: BigInt(random.integer(1, 3)),
  })
  return { kind: 'reportContradiction', sender, a: head(), b: head() }
}

function depositOf(random: Random, keyset: number): PlainCall {
  return { kind: 'deposit', sender: 'deployer', keyset: KEYSETS[keyset] ?? '', units: random.pick(DEPOSITS) }
}

function secondsOf(random: Random): bigint {
  return random.pick([0n, 60n, 900n, 1_800n, 1_801n])
}

function mostly(random: Random, usual: Name, other: Name): Name {
  return random.chance(0.8) ? usual : other
}

function atLeastNothing(value: bigint): bigint {
  return value < 0n ? 0n : value
}

function count(met: Met, { kind }: PlainCall, answer: PlainAnswer): void {
  const names = 'error' in answer ? [`${kind}: ${answer.error}`] : [kind, ...answer.skipped]
  for (const name of names) met.set(name, (met.get(name) ?? 0) + 1)
}

function print(call: PlainCall): string {
  return JSON.stringify(call, (_key, value) => (typeof value === 'bigint' ? value.toString() : (value as unknown)))
}

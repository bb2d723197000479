/**
 * Reserve and capture of eight-credit payments, a second. Inside the measured time: sealed HTTP (X-Wing) into an issuer process, its checks and blind
 * signatures, its log in PostgreSQL, and a witness that verifies every head, all on this machine. Outside: making and sealing the payments, opening
 * and checking the answers.
 * @module
 */
import { type ChildProcess, fork } from 'node:child_process'
import { Agent, request } from 'node:http'
import { decodeUtf8, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { splitChange } from '#protocol/credits/amounts.ts'
import { signBlinded } from '#protocol/credits/blindSignature.ts'
import { decodeG1, encodeG1 } from '#protocol/credits/points.ts'
import { decodeScalar } from '#protocol/credits/scalar.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import type { SealedWholeRequest } from '#protocol/sealing/wholeExchange.ts'
import { CaptureAnswerSchema, ReserveAnswerSchema } from '#protocol/wire/issuerApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { TestWitness } from '../../test/support/issuerStage.ts'
import { startPostgres } from '../../test/support/postgres.ts'
import type { BenchedCpu, BenchedIssuer } from './creditsIssuer.ts'
import { createPaymentMaker, type PreparedPayment } from './creditsLoad.ts'
import { type Row, round, summarize } from './row.ts'

/** Windows of so many payments, one after the other without a pause, after the first two, which are not counted. */
const WINDOW = 100
const WINDOWS = 5
const WARM_UP = 2 * WINDOW
const IN_FLIGHT = 32
/** So that the last window is as busy as the others. */
const PAYMENTS = WARM_UP + WINDOWS * WINDOW + IN_FLIGHT
/** In the first so many payments the change's signatures are computed again. */
const CHECKED = 10

export async function measureCredits(): Promise<Row[]> {
  const server = await startPostgres()
  const witness = await TestWitness.start()
  const privateKey = crypto.getRandomValues(new Uint8Array(32))
  const gateway = enclaveOfKey(privateKey).toLowerCase() as Hex
  const child = fork(
    new URL('./creditsIssuer.ts', import.meta.url),
    [await server.createDatabase(), witness.url, gateway],
    {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      serialization: 'advanced',
    },
  )
  try {
    const issuer = await answerOf<BenchedIssuer>(child)
    const make = await createPaymentMaker(issuer, gateway, privateKey)
    const prepared: PreparedPayment[] = []
    for (let i = 0; i < PAYMENTS; i++) prepared.push(await make())
    const { answers, rates, cpuMs } = await payAll(child, issuer, prepared)
    for (const [i, payment] of prepared.entries()) {
      await checkAnswers(payment, answers[i], i < CHECKED ? issuer : undefined)
    }
    return [
      {
        id: 'credits.paid',
        name: `reserve and capture of eight credits, ${IN_FLIGHT} under way, over sealed HTTP, with PostgreSQL and a witness on the same cores`,
        ...summarize(rates),
        unit: '1/s',
        target: { value: 100, direction: 'at least' },
      },
      {
        id: 'credits.paid.cpu',
        name: 'the same, CPU of the issuer process with its signer threads, a payment',
        value: round(cpuMs, 2),
        unit: 'ms',
      },
    ]
  } finally {
    child.disconnect()
    await witness.close()
    await server.close()
  }
}

type Answered = { readonly reserve: Uint8Array; readonly capture: Uint8Array }
type Measured = { readonly answers: readonly Answered[]; readonly rates: readonly number[]; readonly cpuMs: number }

/** Pays all, `IN_FLIGHT` at once. `rates` are payments a second in each window, `cpuMs` the mean of a payment in all of them. */
async function payAll(
  child: ChildProcess,
  issuer: BenchedIssuer,
  prepared: readonly PreparedPayment[],
): Promise<Measured> {
  const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT })
  const answers: Answered[] = []
  const ends: number[] = []
  const cpu: Promise<number>[] = []
  const queue = prepared.entries()
  const pay = async () => {
    for (const [i, { reserve, capture }] of queue) {
      answers[i] = { reserve: await post(agent, issuer.url, reserve), capture: await post(agent, issuer.url, capture) }
      ends.push(performance.now())
      const counted = ends.length - WARM_UP
      if (counted === 0 || counted === WINDOWS * WINDOW) cpu.push(cpuOf(child))
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, pay))
  agent.destroy()
  const rates = Array.from({ length: WINDOWS }, (_, i) => {
    const end = WARM_UP + (i + 1) * WINDOW
    return (1000 * WINDOW) / ((ends[end - 1] ?? 0) - (ends[end - WINDOW - 1] ?? 0))
  })
  const [before = 0, after = 0] = await Promise.all(cpu)
  return { answers, rates, cpuMs: (after - before) / (WINDOWS * WINDOW) }
}

/** Every payment was reserved and captured; and for some, that its change is signed by the keyset's keys. */
async function checkAnswers(
  { payment, fee, reserve, capture, openChange }: PreparedPayment,
  answers: Answered | undefined,
  issuer: BenchedIssuer | undefined,
): Promise<void> {
  if (answers === undefined) throw new Error('every payment is answered')
  const opened = await Promise.all([reserve.open(answers.reserve), capture.open(answers.capture)])
  const [reserved, captured] = opened.map(({ body }) => decodeUtf8(body))
  if (opened.some(({ status }) => status !== 200)) throw new Error(`refused: ${reserved} ${captured}`)
  parseJson(ReserveAnswerSchema, reserved ?? '', 'answer')
  const { fee: taken, sealedChange } = parseJson(CaptureAnswerSchema, captured ?? '', 'answer')
  const change = await openChange(sealedChange ?? new Uint8Array())
  const exponents = splitChange(
    payment.credits.map(({ exponent }) => exponent),
    fee,
  )
  if (taken !== fee || String(change.signatures.map(({ exponent }) => exponent)) !== String(exponents)) {
    throw new Error('expected the fee that was captured, and the rest as change')
  }
  if (issuer === undefined) return
  for (const [i, { exponent, blindSignature }] of change.signatures.entries()) {
    const key = decodeScalar(issuer.secretKeys[exponent] ?? new Uint8Array())
    const expected = encodeG1(signBlinded(decodeG1(payment.blanks[i] ?? new Uint8Array()), key))
    if (toHex(expected) !== toHex(blindSignature)) throw new Error('the change is not signed by the keyset')
  }
}

function post(agent: Agent, url: string, { body, contentType }: SealedWholeRequest): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': contentType, 'content-length': body.length }
    const sending = request(url, { method: 'POST', agent, headers }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('error', reject)
      response.on('end', () => {
        if (response.statusCode === 200) resolve(joinBytes(parts))
        else reject(new Error(`the issuer answered ${response.statusCode}`))
      })
    })
    sending.on('error', reject)
    sending.end(body)
  })
}

/** The next message of the issuer's process; rejects when it ends instead. */
function answerOf<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the issuer ended with ${code}`))
    child.once('exit', onExit)
    child.once('message', (message) => {
      child.off('exit', onExit)
      resolve(message as T)
    })
  })
}

/** CPU of the issuer's process so far, in milliseconds. */
async function cpuOf(child: ChildProcess): Promise<number> {
  const answer = answerOf<BenchedCpu>(child)
  child.send('cpu')
  return (await answer).cpuMicros / 1000
}

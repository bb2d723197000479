/** The pool with real threads: same answers as the signer, work off the event loop, and what happens when a thread dies. @module */
import { Worker } from 'node:worker_threads'
import { afterEach, expect, it } from 'vitest'
import { encodeUint, encodeUtf8, toHex } from '#protocol/bytes.ts'
import { hashToG1 } from '#protocol/credits/message.ts'
import { encodeG1 } from '#protocol/credits/points.ts'
import { keccak256 } from '#protocol/hash.ts'
import { type CreditToVerify, createSigner } from './fastSigner.ts'
import type { SignerThreadData } from './signerJob.ts'
import { createSignerPool, type SignerPool, type SignerPoolOptions } from './signerPool.ts'

const secretKeys = [3n, 5n, 7n].map((key) => encodeUint(key, 32))
const blanks = Array.from({ length: 16 }, (_, i) => ({
  exponent: i % 3,
  blinded: encodeG1(hashToG1(word(`blank ${i}`))),
}))
const credit = { exponent: 1, message: word('credit'), signature: encodeG1(hashToG1(word('credit')).multiply(5n)) }

const pools: SignerPool[] = []
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close()
})

it('answers as the signer does, for many jobs at once', async () => {
  const pool = await poolOf({ threads: 2 })
  const signer = await createSigner(secretKeys)
  const expected = signer.signBlanks(blanks).map(toHex)
  const answers = await Promise.all(Array.from({ length: 8 }, () => pool.signBlanks(blanks)))
  for (const signatures of answers) expect(signatures.map(toHex)).toEqual(expected)
  const payment = {
    credits: [credit, { ...credit, exponent: 2 }],
    blanks: [...blanks.map(({ blinded }) => blinded), new Uint8Array(48)],
  }
  const checks = await pool.checkPayment(payment)
  expect(checks.credits).toEqual([true, false])
  expect(checks.blanks).toEqual(signer.checkBlanks(payment.blanks))
  expect(checks.blanks.map(Boolean)).toEqual([...blanks.map(() => true), false])
  // What crossed over and back is signed as what it was made of.
  const checked = blanks.flatMap(({ exponent }, i) => {
    const blank = checks.blanks[i]
    return blank === undefined ? [] : [{ exponent, checked: blank }]
  })
  expect((await pool.signBlanks(checked)).map(toHex)).toEqual(expected)
})

it('takes for checked only what is handed over as checked', async () => {
  const pool = await poolOf({ threads: 1 })
  const { blanks: checks } = await pool.checkPayment({ credits: [], blanks: blanks.map(({ blinded }) => blinded) })
  const [first, second = new Uint8Array()] = checks
  if (first === undefined) throw new Error('expected a good blank')
  // Among others that are: which is which survives the crossing.
  const mixed = [
    { exponent: 0, checked: first },
    { exponent: 0, blinded: second },
  ]
  await expect(pool.signBlanks(mixed)).rejects.toMatchObject({ name: 'CreditError', code: 'POINT_LENGTH' })
})

it('leaves the event loop free while it works', async () => {
  const pool = await poolOf({ threads: 1 })
  const order: string[] = []
  const job = pool.signBlanks(Array.from({ length: 20 }, () => blanks).flat()).then(() => order.push('signed'))
  await new Promise((resolve) => setImmediate(resolve))
  order.push('loop turned')
  await job
  expect(order).toEqual(['loop turned', 'signed'])
})

it('refuses a point with the signer’s own code, and goes on', async () => {
  const pool = await poolOf({ threads: 1 })
  await expect(pool.signBlanks([{ exponent: 0, blinded: new Uint8Array(48) }])).rejects.toMatchObject({
    name: 'CreditError',
    code: 'POINT_FLAGS',
  })
  await expect(pool.signBlanks([{ exponent: 9, blinded: encodeG1(hashToG1(word('x'))) }])).rejects.toMatchObject({
    name: 'CreditError',
    code: 'BAD_EXPONENT',
  })
  expect(await verify(pool, [credit])).toEqual([true])
})

it('fails the job of a thread that dies, and that job alone', async () => {
  const { workers, startThread } = keepThreads()
  const pool = await poolOf({ threads: 1, startThread })
  const [first, second] = [pool.signBlanks(blanks), pool.signBlanks(blanks)]
  await Promise.all([
    expect(first).rejects.toMatchObject({ name: 'SignerPoolError', code: 'THREAD_DIED', retryable: true }),
    workers[0]?.terminate(),
  ])
  // The job that waited is done by the thread that took its place.
  expect(await second).toHaveLength(blanks.length)
  expect(workers).toHaveLength(2)
})

it('fails the job that ends its thread with a bug, and replaces the thread', async () => {
  const { workers, startThread } = keepThreads()
  const pool = await poolOf({ threads: 1, startThread })
  const malformed = { ...credit, message: credit.message.subarray(1) }
  await expect(verify(pool, [malformed])).rejects.toMatchObject({
    code: 'THREAD_DIED',
    cause: expect.objectContaining({ name: 'RangeError' }),
  })
  expect(await verify(pool, [credit])).toEqual([true])
  expect(workers).toHaveLength(2)
})

it('replaces a thread that dies while it is idle', async () => {
  const { workers, startThread } = keepThreads()
  const pool = await poolOf({ threads: 1, startThread })
  await workers[0]?.terminate()
  expect(await verify(pool, [credit])).toEqual([true])
})

it('gives up when threads cannot start any more, and says so to all who wait', async () => {
  let started = 0
  const workers: Worker[] = []
  const startThread = (workerData: SignerThreadData): Worker => {
    const worker = started++ === 0 ? realThread(workerData) : new Worker('throw new Error("no start")', { eval: true })
    workers.push(worker)
    return worker
  }
  const pool = await poolOf({ threads: 1, startThread })
  const jobs = [pool.signBlanks(blanks), pool.signBlanks(blanks), verify(pool, [credit])]
  const refused = jobs.map((job) => expect(job).rejects.toMatchObject({ code: 'THREAD_DIED' }))
  await workers[0]?.terminate()
  await Promise.all(refused)
  await expect(verify(pool, [])).rejects.toMatchObject({ code: 'THREAD_DIED' })
  expect(started).toBe(2)
})

it('does not start at all with a bad key', async () => {
  await expect(createSignerPool([new Uint8Array(32)], { threads: 2 })).rejects.toMatchObject({
    name: 'SignerPoolError',
    code: 'THREAD_DIED',
    cause: expect.objectContaining({ message: expect.stringContaining('expected a scalar') }),
  })
})

it('refuses more jobs than may wait', async () => {
  const pool = await poolOf({ threads: 1, queueMax: 2 })
  const jobs = [1, 2, 3].map(() => pool.signBlanks(blanks))
  await expect(pool.signBlanks(blanks)).rejects.toMatchObject({ code: 'OVERLOADED', retryable: true })
  await Promise.all(jobs)
  expect(await verify(pool, [credit])).toEqual([true])
})

it('lets 1,024 jobs wait unless told otherwise, and no more', async () => {
  // A thread that is ready and never answers: it works on the first.
  const startThread = () =>
    new Worker(
      'require("node:worker_threads").parentPort.postMessage({ kind: "ready" }); setInterval(() => {}, 1_000)',
      { eval: true },
    )
  const pool = await poolOf({ threads: 1, startThread })
  const outcomes: string[] = []
  const jobs = Array.from({ length: 1 + 1_024 + 1 }, async (_, i) => {
    await pool.signBlanks(blanks.slice(0, 1)).catch(({ code }) => outcomes.push(`${i}: ${code}`))
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(outcomes).toEqual(['1025: OVERLOADED'])
  await pool.close()
  await Promise.all(jobs)
})

it('closes at once: what is not done says so, and no thread is left', async () => {
  const { workers, startThread } = keepThreads()
  const pool = await poolOf({ threads: 2, startThread })
  const jobs = [1, 2, 3, 4].map(() => pool.signBlanks(blanks))
  const refused = jobs.map((job) => expect(job).rejects.toMatchObject({ code: 'CLOSED', retryable: false }))
  const exits = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)))
  await pool.close()
  await Promise.all([...refused, ...exits])
  await expect(verify(pool, [credit])).rejects.toMatchObject({ code: 'CLOSED' })
  await pool.close()
  expect(workers).toHaveLength(2)
})

async function poolOf(options: SignerPoolOptions): Promise<SignerPool> {
  const pool = await createSignerPool(secretKeys, options)
  pools.push(pool)
  return pool
}

async function verify(pool: SignerPool, credits: readonly CreditToVerify[]): Promise<readonly boolean[]> {
  return (await pool.checkPayment({ credits, blanks: [] })).credits
}

function realThread(workerData: SignerThreadData): Worker {
  return new Worker(new URL('./signerThread.ts', import.meta.url), { workerData })
}

function keepThreads(): { workers: Worker[]; startThread: (data: SignerThreadData) => Worker } {
  const workers: Worker[] = []
  return {
    workers,
    startThread: (data) => {
      const worker = realThread(data)
      workers.push(worker)
      return worker
    },
  }
}

function word(label: string): Uint8Array {
  return keccak256(encodeUtf8(label))
}

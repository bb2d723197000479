/** One thread of the signer pool: builds a signer from the keys it was started with and answers jobs, one at a time. @module */
import { parentPort, workerData } from 'node:worker_threads'
import { CreditError } from '#protocol/credits/creditError.ts'
import { type CreditSigner, createSigner } from './fastSigner.ts'
import { runJob, type SignerAnswer, type SignerJob, type SignerThreadData } from './signerJob.ts'

if (parentPort === null) throw new Error('expected to run as a thread of the signer pool')
const port = parentPort
// Only the pool starts this file and writes to it, so that its types hold here.
const { secretKeys } = workerData as SignerThreadData
const signer = await createSigner(secretKeys)
port.on('message', (job: SignerJob) => port.postMessage(answer(signer, job)))
port.postMessage({ kind: 'ready' } satisfies SignerAnswer)

/** What is wrong with a job's points is an answer. Anything else ends the thread, and the pool says so. */
function answer(by: CreditSigner, job: SignerJob): SignerAnswer {
  try {
    return { kind: 'done', result: runJob(by, job) }
  } catch (error) {
    if (error instanceof CreditError) return { kind: 'refused', code: error.code, message: error.message }
    throw error
  }
}

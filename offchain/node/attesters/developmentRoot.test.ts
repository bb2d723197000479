import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, it } from 'vitest'
import { issueCertificate } from './developmentCertificate.ts'
import {
  createDevelopmentRoot,
  DEVELOPMENT_ROOT_NAME,
  loadDevelopmentRoot,
  parseDevelopmentRoot,
  serializeDevelopmentRoot,
} from './developmentRoot.ts'

const NOW = Date.UTC(2026, 10, 21) / 1000
const folder = mkdtempSync(join(tmpdir(), 'sealpath-root-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('development root', () => {
  it('says in its name that it is one, issued itself, and lasts 30 years', () => {
    const { certificate } = createDevelopmentRoot(NOW)
    const parsed = new X509Certificate(certificate)
    expect(parsed.subject).toContain(`CN=${DEVELOPMENT_ROOT_NAME}`)
    expect(DEVELOPMENT_ROOT_NAME).toBe('Sealpath development root')
    expect(parsed.verify(parsed.publicKey)).toBe(true)
    expect(parsed.ca).toBe(true)
    expect(new Date(parsed.validTo).getUTCFullYear()).toBe(2056)
  })

  it('survives being written and read', () => {
    const root = createDevelopmentRoot(NOW)
    const read = parseDevelopmentRoot(serializeDevelopmentRoot(root))
    expect(read.certificate).toEqual(root.certificate)
    expect(read.key.equals(root.key)).toBe(true)
  })

  it('is made once, readable by its owner only, and is the same ever after', () => {
    const path = join(folder, 'deep', 'root.json')
    const first = loadDevelopmentRoot(path, NOW)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(loadDevelopmentRoot(path, NOW + 1).certificate).toEqual(first.certificate)
    expect(readdirSync(join(folder, 'deep'))).toEqual(['root.json'])
  })

  it('is the same for threads that make it at the same time', async () => {
    const path = join(folder, 'race.json')
    const code = `
      const { parentPort, workerData } = require('node:worker_threads')
      import(workerData.module).then(({ loadDevelopmentRoot }) => {
        parentPort.once('message', () => parentPort.postMessage(loadDevelopmentRoot(workerData.path, ${NOW}).certificate))
        parentPort.postMessage('ready')
      })`
    const module = new URL('./developmentRoot.ts', import.meta.url).href
    const workers = [1, 2, 3].map(() => new Worker(code, { eval: true, workerData: { module, path } }))
    try {
      await Promise.all(workers.map((worker) => nextMessage(worker)))
      const answers = workers.map((worker) => nextMessage(worker))
      for (const worker of workers) worker.postMessage('go')
      const [a, b, c] = await Promise.all(answers)
      expect(a).toEqual(b)
      expect(a).toEqual(c)
      expect(a).toEqual(parseDevelopmentRoot(readFileSync(path, 'utf8')).certificate)
    } finally {
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
  })

  it('refuses files that hold no development root', () => {
    const root = createDevelopmentRoot(NOW)
    const [good, other] = [root, createDevelopmentRoot(NOW)].map((one): { key: string; certificate: string } =>
      JSON.parse(serializeDevelopmentRoot(one)),
    )
    const misnamed = issueCertificate({ role: 'root', commonName: 'aws.nitro-enclaves', nowSeconds: NOW })
    for (const text of [
      '',
      '{}',
      'null',
      JSON.stringify({ ...good, more: 1 }),
      JSON.stringify({ ...good, key: other?.key }),
      JSON.stringify({ ...good, key: 'no key' }),
      JSON.stringify({ ...good, certificate: 'no certificate' }),
      JSON.stringify({ ...good, certificate: good?.certificate.replace('M', 'N') }),
      serializeDevelopmentRoot(misnamed),
    ]) {
      expect(() => parseDevelopmentRoot(text)).toThrow(expect.objectContaining({ code: 'BAD_DEVELOPMENT_ROOT' }))
    }
    const path = join(folder, 'broken.json')
    writeFileSync(path, '{')
    expect(() => loadDevelopmentRoot(path, NOW)).toThrow(expect.objectContaining({ code: 'BAD_DEVELOPMENT_ROOT' }))
  })
})

function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
}

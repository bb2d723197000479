import { expect, test } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import type { LogFields, Logger } from '#node/log.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { equalBytes, fromHex, joinBytes, toHex } from '#protocol/bytes.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { ENCLAVE_ROLE, hashStatement, verifyStatement } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { isSignedByEnclave, recoverSigner } from '#protocol/receipt/head.ts'
import {
  AgentLogSchema,
  AgentStatusSchema,
  EvidenceAnswerSchema,
  PublicEvidenceSchema,
} from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { createAgentApp } from './agentApp.ts'
import { bootEnclave } from './enclave.ts'
import { createPublicApp } from './publicApp.ts'
import { ReceiptLog } from './receiptLog.ts'

const BINDING = {
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: `0x${'5e'.repeat(20)}`,
  operator: `0x${'0e'.repeat(20)}`,
} as const
const LEAVES = Array.from({ length: 10 }, (_, i) => keccak256(Uint8Array.of(i)))

const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now })
const enclave = await bootEnclave('gateway', BINDING, attester, createNodeSuites())

type Line = { event: string; fields: LogFields | undefined }

function start() {
  const lines: Line[] = []
  const note = (event: string, fields?: LogFields): void => void lines.push({ event, fields })
  const log: Logger = { info: note, warn: note, error: note }
  const receipts = new ReceiptLog({
    enclave: enclave.statement.enclave,
    privateKey: enclave.privateKey,
    domain: BINDING,
    tick: { receipts: 1, seconds: 1 },
    leavesKeptMax: 100,
  })
  const app = createAgentApp(enclave, receipts, log)
  const post = async (path: string, body: string): Promise<Response> => app.request(path, { method: 'POST', body })
  const readLog = async (from: number) => {
    const response = await app.request(`/agent/log?from=${from}`)
    return { status: response.status, text: await response.text() }
  }
  return { app, receipts, lines, post, readLog }
}

async function errorOf(response: Response): Promise<[number, string]> {
  const { error } = (await response.json()) as { error: { code: string } }
  return [response.status, error.code]
}

test('states who the enclave is, with proof that it holds its key', async () => {
  const { app } = start()
  const status = parseJson(AgentStatusSchema, await (await app.request('/agent/status')).text(), 'status')
  expect(status.statement).toEqual({ ...enclave.statement, enclave: enclave.statement.enclave.toLowerCase() })
  expect(toHex(keccak256(status.keyConfigs))).toBe(status.statement.keyConfigs)
  const digest = hashStatement({ ...status.statement, role: ENCLAVE_ROLE.gateway }, BINDING)
  const signature = fromHex(status.possession, 65)
  const vs = signature.slice(32, 64)
  vs[0] = (vs[0] ?? 0) | (signature[64] === 28 ? 0x80 : 0)
  const signer = recoverSigner(digest, {
    r: toHex(signature.subarray(0, 32)),
    vs: toHex(vs),
  })
  expect(signer).toBe(enclave.statement.enclave)
})

test('makes one fresh document over the nonce, which the gateway then serves to everybody', async () => {
  const { app, post } = start()
  const nonce = toHex(keccak256(Uint8Array.of(1)))
  const answer = await post('/agent/evidence', JSON.stringify({ nonce }))
  const { document } = parseJson(EvidenceAnswerSchema, await answer.text(), 'evidence')
  const parsed = parseNitroDocument(document)
  expect(parsed.nonce && toHex(parsed.nonce)).toBe(nonce)
  expect(
    verifyStatement(parsed.userData ?? new Uint8Array(), { ...enclave.statement, role: ENCLAVE_ROLE.gateway }, BINDING),
  ).toMatchObject({ ok: true })
  const gateway = createPublicApp(
    enclave,
    async () => new Response(),
    () => [],
  )
  const served = parseJson(PublicEvidenceSchema, await (await gateway.request('/evidence')).text(), 'evidence')
  expect(equalBytes(served.document, document)).toBe(true)
  expect(app).toBeDefined()
})

test('hands the log over in order, and no leaf that no earnings head covers', async () => {
  const { receipts, readLog } = start()
  const empty = parseJson(AgentLogSchema, (await readLog(0)).text, 'log')
  expect(empty).toEqual({ from: 0n, leaves: new Uint8Array() })
  await Promise.all(LEAVES.slice(0, 6).map((leaf) => receipts.issue(leaf, 2n)))
  receipts.tick(1)
  await receipts.issue(LEAVES[6] ?? new Uint8Array(), 2n)
  const { from, leaves, head } = parseJson(AgentLogSchema, (await readLog(2)).text, 'log')
  expect(from).toBe(2n)
  expect(equalBytes(leaves, joinBytes(LEAVES.slice(2, 6)))).toBe(true)
  if (head === undefined) throw new Error('expected a head')
  expect([head.size, head.fees]).toEqual([6n, 12n])
  const { signature, ...rest } = head
  expect(isSignedByEnclave({ head: { kind: 'earnings', ...rest }, signature }, BINDING)).toBe(true)
})

test('forgets what was acknowledged and says so with a conflict', async () => {
  const { receipts, readLog, post, app } = start()
  await Promise.all(LEAVES.slice(0, 6).map((leaf) => receipts.issue(leaf, 2n)))
  receipts.tick(1)
  expect((await post('/agent/acknowledged', '{"size":"4"}')).status).toBe(200)
  expect((await readLog(4)).status).toBe(200)
  expect(await errorOf(await app.request('/agent/log?from=3'))).toEqual([409, 'FORGOTTEN'])
  expect(await errorOf(await app.request('/agent/log'))).toEqual([409, 'FORGOTTEN'])
})

test.each(['-1', '1.5', 'x', '9007199254740992', 'NaN', 'Infinity'])('refuses a log from %s', async (from) => {
  expect(await errorOf(await start().app.request(`/agent/log?from=${from}`))).toEqual([400, 'BAD_SHAPE'])
})

test.each([
  ['/agent/evidence', '', 'BAD_JSON'],
  ['/agent/evidence', '{}', 'BAD_SHAPE'],
  ['/agent/evidence', '{"nonce":"0x12"}', 'BAD_SHAPE'],
  ['/agent/acknowledged', 'null', 'BAD_SHAPE'],
  ['/agent/acknowledged', '{"size":4}', 'BAD_SHAPE'],
  ['/agent/acknowledged', '{"size":"-4"}', 'BAD_SHAPE'],
])('refuses at %s the body %s', async (path, body, code) => {
  expect(await errorOf(await start().post(path, body))).toEqual([400, code])
})

test('answers a failing attester with an error without details, and logs its code', async () => {
  const { receipts, lines } = start()
  const log: Logger = {
    info: () => {},
    warn: () => {},
    error: (event, fields) => void lines.push({ event, fields }),
  }
  const broken = { ...enclave, renewEvidence: async () => Promise.reject(new TypeError('SECRET')) }
  const response = await createAgentApp(broken, receipts, log).request('/agent/evidence', {
    method: 'POST',
    body: JSON.stringify({ nonce: toHex(new Uint8Array(32)) }),
  })
  const text = await response.text()
  expect([response.status, text.includes('SECRET')]).toEqual([500, false])
  expect(lines).toEqual([{ event: 'agent request failed', fields: { error: 'TypeError' } }])
})

test('takes requests of up to 65,536 bytes from its host, and answers 413 to one byte more', async () => {
  const { post } = start()
  const ofBytes = (bytes: number) => post('/agent/acknowledged', '{"size":"0"}'.padEnd(bytes))
  expect((await ofBytes(65_536)).status).toBe(200)
  expect(await errorOf(await ofBytes(65_537))).toEqual([413, 'BODY_TOO_LARGE'])
})

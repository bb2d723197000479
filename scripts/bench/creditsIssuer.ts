/**
 * The issuer that scripts/bench/credits.ts measures, in a process of its own: wired as offchain/issuer/main.ts does, less the attester; the chain is
 * what the bench says. Arguments: URL of the database, URL of the witness, the gateway's address.
 * @module
 */
import { randomBytes } from 'node:crypto'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createSignerPool } from '#node/credits/signerPool.ts'
import { migrate } from '#node/database.ts'
import { generateGatewayKey, KeyRing } from '#node/sealing/keyRing.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { connectSql } from '#node/sql.ts'
import type { Hex } from '#protocol/bytes.ts'
import { totalUnits } from '#protocol/credits/amounts.ts'
import { hashToG1 } from '#protocol/credits/message.ts'
import { encodeG1 } from '#protocol/credits/points.ts'
import { hashIssueRequest } from '#protocol/credits/purchase.ts'
import { enclaveOfKey, signDigest } from '#protocol/receipt/head.ts'
import { KEM_X_WING } from '#protocol/sealing/suite.ts'
import { createIssuerApp } from '../../offchain/issuer/app.ts'
import { ClearingBook } from '../../offchain/issuer/clearing.ts'
import { ISSUER_TIMING, IssuerLife } from '../../offchain/issuer/issuer.ts'
import { issue } from '../../offchain/issuer/issuing.ts'
import { MIGRATIONS } from '../../offchain/issuer/migrations.ts'
import { hashOutputs } from '../../offchain/issuer/outputsHash.ts'
import { PaymentMemory } from '../../offchain/issuer/paymentMemory.ts'
import type { IssuerPorts } from '../../offchain/issuer/ports.ts'
import { createIssuerStore } from '../../offchain/issuer/postgresStore.ts'
import { connectWitness } from '../../offchain/issuer/witness.ts'
import { DOMAIN, makeKeyset, StagedChain, until } from '../../test/support/issuerStage.ts'
import { SILENT } from '../../test/support/postgres.ts'

/** What the load is made for. `secretKeys` let it make credits without buying them: the issuer cannot tell. */
export type BenchedIssuer = {
  readonly url: string
  readonly keys: Uint8Array
  readonly keyset: Hex
  readonly secretKeys: readonly Uint8Array[]
}
/** Answer to every later message: CPU of all its threads since it started, in microseconds. */
export type BenchedCpu = { readonly cpuMicros: number }

/** One deposit that covers all that is ever under way: 64 credits of the largest size. */
const ISSUED = Array.from({ length: 64 }, () => 23)

const [databaseUrl = '', witnessUrl = '', gateway = ''] = process.argv.slice(2)
const chain = new StagedChain()
chain.gateways.add(gateway as Hex)
const { id, keyset, secretKeys } = makeKeyset()
const sql = connectSql(databaseUrl)
await migrate(sql, MIGRATIONS)
const store = createIssuerStore(sql)
const suites = createNodeSuites()
const keys = new KeyRing()
keys.add(await generateGatewayKey(suites, 1, KEM_X_WING))
const privateKey = new Uint8Array(randomBytes(32))
const enclave = enclaveOfKey(privateKey).toLowerCase() as Hex
const memory = new PaymentMemory()
const life = new IssuerLife({
  enclave,
  privateKey,
  domain: DOMAIN,
  keysets: [id],
  store,
  chain,
  witnessing: { witnesses: [connectWitness(witnessUrl, DOMAIN)], quorum: 1 },
  memory,
  clearings: new ClearingBook(DOMAIN, privateKey),
  log: SILENT,
  timing: { ...ISSUER_TIMING, leaseMs: 1_500 },
})
chain.name(id, enclave)
const signer = await createSignerPool(secretKeys, { threads: 3 })
const ports: IssuerPorts = {
  domain: DOMAIN,
  keysets: new Map([[id, { id, terms: keyset, signer }]]),
  chain,
  suites,
  keys,
  memory,
  policy: { seconds: 120, renewedSecondsMax: 600 },
  active: () => life.state,
  isExiting: () => false,
  now: () => Date.now() / 1000,
  random: randomBytes,
}
const onFault = (error: unknown) => process.stderr.write(`${String(error)}\n`)
const sealed = createSealedServer({
  keys,
  suites,
  replay: new ReplayMemory(Date.now, { windowSeconds: 600, entriesPerKeyMax: 100_000 }),
  handle: createIssuerApp({ ports, store, openMax: 1_024, onFault }),
  onRefused: onFault,
  onFault,
})
await until(() => life.notReady().length === 0, 'an open keyset')
await issueOnce()

const app = new Hono()
app.all('/gateway', (c) => sealed(c.req.raw))
serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  const url = `http://127.0.0.1:${port}/gateway`
  process.send?.({ url, keys: keys.encode(), keyset: id, secretKeys } satisfies BenchedIssuer)
})
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpuMicros: user + system } satisfies BenchedCpu)
})
process.on('disconnect', () => process.exit(0))

/** Puts into circulation what is spent later. */
async function issueOnce(): Promise<void> {
  const claimPrivateKey = new Uint8Array(randomBytes(32))
  const claimKey = enclaveOfKey(claimPrivateKey).toLowerCase() as Hex
  const blinded = encodeG1(hashToG1(new Uint8Array(32)))
  const outputs = ISSUED.map((exponent) => ({ exponent, blinded }))
  chain.deposits.set(id + claimKey, { state: 'open', units: totalUnits(ISSUED) })
  const outputsHash = await hashOutputs(outputs)
  const digest = hashIssueRequest({ keyset: id, claimKey, outputsHash }, DOMAIN)
  await issue(ports, { keyset: id, claimKey, outputs, signature: signDigest(digest, claimPrivateKey) })
}

/** An issuer without its network, for tests: PostgreSQL and witnesses are real, the chain is what the test says. @module */
import { createServer, type Server } from 'node:http'
import { createBulkKeccak } from '#node/bulkKeccak.ts'
import { createSignerPool, type SignerPool } from '#node/credits/signerPool.ts'
import { migrate } from '#node/database.ts'
import type { Logger } from '#node/log.ts'
import { generateGatewayKey } from '#node/sealing/keyRing.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { isSigner } from '#node/signatures.ts'
import { connectSql } from '#node/sql.ts'
import { encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { appendLeaves, createRows, type LogRows, rootAt, sizeOfRows } from '#protocol/log/rows.ts'
import { enclaveOfKey, hashHead, type SettlementDomain } from '#protocol/receipt/head.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'
import type { EarningsHeadMessage } from '#protocol/wire/agentApi.ts'
import { type EnclaveLog, HeadDeliverySchema } from '#protocol/wire/aggregatorApi.ts'
import { parseJson, type Schema, toJson } from '#protocol/wire/json.ts'
import { createIssuerApp } from '../../offchain/issuer/app.ts'
import type { ChainDeposit, ChainIssuer, ChainReader } from '../../offchain/issuer/chain.ts'
import { ClearingBook } from '../../offchain/issuer/clearing.ts'
import type { Handover } from '../../offchain/issuer/handover.ts'
import { IssuerLife, type IssuerTiming, type Standby } from '../../offchain/issuer/issuer.ts'
import { generateKeyset, type SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import { MIGRATIONS } from '../../offchain/issuer/migrations.ts'
import { PaymentMemory } from '../../offchain/issuer/paymentMemory.ts'
import { captureExpired } from '../../offchain/issuer/payments.ts'
import type { IssuerKeyset, IssuerPorts } from '../../offchain/issuer/ports.ts'
import { createIssuerStore } from '../../offchain/issuer/postgresStore.ts'
import type { IssuerStore } from '../../offchain/issuer/store.ts'
import { connectWitness } from '../../offchain/issuer/witness.ts'
import { SILENT, type TestPostgres } from './postgres.ts'

export const VAULT: Hex = `0x${'7a'.repeat(20)}`
export const DOMAIN: SettlementDomain & { readonly vault: Hex } = {
  chainId: 31_337,
  settlement: `0x${'5e'.repeat(20)}`,
  vault: VAULT,
}
const DAY = 86_400
/** What an aggregator hashes with. */
const keccak = await createBulkKeccak()
const TIMING: IssuerTiming = { leaseMs: 1_500, retryMs: 20, answerMs: 5_000 }

/** A keyset that signs for a day from now. */
export function makeKeyset(now: number = Math.floor(Date.now() / 1000)): SecretKeyset {
  return generateKeyset(DOMAIN, { signUntil: now + DAY, spendUntil: now + 2 * DAY, exitUntil: now + 400 * DAY })
}

/** What the test says the chain is. */
export class StagedChain implements ChainReader {
  readonly deposits: Map<string, ChainDeposit> = new Map()
  readonly gateways: Set<Hex> = new Set()
  readonly issuers: Map<Hex, ChainIssuer> = new Map()
  readonly named: Map<Hex, Hex[]> = new Map()
  readonly exits: Hex[] = []
  isSilent = false

  async deposit(keyset: Hex, claimKey: Hex): Promise<ChainDeposit | undefined> {
    this.#answer()
    return this.deposits.get(keyset + claimKey)
  }

  async isActiveGateway(enclave: Hex): Promise<boolean> {
    return this.gateways.has(enclave)
  }

  async activeIssuer(enclave: Hex): Promise<ChainIssuer | undefined> {
    this.#answer()
    return this.issuers.get(enclave.toLowerCase() as Hex)
  }

  async writers(keyset: Hex): Promise<readonly Hex[]> {
    this.#answer()
    return this.named.get(keyset) ?? []
  }

  async time(): Promise<number> {
    this.#answer()
    return Date.now() / 1000
  }

  async openedExits(from: bigint): Promise<{ credits: readonly Hex[]; next: bigint }> {
    return { credits: this.exits, next: from }
  }

  /** The vault names `enclave` as the writer from now on. */
  name(keyset: Hex, enclave: Hex): void {
    this.named.set(keyset, [...(this.named.get(keyset) ?? []), enclave.toLowerCase() as Hex])
  }

  #answer(): void {
    if (this.isSilent) throw new Error('the chain is silent')
  }
}

/** A witness that believes nothing: it checks signature, root and sizes as an aggregator does. */
export class TestWitness {
  readonly #logs = new Map<Hex, LogRows>()
  readonly #heads = new Map<Hex, EarningsHeadMessage>()
  readonly #server: Server
  isDown = false
  /** Says that it holds so many entries more than it does, under the head that it has. */
  boasts = 0n
  /** What happens before it says how much it holds of a log. */
  beforeSize: (() => Promise<void>) | undefined
  url = ''

  constructor() {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', async () => {
        if (request.method === 'GET') await this.beforeSize?.()
        if (this.isDown) {
          response.destroy()
          return
        }
        const { status, body } = this.#answer(request.url ?? '', Buffer.concat(parts).toString())
        response.writeHead(status, { 'content-type': 'application/json' }).end(toJson(body))
      })
    })
  }

  static async start(): Promise<TestWitness> {
    const witness = new TestWitness()
    await new Promise<void>((resolve) => witness.#server.listen(0, '127.0.0.1', resolve))
    const address = witness.#server.address()
    if (address === null || typeof address === 'string') throw new Error('expected an address with a port')
    witness.url = `http://127.0.0.1:${address.port}`
    return witness
  }

  sizeOf(enclave: Hex): number {
    const rows = this.#logs.get(enclave.toLowerCase() as Hex)
    return rows === undefined ? 0 : sizeOfRows(rows)
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(path: string, text: string): { status: number; body: unknown } {
    if (path !== '/v1/heads') {
      const enclave = path.slice(-42) as Hex
      const head = this.#heads.get(enclave)
      if (head === undefined) return refuse(404, 'NOT_FOUND')
      const { fees } = head
      const size = head.size + this.boasts
      return { status: 200, body: { enclave, role: 'issuer', size, settledSize: 0n, fees, head } satisfies EnclaveLog }
    }
    const { head, from, leaves } = parseJson(HeadDeliverySchema, text, 'head delivery')
    const { signature, ...stated } = head
    if (!isSigner(hashHead({ kind: 'earnings', ...stated }, DOMAIN), signature, head.enclave)) {
      return refuse(422, 'BAD_SIGNATURE')
    }
    const rows = this.#logs.get(head.enclave) ?? createRows()
    const size = sizeOfRows(rows)
    if (Number(from) > size) return refuse(409, 'GAP', BigInt(size))
    const fresh = leaves.subarray(Math.min(leaves.length, (size - Number(from)) * 32))
    appendLeaves(rows, fresh, keccak)
    if (toHex(rootAt(rows, Number(head.size), keccak)) !== head.root) {
      const known = createRows()
      appendLeaves(known, (rows.rows[0]?.bytes ?? new Uint8Array()).slice(0, size * 32), keccak)
      this.#logs.set(head.enclave, known)
      return refuse(422, 'ROOT_MISMATCH')
    }
    this.#logs.set(head.enclave, rows)
    if (Number(head.size) > size) this.#heads.set(head.enclave, head)
    return { status: 200, body: { size: BigInt(sizeOfRows(rows)) + this.boasts } }
  }
}

function refuse(status: number, code: string, expectedFrom?: bigint): { status: number; body: unknown } {
  const error = { code, message: code, ...(expectedFrom === undefined ? {} : { expectedFrom }) }
  return { status, body: { error } }
}

export type StagedIssuer = {
  readonly enclave: Hex
  readonly life: IssuerLife
  readonly clearings: ClearingBook
  readonly config: Awaited<ReturnType<typeof generateGatewayKey>>['config']
  /** What is behind the seal. */
  readonly handle: ReturnType<typeof createIssuerApp>
  /** A keyset that came later; its signer must be known. */
  addKeyset(keyset: SecretKeyset): void
  /** Calls the app; rejects with the code of an error. */
  call<T>(schema: Schema<T>, method: string, path: string, body?: unknown): Promise<T>
  expire(): Promise<number>
  close(): Promise<void>
}

export type StageOptions = {
  readonly url: string
  readonly chain: StagedChain
  readonly witnesses: readonly TestWitness[]
  readonly quorum?: number
  readonly keysets: readonly SecretKeyset[]
  readonly signers: ReadonlyMap<Hex, SignerPool>
  readonly wrapStore?: (store: IssuerStore) => IssuerStore
  readonly now?: () => number
  readonly seconds?: number
  readonly timing?: Partial<IssuerTiming>
  /** Of the enclave; one of its own unless told. */
  readonly privateKey?: Uint8Array
  readonly standby?: Standby
  readonly handover?: Handover
  readonly log?: Logger
}

export async function makeSigners(keysets: readonly SecretKeyset[], threads = 1): Promise<Map<Hex, SignerPool>> {
  const pools = keysets.map(
    async ({ id, secretKeys }) => [id, await createSignerPool(secretKeys, { threads })] as const,
  )
  return new Map(await Promise.all(pools))
}

/** Boots an issuer as a new enclave on the database at `url`. */
export async function stageIssuer(options: StageOptions): Promise<StagedIssuer> {
  const sql = connectSql(options.url, { max: 6 })
  await migrate(sql, MIGRATIONS)
  const wrap = options.wrapStore ?? ((store) => store)
  const store = wrap(createIssuerStore(sql))
  const privateKey = options.privateKey ?? crypto.getRandomValues(new Uint8Array(32))
  const enclave = enclaveOfKey(privateKey).toLowerCase() as Hex
  const suites = createNodeSuites()
  const key = await generateGatewayKey(suites, 1, KEM_X25519)
  const memory = new PaymentMemory()
  const clearings = new ClearingBook(DOMAIN, privateKey)
  const life = new IssuerLife({
    enclave,
    privateKey,
    domain: DOMAIN,
    keysets: options.keysets.map(({ id }) => id),
    ...(options.standby === undefined ? {} : { standby: options.standby }),
    store,
    chain: options.chain,
    witnessing: {
      witnesses: options.witnesses.map(({ url }) => connectWitness(url, DOMAIN)),
      quorum: options.quorum ?? options.witnesses.length,
    },
    memory,
    clearings,
    log: options.log ?? SILENT,
    timing: { ...TIMING, ...options.timing },
  })
  const keysets = new Map<Hex, IssuerKeyset>()
  const addKeyset = ({ id, keyset }: SecretKeyset) => {
    const signer = options.signers.get(id)
    if (signer === undefined) throw new Error('expected a signer for every keyset')
    keysets.set(id, { id, terms: keyset, signer })
    life.addKeyset(id)
  }
  for (const keyset of options.keysets) addKeyset(keyset)
  const ports: IssuerPorts = {
    domain: DOMAIN,
    keysets,
    chain: options.chain,
    suites,
    keys: new Map([[1, key]]),
    memory,
    policy: { seconds: options.seconds ?? 60, renewedSecondsMax: 600 },
    active: () => life.state,
    isExiting: (credit) => options.chain.exits.includes(credit),
    now: options.now ?? (() => Date.now() / 1000),
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  }
  const faults: unknown[] = []
  const app = createIssuerApp({
    ports,
    store,
    ...(options.handover === undefined ? {} : { handover: options.handover }),
    openMax: 1_024,
    onFault: (error) => faults.push(error),
  })
  return {
    enclave,
    life,
    clearings,
    config: key.config,
    handle: app,
    addKeyset,
    async call(schema, method, path, body) {
      const request = { method, scheme: 'https', authority: 'issuer', path, headers: [] as [string, string][] }
      const response = await app({ ...request, body: encodeUtf8(body === undefined ? '' : toJson(body)) })
      if (!(response.body instanceof Uint8Array)) throw new Error('expected a whole answer')
      const text = new TextDecoder().decode(response.body)
      if (faults.length > 0) throw faults[0]
      if (response.status === 200) return parseJson(schema, text, 'answer')
      throw new Error((JSON.parse(text) as { error: { code: string } }).error.code)
    },
    expire: () => captureExpired(ports),
    async close() {
      await life.close()
      await sql.end()
    },
  }
}

/** Waits for a fact; never for a time. */
export async function until(fact: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs
  while (!fact()) {
    if (performance.now() > deadline) throw new Error(`expected ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** The issuer may write this keyset. */
export async function untilOpen({ life }: StagedIssuer): Promise<void> {
  await until(() => life.notReady().length === 0, 'an open keyset')
}

export type Stage = { readonly chain: StagedChain; readonly witnesses: TestWitness[]; readonly url: string }

/** Stages of one test file, with one keyset; `closeAll` after every test. */
export class Stages {
  readonly #server: TestPostgres
  readonly #keyset: SecretKeyset
  readonly #signers: ReadonlyMap<Hex, SignerPool>
  readonly #gateways: readonly Hex[]
  readonly #cleanups: (() => Promise<void>)[] = []

  constructor(
    server: TestPostgres,
    keyset: SecretKeyset,
    signers: ReadonlyMap<Hex, SignerPool>,
    gateways: readonly Hex[],
  ) {
    this.#server = server
    this.#keyset = keyset
    this.#signers = signers
    this.#gateways = gateways
  }

  /** An empty database, a chain, and witnesses. */
  async make(witnesses = 2): Promise<Stage> {
    const chain = new StagedChain()
    for (const gateway of this.#gateways) chain.gateways.add(gateway)
    const started = await Promise.all(Array.from({ length: witnesses }, () => TestWitness.start()))
    this.#cleanups.push(async () => {
      for (const witness of started) await witness.close()
    })
    return { chain, witnesses: started, url: await this.#server.createDatabase() }
  }

  /** A new enclave on the stage. */
  async boot(stage: Stage, options: Partial<StageOptions> = {}): Promise<StagedIssuer> {
    const issuer = await stageIssuer({ ...stage, keysets: [this.#keyset], signers: this.#signers, ...options })
    let closing: Promise<void> | undefined
    const close = () => {
      closing ??= issuer.close()
      return closing
    }
    this.#cleanups.push(close)
    return { ...issuer, close }
  }

  /** A new enclave that the vault names as the writer. */
  async bootOpen(stage: Stage, options: Partial<StageOptions> = {}): Promise<StagedIssuer> {
    const issuer = await this.boot(stage, options)
    stage.chain.name(this.#keyset.id, issuer.enclave)
    await untilOpen(issuer)
    return issuer
  }

  async closeAll(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup()
  }
}

/** Every table of an issuer as it is now, in another database. Answers its URL. */
export async function copyDatabase(server: TestPostgres, url: string): Promise<string> {
  const target = await server.createDatabase()
  const from = connectSql(url, { max: 1 })
  const to = connectSql(target, { max: 1 })
  await migrate(to, MIGRATIONS)
  await from.begin(async (query) => {
    await query.unsafe('set transaction isolation level repeatable read')
    const details = ['issues', 'payments', 'open_reserves', 'spent', 'change']
    for (const table of ['logs', 'writer', 'entries', 'heads', ...details]) {
      const [row] = await query.unsafe(`select json_agg(t)::text as rows from ${table} t`)
      const statement = `insert into ${table} select * from json_populate_recordset(null::${table}, $1)`
      if (row?.rows != null) await to.unsafe(statement, [String(row.rows)])
    }
  })
  await from.end()
  await to.end()
  return target
}

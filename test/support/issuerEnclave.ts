/** Issuers' enclaves with evidence, for tests: what the development attester makes is verified like anything else. @module */
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createDevelopmentRoot, type DevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import type { EnclaveChain } from '#node/enclave/config.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import type { Logger } from '#node/log.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { startServer } from '#node/server.ts'
import type { Hex } from '#protocol/bytes.ts'
import { signDigest } from '#protocol/receipt/head.ts'
import type { PublicEvidence } from '#protocol/wire/agentApi.ts'
import { type HandoverRequest, hashHandover } from '#protocol/wire/handoverApi.ts'
import { createHandover, type HandoverOptions } from '../../offchain/issuer/handover.ts'
import { HandoverTaker, type TakerOptions } from '../../offchain/issuer/handoverTaker.ts'
import { ownMeasurement } from '../../offchain/issuer/peerEnclave.ts'
import { DOMAIN, type StagedChain, type StagedIssuer } from './issuerStage.ts'
import { SILENT } from './postgres.ts'

export const SUITES: ReturnType<typeof createNodeSuites> = createNodeSuites()
export const ROOT: DevelopmentRoot = createDevelopmentRoot(Math.floor(Date.now() / 1000))
export const BINDING: EnclaveChain = {
  chainId: DOMAIN.chainId,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: DOMAIN.settlement,
  operator: `0x${'0e'.repeat(20)}`,
}

export type EnclaveOptions = {
  readonly role?: 'gateway' | 'issuer'
  readonly binding?: Partial<EnclaveChain>
  /** What PCR 0 is filled with: the code that runs. */
  readonly code?: number
  readonly root?: DevelopmentRoot
  /** How old its document is. */
  readonly ageSeconds?: number
}

/** An enclave that has made its document. */
export async function bootIssuerEnclave(options: EnclaveOptions = {}): Promise<Enclave> {
  const attester = createDevelopmentAttester({
    pcrs: new Map([[0, new Uint8Array(48).fill(options.code ?? 1)]]),
    root: options.root ?? ROOT,
    now: () => Date.now() - 1_000 * (options.ageSeconds ?? 0),
  })
  const enclave = await bootEnclave(options.role ?? 'issuer', { ...BINDING, ...options.binding }, attester, SUITES)
  await enclave.renewEvidence(new Uint8Array(32).fill(7))
  return enclave
}

export function evidenceOf(enclave: Enclave): PublicEvidence {
  const evidence = enclave.evidence()
  if (evidence === undefined) throw new Error('expected a document')
  const { statement } = evidence
  // As it arrives: addresses in lower case.
  return { ...evidence, statement: { ...statement, enclave: idOf(enclave) } }
}

export function idOf({ statement }: Pick<Enclave, 'statement'>): Hex {
  return statement.enclave.toLowerCase() as Hex
}

/** The registry calls it an active issuer from now on. */
export function register(chain: StagedChain, enclave: Enclave): void {
  const measurement = ownMeasurement('development', evidenceOf(enclave))
  chain.issuers.set(idOf(enclave), { operator: BINDING.operator, measurement })
}

/** What `taker` asks `giver` for. */
export function requestOf(taker: Enclave, giver: Enclave, domain: typeof DOMAIN = DOMAIN): HandoverRequest {
  const { keyConfigs } = taker.statement
  return {
    evidence: evidenceOf(taker),
    keyConfigs: taker.keyConfigs,
    signature: signDigest(hashHandover({ giver: giver.statement.enclave, keyConfigs }, domain), taker.privateKey),
  }
}

const common = (enclave: Enclave) => ({
  enclave,
  attester: 'development' as const,
  binding: BINDING,
  domain: DOMAIN,
  roots: [pinDevelopmentRoot(ROOT)],
  suites: SUITES,
  now: () => Date.now() / 1000,
  log: SILENT,
})

export function giverOf(
  enclave: Enclave,
  options: Pick<HandoverOptions, 'chain' | 'keysets'> & Partial<HandoverOptions>,
): ReturnType<typeof createHandover> {
  return createHandover({ ...common(enclave), successors: [], ...options })
}

export function takerOf(
  enclave: Enclave,
  options: Pick<TakerOptions, 'urls' | 'chain'> & Partial<TakerOptions> & { readonly log?: Logger },
): HandoverTaker {
  const timing = { pollMs: 20, renewMs: 60_000 }
  return new HandoverTaker({ ...common(enclave), predecessors: [], onKeyset: async () => {}, timing, ...options })
}

/** Serves an enclave as relays and other issuers see it. */
export async function serveEnclave(
  enclave: Enclave,
  handle: StagedIssuer['handle'],
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const faults: unknown[] = []
  const sealed = createSealedServer({
    keys: enclave.keys,
    suites: SUITES,
    replay: new ReplayMemory(Date.now),
    handle,
    onFault: (error) => faults.push(error),
  })
  const server = await startServer(
    createPublicApp(enclave, sealed, () => []),
    { host: '127.0.0.1', port: 0 },
  )
  return {
    url: server.url,
    async close() {
      await server.close(0)
      if (faults.length > 0) throw faults[0]
    },
  }
}

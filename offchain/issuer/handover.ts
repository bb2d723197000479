/**
 * Giving keysets to another enclave: to one that runs code we would trust with them, of the same operator, and that the registry knows; and
 * naming it as a successor while we still can. What is given is sealed to the key that its evidence binds, whoever sent the request.
 * @module
 */
import type { AttesterConfig, EnclaveChain } from '#node/enclave/config.ts'
import type { Enclave } from '#node/enclave/enclave.ts'
import type { Logger } from '#node/log.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { type HandedKeyset, sealHandover } from '#protocol/credits/sealedHandover.ts'
import { signSuccession, type VaultDomain } from '#protocol/credits/succession.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { keccak256 } from '#protocol/hash.ts'
import { recoverSigner } from '#protocol/receipt/head.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import type { PublicEvidence } from '#protocol/wire/agentApi.ts'
import {
  type HandoverAnswer,
  type HandoverErrorCode,
  type HandoverRequest,
  hashHandover,
} from '#protocol/wire/handoverApi.ts'
import type { ChainReader } from './chain.ts'
import type { SecretKeyset } from './keysetKeys.ts'
import { checkStatement, ownMeasurement, verifyPeer } from './peerEnclave.ts'

export type HandoverOptions = {
  readonly enclave: Pick<Enclave, 'statement' | 'privateKey' | 'evidence'>
  readonly attester: AttesterConfig['kind']
  readonly binding: EnclaveChain
  readonly domain: VaultDomain
  readonly roots: readonly PinnedRoot[]
  /** Measurements that are given to besides our own. */
  readonly successors: readonly Hex[]
  readonly chain: Pick<ChainReader, 'activeIssuer' | 'writers'>
  /** What there is to give now. */
  readonly keysets: () => readonly SecretKeyset[]
  readonly suites: SealingSuites
  /** Seconds since the epoch. */
  readonly now: () => number
  readonly log: Logger
}

/** A refusal, or a failure of ours. `message` goes to who asked. */
export class HandoverError extends Error {
  override readonly name = 'HandoverError'
  readonly code: HandoverErrorCode
  constructor(code: HandoverErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** Answers a request that came inside our seal. Throws `HandoverError`, and `AppError` (`RPC_FAILED`). */
export type Handover = (request: HandoverRequest) => Promise<HandoverAnswer>

/** Requests under way at once: each reads the chain and checks a chain of certificates. */
const HANDOVERS_MAX = 4

export function createHandover(options: HandoverOptions): Handover {
  let open = 0
  return async (request) => {
    const evidence = options.enclave.evidence()
    if (evidence === undefined || open >= HANDOVERS_MAX) {
      throw new HandoverError('UNAVAILABLE', 'this issuer cannot hand over now: ask again')
    }
    open++
    try {
      return await handOver(options, evidence, request)
    } finally {
      open--
    }
  }
}

async function handOver(
  options: HandoverOptions,
  own: PublicEvidence,
  request: HandoverRequest,
): Promise<HandoverAnswer> {
  const { statement } = request.evidence
  const taker = statement.enclave
  // What is cheap first, so that strangers can ask for little work.
  const misfit = checkStatement(statement, options)
  if (misfit?.ok === false) throw new HandoverError(misfit.code, misfit.message)
  const giver = options.enclave.statement.enclave
  const digest = hashHandover({ giver, keyConfigs: toHex(keccak256(request.keyConfigs)) }, options.domain)
  if (recoverSigner(digest, request.signature)?.toLowerCase() !== taker) {
    throw new HandoverError('BAD_SIGNATURE', 'the request was not signed by the enclave that takes, for this one')
  }
  const known = await options.chain.activeIssuer(taker)
  if (known === undefined || known.operator !== options.binding.operator) {
    throw new HandoverError('NOT_REGISTERED', 'the registry has no such active issuer of this operator, at finality')
  }
  const measurements = new Set([ownMeasurement(options.attester, own), ...options.successors])
  const peer = verifyPeer(request, { ...options, measurements }, BigInt(Math.floor(options.now())))
  if (!peer.ok) throw new HandoverError(peer.code, peer.message)
  if (peer.measurement !== known.measurement) {
    throw new HandoverError('NOT_REGISTERED', 'the registry knows this enclave with another measurement')
  }
  const keysets = await Promise.all(options.keysets().map((keyset) => handOut(options, keyset, taker)))
  const sealed = await sealHandover(options.suites, peer.config, keysets)
  options.log.info('keysets handed over', { to: taker, keysets: keysets.length })
  return { sealed }
}

async function handOut(
  { chain, domain, enclave }: HandoverOptions,
  { id, keyset, secretKeys }: SecretKeyset,
  taker: Hex,
): Promise<HandedKeyset> {
  const { signUntil, spendUntil, exitUntil } = keyset
  const handed = { keyset: id, signUntil, spendUntil, exitUntil, secretKeys }
  // A succession has no end and, once used, no secret: two that name each other's signers would let anybody swap the writer for ever.
  const writers = await chain.writers(id)
  if (writers.some((writer) => writer.toLowerCase() === taker)) return handed
  return { ...handed, succession: signSuccession({ keyset: id, successor: taker }, domain, enclave.privateKey) }
}

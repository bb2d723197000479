/**
 * The enclave's identity: a receipt key and sealing keys born at boot, and the evidence that binds them to the measured code.
 * Nothing of it is ever written down: a restart is a new enclave with a new log.
 * @module
 */
import { randomBytes } from 'node:crypto'
import type { Attester } from '#node/attesters/attester.ts'
import { generateGatewayKey, KeyRing } from '#node/sealing/keyRing.ts'
import { fromHex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE, hashStatement } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey, expandSignature, signDigest } from '#protocol/receipt/head.ts'
import { KEM_X_WING, KEM_X25519, type SealingSuites } from '#protocol/sealing/suite.ts'
import type { AgentStatus, PublicEvidence, Statement } from '#protocol/wire/agentApi.ts'
import type { EnclaveChain } from './config.ts'

export type Enclave = {
  readonly statement: Statement
  readonly privateKey: Uint8Array
  /** X-Wing first, X25519 for clients without it. */
  readonly keys: KeyRing
  /** The `application/ohttp-keys` document. */
  readonly keyConfigs: Uint8Array
  readonly status: AgentStatus
  /** The one document that everybody gets; undefined until the operator agent brought a nonce. */
  evidence(): PublicEvidence | undefined
  /** Makes a fresh document over `nonce` (32 bytes). Throws `AttesterError`. */
  renewEvidence(nonce: Uint8Array): Promise<Uint8Array>
}

/** Boots an enclave: makes its keys and its statement. */
export async function bootEnclave(
  role: 'gateway' | 'issuer',
  binding: EnclaveChain,
  attester: Attester,
  suites: SealingSuites<Uint8Array>,
): Promise<Enclave> {
  const privateKey = new Uint8Array(randomBytes(32))
  const keys = new KeyRing()
  for (const [keyId, kemId] of [KEM_X_WING, KEM_X25519].entries()) {
    keys.add(await generateGatewayKey(suites, keyId, kemId))
  }
  const keyConfigs = keys.encode()
  const statement: Statement = {
    ...binding,
    role,
    enclave: enclaveOfKey(privateKey),
    keyConfigs: toHex(keccak256(keyConfigs)),
  }
  const digest = hashStatement({ ...statement, role: ENCLAVE_ROLE[role] }, binding)
  const possession = expandSignature(signDigest(digest, privateKey))
  let current: PublicEvidence | undefined
  return {
    statement,
    privateKey,
    keys,
    keyConfigs,
    status: { statement, keyConfigs, possession },
    evidence: () => current,
    async renewEvidence(nonce) {
      const document = await attester.attest({ userData: fromHex(digest), nonce })
      current = { format: 'sealpath-evidence/1', statement, document }
      return document
    },
  }
}

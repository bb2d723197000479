/**
 * The enclave's identity: a receipt key and sealing keys born at boot, and the evidence that binds them to the measured code.
 * Nothing of it is ever written down: a restart is a new enclave with a new log.
 * @module
 */
import { randomBytes } from 'node:crypto'
import type { Attester } from '#node/attesters/attester.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE, hashStatement } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey, expandSignature, signDigest } from '#protocol/receipt/head.ts'
import type { GatewayKey } from '#protocol/sealing/exchange.ts'
import { encodeKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import {
  AEAD_AES_128_GCM,
  AEAD_CHACHA20_POLY1305,
  KDF_HKDF_SHA256,
  KEM_X_WING,
  KEM_X25519,
  type MaybeBytes,
  type SealingSuites,
} from '#protocol/sealing/suite.ts'
import type { AgentStatus, PublicEvidence, Statement } from '#protocol/wire/agentApi.ts'

/** Whose enclave this is and where its receipts settle. */
export type EnclaveBinding = {
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  readonly operator: Hex
}

export type Enclave = {
  readonly statement: Statement
  readonly privateKey: Uint8Array
  /** By key identifier: X-Wing first, X25519 for clients without it. */
  readonly keys: ReadonlyMap<number, GatewayKey>
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
  binding: EnclaveBinding,
  attester: Attester,
  suites: SealingSuites<MaybeBytes>,
): Promise<Enclave> {
  const privateKey = new Uint8Array(randomBytes(32))
  const keys = await makeSealingKeys(suites)
  const keyConfigs = encodeKeyConfigList([...keys.values()].map((key) => key.config))
  const statement: Statement = {
    ...binding,
    role: 'gateway',
    enclave: enclaveOfKey(privateKey),
    keyConfigs: toHex(keccak256(keyConfigs)),
  }
  const digest = hashStatement({ ...statement, role: ENCLAVE_ROLE.gateway }, binding)
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

async function makeSealingKeys(suites: SealingSuites<MaybeBytes>): Promise<Map<number, GatewayKey>> {
  const symmetric = [
    { kdfId: KDF_HKDF_SHA256, aeadId: AEAD_AES_128_GCM },
    { kdfId: KDF_HKDF_SHA256, aeadId: AEAD_CHACHA20_POLY1305 },
  ]
  const keys = new Map<number, GatewayKey>()
  for (const [keyId, kemId] of [KEM_X_WING, KEM_X25519].entries()) {
    const pair = await suites.generateKeyPair(kemId)
    keys.set(keyId, { config: { keyId, kemId, publicKey: pair.publicKey, suites: symmetric }, pair })
  }
  return keys
}

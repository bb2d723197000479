/**
 * The sealing back end on node:crypto: HPKE by the package `hpke` over the algorithms of `nodeAlgorithms.ts` and
 * `nodeKems.ts`, and a synchronous AEAD for responses, so that a stream needs no promise per chunk. @module
 */
import {
  createHpkeSuite,
  generateHpkeKeyPair,
  type HpkeAlgorithms,
  importHpkeKeyPair,
} from '#protocol/sealing/hpkeSuite.ts'
import { OhttpError } from '#protocol/sealing/ohttpError.ts'
import type { SealingSuite, SealingSuites } from '#protocol/sealing/suite.ts'
import { nodeAes128Gcm, nodeChaCha20Poly1305, nodeCipher, nodeHkdfSha256 } from './nodeAlgorithms.ts'
import { nodeX25519, nodeXWing } from './nodeKems.ts'

/** The suites of `offchain/protocol/sealing/suite.ts`, all of them. Needs Node 24 for ML-KEM. */
export function createNodeSuites(): SealingSuites<Uint8Array> {
  const kems = new Map([nodeX25519, nodeXWing].map((kem) => [kem().id, kem]))
  const aeads = new Map([nodeAes128Gcm, nodeChaCha20Poly1305].map((aead) => [aead().id, aead]))
  const suites = new Map<string, SealingSuite<Uint8Array>>()
  for (const kem of kems.values()) {
    for (const aead of aeads.values()) {
      const suite = createHpkeSuite({ kem, kdf: nodeHkdfSha256, aead }, (key) => nodeCipher(aead().id, key))
      suites.set(suiteName(suite.kemId, suite.kdfId, suite.aeadId), suite)
    }
  }

  function kemAlgorithms(kemId: number): HpkeAlgorithms {
    const kem = kems.get(kemId)
    if (kem === undefined) throw new OhttpError('UNSUPPORTED_SUITE', 'the KEM is not implemented on node:crypto')
    return { kem, kdf: nodeHkdfSha256, aead: nodeAes128Gcm }
  }

  return {
    get: (kemId, kdfId, aeadId) => suites.get(suiteName(kemId, kdfId, aeadId)),
    generateKeyPair: async (kemId) => generateHpkeKeyPair(kemAlgorithms(kemId)),
    importKeyPair: async (kemId, privateKey, publicKey) =>
      importHpkeKeyPair(kemAlgorithms(kemId), privateKey, publicKey),
  }
}

function suiteName(kemId: number, kdfId: number, aeadId: number): string {
  return `${kemId}/${kdfId}/${aeadId}`
}

/** The live keys of a gateway: several at once, so that a new key is offered before the old one stops. @module */
import type { GatewayKey, GatewayKeys } from '#protocol/sealing/exchange.ts'
import { encodeKeyConfigList, type KeyConfig } from '#protocol/sealing/keyConfig.ts'
import {
  AEAD_AES_128_GCM,
  AEAD_CHACHA20_POLY1305,
  KDF_HKDF_SHA256,
  type SealingSuites,
} from '#protocol/sealing/suite.ts'

/** A fresh key, offered with AES-128-GCM first and ChaCha20-Poly1305 second. `keyId` is 0 to 255. */
export async function generateGatewayKey(suites: SealingSuites, keyId: number, kemId: number): Promise<GatewayKey> {
  const pair = await suites.generateKeyPair(kemId)
  const symmetric = [AEAD_AES_128_GCM, AEAD_CHACHA20_POLY1305].map((aeadId) => ({ kdfId: KDF_HKDF_SHA256, aeadId }))
  return { config: { keyId, kemId, publicKey: pair.publicKey, suites: symmetric }, pair }
}

export class KeyRing implements GatewayKeys {
  readonly #keys = new Map<number, GatewayKey>()

  /** Throws `RangeError` when a live key has this identifier: requests for the two could not be told apart. */
  add(key: GatewayKey): void {
    const { keyId } = key.config
    if (this.#keys.has(keyId)) throw new RangeError(`expected an unused key identifier, got ${keyId}`)
    this.#keys.set(keyId, key)
  }

  /** Ends the key's life: requests sealed for it are refused from now on. */
  remove(keyId: number): void {
    this.#keys.delete(keyId)
  }

  get(keyId: number): GatewayKey | undefined {
    return this.#keys.get(keyId)
  }

  /** Configurations of the live keys in the order in which they were added, which clients read as preference. */
  configs(): KeyConfig[] {
    return [...this.#keys.values()].map((key) => key.config)
  }

  /** The body of type `application/ohttp-keys`. */
  encode(): Uint8Array<ArrayBuffer> {
    return encodeKeyConfigList(this.configs())
  }
}

/** A sealing suite out of the algorithm factories of the package `hpke`. @module */
import { type AEADFactory, CipherSuite, type KDFFactory, type KEMFactory } from 'hpke'
import { concatBytes, equalSecret } from '../bytes.ts'
import { OhttpError } from './ohttpError.ts'
import type { MaybeBytes, ResponseCipher, SealingKeyPair, SealingSuite } from './suite.ts'

export interface HpkeAlgorithms {
  readonly kem: KEMFactory
  readonly kdf: KDFFactory
  readonly aead: AEADFactory
}

/** HPKE by the package `hpke`; the response's AEAD by `cipher`, which a back end may make synchronous. */
export function createHpkeSuite<Result extends MaybeBytes>(
  algorithms: HpkeAlgorithms,
  cipher: (key: Uint8Array) => ResponseCipher<Result>,
): SealingSuite<Result> {
  const hpke = new CipherSuite(algorithms.kem, algorithms.kdf, algorithms.aead)
  const kdf = algorithms.kdf()
  return {
    kemId: hpke.KEM.id,
    kdfId: hpke.KDF.id,
    aeadId: hpke.AEAD.id,
    Nenc: hpke.KEM.Nenc,
    Nk: hpke.AEAD.Nk,
    Nn: hpke.AEAD.Nn,
    Nt: hpke.AEAD.Nt,
    async setupSender(publicKey, info) {
      const { encapsulatedSecret, ctx } = await hpke.SetupSender(await hpke.DeserializePublicKey(publicKey), { info })
      return {
        enc: encapsulatedSecret,
        seal: (plaintext, aad) => ctx.Seal(plaintext, aad),
        export: (context, lengthBytes) => ctx.Export(context, lengthBytes),
      }
    },
    async setupRecipient(key, enc, info) {
      const ctx = await hpke.SetupRecipient(key.handle, enc, { info })
      return {
        open: (ciphertext, aad) => ctx.Open(ciphertext, aad),
        export: (context, lengthBytes) => ctx.Export(context, lengthBytes),
      }
    },
    extract: (salt, ikm) => kdf.Extract(salt, ikm),
    expand: (prk, info, lengthBytes) => kdf.Expand(prk, info, lengthBytes),
    cipher,
  }
}

/** The response's AEAD by the same factory that HPKE uses. */
export function hpkeCipher(aead: AEADFactory): (key: Uint8Array) => ResponseCipher<Promise<Uint8Array>> {
  const algorithm = aead()
  return (key) => ({
    async seal(nonce, aad, plaintext, prefix) {
      return concatBytes(prefix, await algorithm.Seal(key, nonce, aad, plaintext))
    },
    open: (nonce, aad, ciphertext) => algorithm.Open(key, nonce, aad, ciphertext),
  })
}

/** A fresh key pair of `algorithms.kem`; the private key is not extractable. */
export async function generateHpkeKeyPair(algorithms: HpkeAlgorithms): Promise<SealingKeyPair> {
  const hpke = new CipherSuite(algorithms.kem, algorithms.kdf, algorithms.aead)
  const handle = await hpke.GenerateKeyPair(false)
  return { kemId: hpke.KEM.id, publicKey: await hpke.SerializePublicKey(handle.publicKey), handle }
}

/**
 * The pair of a private key (in the form of its KEM) and its public key. Throws `OhttpError` (`BAD_KEY`) when either is
 * malformed or they do not belong together, which an exchange with oneself shows for every KEM alike.
 */
export async function importHpkeKeyPair(
  algorithms: HpkeAlgorithms,
  privateKey: Uint8Array,
  publicKey: Uint8Array,
): Promise<SealingKeyPair> {
  const hpke = new CipherSuite(algorithms.kem, algorithms.kdf, algorithms.aead)
  const context = new Uint8Array()
  try {
    const handle = {
      privateKey: await hpke.DeserializePrivateKey(privateKey),
      publicKey: await hpke.DeserializePublicKey(publicKey),
    }
    const sent = await hpke.SendExport(handle.publicKey, context, 32)
    const received = await hpke.ReceiveExport(handle, sent.encapsulatedSecret, context, 32)
    if (!equalSecret(sent.exportedSecret, received)) throw new Error('the keys are of different pairs')
    return { kemId: hpke.KEM.id, publicKey: publicKey.slice(), handle }
  } catch (cause) {
    throw new OhttpError('BAD_KEY', 'expected a private key and the public key that belongs to it', { cause })
  }
}

/**
 * The back end for browsers and every other runtime with WebCrypto. Where the runtime lacks an algorithm (X-Wing in
 * Firefox, ChaCha20-Poly1305 in older ones), the pure JavaScript of `@panva/hpke-noble` is loaded, and only then. HKDF is always
 * JavaScript (`nobleHkdf.ts`), unless none is wanted. @module
 */
import {
  type AEADFactory,
  AEAD_AES_128_GCM as AES_128_GCM,
  AEAD_ChaCha20Poly1305 as CHACHA20_POLY1305,
  type KDFFactory,
  KEM_DHKEM_X25519_HKDF_SHA256,
  KEM_MLKEM768_X25519,
  type KEMFactory,
  KDF_HKDF_SHA256 as WEB_HKDF_SHA256,
} from 'hpke'
import {
  createHpkeSuite,
  generateHpkeKeyPair,
  type HpkeAlgorithms,
  hpkeCipher,
  importHpkeKeyPair,
} from './hpkeSuite.ts'
import { nobleHkdfSha256 } from './nobleHkdf.ts'
import { OhttpError } from './ohttpError.ts'
import {
  AEAD_AES_128_GCM,
  AEAD_CHACHA20_POLY1305,
  KDF_HKDF_SHA256,
  KEM_X_WING,
  KEM_X25519,
  type SealingSuites,
} from './suite.ts'

export interface WebSuitesOptions {
  /** When the JavaScript algorithms serve: where the runtime lacks one or is slower (default), always, or never. */
  readonly noble?: 'where-better' | 'always' | 'never'
}

/** Suites on WebCrypto. Each algorithm is tried once, when first asked for. */
export function createWebSuites(options: WebSuitesOptions = {}): SealingSuites<Promise<Uint8Array>> {
  const mode = options.noble ?? 'where-better'
  const kdf: KDFFactory = mode === 'never' ? WEB_HKDF_SHA256 : nobleHkdfSha256
  const kems = new Map<number, Promise<KEMFactory | undefined>>()
  const aeads = new Map<number, Promise<AEADFactory | undefined>>()

  async function algorithms(kemId: number, kdfId: number, aeadId: number): Promise<HpkeAlgorithms | undefined> {
    if (kdfId !== KDF_HKDF_SHA256) return undefined
    const kem = await once(kems, kemId, () => pick(kemId, WEB_KEMS, NOBLE_KEMS, isKemSupported, mode))
    const aead = await once(aeads, aeadId, () => pick(aeadId, WEB_AEADS, NOBLE_AEADS, isAeadSupported, mode))
    return kem && aead && { kem, kdf, aead }
  }

  async function kemAlgorithms(kemId: number): Promise<HpkeAlgorithms> {
    const found = await algorithms(kemId, KDF_HKDF_SHA256, AEAD_AES_128_GCM)
    if (found === undefined) throw new OhttpError('UNSUPPORTED_SUITE', 'this runtime has no implementation of the KEM')
    return found
  }

  return {
    async get(kemId, kdfId, aeadId) {
      const found = await algorithms(kemId, kdfId, aeadId)
      return found && createHpkeSuite(found, hpkeCipher(found.aead))
    },
    generateKeyPair: async (kemId) => generateHpkeKeyPair(await kemAlgorithms(kemId)),
    importKeyPair: async (kemId, privateKey, publicKey) =>
      importHpkeKeyPair(await kemAlgorithms(kemId), privateKey, publicKey),
  }
}

type Noble = typeof import('@panva/hpke-noble')

const WEB_KEMS: ReadonlyMap<number, KEMFactory> = new Map([
  [KEM_X25519, KEM_DHKEM_X25519_HKDF_SHA256 as KEMFactory],
  [KEM_X_WING, KEM_MLKEM768_X25519],
])
const NOBLE_KEMS: ReadonlyMap<number, (noble: Noble) => KEMFactory> = new Map([
  [KEM_X25519, (noble: Noble) => noble.KEM_DHKEM_X25519_HKDF_SHA256],
  [KEM_X_WING, (noble: Noble) => noble.KEM_MLKEM768_X25519],
])
const WEB_AEADS: ReadonlyMap<number, AEADFactory> = new Map([
  [AEAD_AES_128_GCM, AES_128_GCM],
  [AEAD_CHACHA20_POLY1305, CHACHA20_POLY1305],
])
const NOBLE_AEADS: ReadonlyMap<number, (noble: Noble) => AEADFactory> = new Map([
  [AEAD_AES_128_GCM, (noble: Noble) => noble.AEAD_AES_128_GCM],
  [AEAD_CHACHA20_POLY1305, (noble: Noble) => noble.AEAD_ChaCha20Poly1305],
])

async function pick<Factory>(
  id: number,
  web: ReadonlyMap<number, Factory>,
  noble: ReadonlyMap<number, (noble: Noble) => Factory>,
  isSupported: (factory: Factory) => Promise<boolean>,
  mode: NonNullable<WebSuitesOptions['noble']>,
): Promise<Factory | undefined> {
  const native = web.get(id)
  if (native !== undefined && mode !== 'always' && (await isSupported(native))) return native
  return mode === 'never' ? undefined : noble.get(id)?.(await import('@panva/hpke-noble'))
}

/** The whole round is tried, because runtimes support parts of a KEM: keys without encapsulation, for one. */
async function isKemSupported(factory: KEMFactory): Promise<boolean> {
  try {
    const kem = factory()
    const pair = await kem.GenerateKeyPair(false)
    const publicKey = await kem.DeserializePublicKey(await kem.SerializePublicKey(pair.publicKey))
    const { enc } = await kem.Encap(publicKey)
    await kem.Decap(enc, pair.privateKey, pair.publicKey)
    return true
  } catch {
    // What a runtime throws for a missing algorithm differs; any failure of this round means it cannot be used here.
    return false
  }
}

async function isAeadSupported(factory: AEADFactory): Promise<boolean> {
  try {
    const aead = factory()
    await aead.Seal(new Uint8Array(aead.Nk), new Uint8Array(aead.Nn), new Uint8Array(), new Uint8Array())
    return true
  } catch {
    // As above.
    return false
  }
}

function once<Value>(cache: Map<number, Promise<Value>>, id: number, make: () => Promise<Value>): Promise<Value> {
  const known = cache.get(id)
  if (known !== undefined) return known
  const made = make()
  cache.set(id, made)
  // A failed load of the module (offline, for one) must not be remembered for good.
  made.catch(() => cache.delete(id))
  return made
}

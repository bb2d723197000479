/** X25519 and X-Wing on node:crypto, behind the KEM interface of the package `hpke`. @module */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { encode, I2OSP, type KEM, type Key, LabeledDerive, LabeledExpand, LabeledExtract } from 'hpke'
import { concatBytes, fromHex, toBase64 } from '#protocol/bytes.ts'
import { KEM_X_WING, KEM_X25519 } from '#protocol/sealing/suite.ts'
import { nodeHkdfSha256 } from './nodeAlgorithms.ts'

/** DHKEM(X25519, HKDF-SHA256), RFC 9180 section 4.1. Lengths: Nenc = Npk = Nsk = 32 bytes. */
export function nodeX25519(): KEM<NodeKey<KeyObject>> {
  const name = 'DHKEM(X25519, HKDF-SHA256)'
  const kdf = nodeHkdfSha256()
  const suiteId = concatBytes(encode('KEM'), I2OSP(KEM_X25519, 2))
  const empty = new Uint8Array()

  async function sharedSecret(dh: Uint8Array, enc: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> {
    const prk = await LabeledExtract(kdf, suiteId, empty, encode('eae_prk'), dh)
    return LabeledExpand(kdf, suiteId, prk, encode('shared_secret'), concatBytes(enc, publicKey), 32)
  }

  function keyPair(secret: KeyObject, extractable: boolean): NodeKeyPair<KeyObject> {
    const publicKey = createPublicKey(secret)
    const raw = rawX25519(publicKey)
    return {
      privateKey: new NodeKey(name, 'private', extractable, secret, raw, extractable ? rawPrivate(secret) : undefined),
      publicKey: new NodeKey(name, 'public', true, publicKey, raw),
    }
  }

  return {
    id: KEM_X25519,
    type: 'KEM',
    name,
    Nsecret: 32,
    Nenc: 32,
    Npk: 32,
    Nsk: 32,
    async DeriveKeyPair(ikm, extractable) {
      const prk = await LabeledExtract(kdf, suiteId, empty, encode('dkp_prk'), ikm)
      const secret = await LabeledExpand(kdf, suiteId, prk, encode('sk'), empty, 32)
      return keyPair(x25519Private(secret), extractable)
    },
    GenerateKeyPair: async (extractable) => keyPair(generateKeyPairSync('x25519').privateKey, extractable),
    SerializePublicKey: async (key) => key.publicKey.slice(),
    DeserializePublicKey: async (raw) => new NodeKey(name, 'public', true, x25519Public(raw), raw.slice()),
    SerializePrivateKey: async (key) => key.privateBytes(),
    DeserializePrivateKey: async (raw, extractable) => keyPair(x25519Private(raw), extractable).privateKey,
    async Encap(publicKey) {
      const ephemeral = await this.GenerateKeyPair(false)
      const enc = ephemeral.publicKey.publicKey
      const dh = exchangeX25519(ephemeral.privateKey.value, publicKey.value)
      return { shared_secret: await sharedSecret(dh, enc, publicKey.publicKey), enc }
    },
    Decap: async (enc, privateKey) =>
      sharedSecret(exchangeX25519(privateKey.value, x25519Public(enc)), enc, privateKey.publicKey),
  }
}

/**
 * X-Wing (draft-connolly-cfrg-xwing-kem), in HPKE MLKEM768-X25519 (draft-ietf-hpke-pq). Private key: a seed of 32 bytes.
 * Public key: ML-KEM-768 (1184) ‖ X25519 (32). enc: ML-KEM ciphertext (1088) ‖ X25519 ephemeral (32).
 */
export function nodeXWing(): KEM<NodeKey<XWingKeys>> {
  const name = 'MLKEM768-X25519'
  const suiteId = concatBytes(encode('KEM'), I2OSP(KEM_X_WING, 2))

  function keyPair(seed: Uint8Array, extractable: boolean): NodeKeyPair<XWingKeys> {
    const { keys, publicKey } = expandSeed(seed)
    return {
      privateKey: new NodeKey(name, 'private', extractable, keys, publicKey, extractable ? seed.slice() : undefined),
      publicKey: new NodeKey(name, 'public', true, xWingPublic(publicKey), publicKey),
    }
  }

  return {
    id: KEM_X_WING,
    type: 'KEM',
    name,
    Nsecret: 32,
    Nenc: ML_KEM_CIPHERTEXT_BYTES + 32,
    Npk: ML_KEM_PUBLIC_BYTES + 32,
    Nsk: 32,
    async DeriveKeyPair(ikm, extractable) {
      const shake = { Derive: async (input: Uint8Array, lengthBytes: number) => shake256(input, lengthBytes) }
      const seed = await LabeledDerive(shake, suiteId, ikm, encode('DeriveKeyPair'), new Uint8Array(), 32)
      return keyPair(seed, extractable)
    },
    GenerateKeyPair: async (extractable) => keyPair(randomBytes(32), extractable),
    SerializePublicKey: async (key) => key.publicKey.slice(),
    DeserializePublicKey: async (raw) => new NodeKey(name, 'public', true, xWingPublic(raw), raw.slice()),
    SerializePrivateKey: async (key) => key.privateBytes(),
    DeserializePrivateKey: async (seed, extractable) => keyPair(seed, extractable).privateKey,
    async Encap(publicKey) {
      const { sharedKey, ciphertext } = encapsulate(publicKey.value.mlKem)
      const ephemeral = generateKeyPairSync('x25519')
      const encX = rawX25519(ephemeral.publicKey)
      const dh = exchangeX25519(ephemeral.privateKey, publicKey.value.x25519)
      return {
        shared_secret: combine(sharedKey, dh, encX, publicKey.publicKey.subarray(ML_KEM_PUBLIC_BYTES)),
        enc: concatBytes(ciphertext, encX),
      }
    },
    async Decap(enc, privateKey) {
      const encX = enc.subarray(ML_KEM_CIPHERTEXT_BYTES)
      const sharedKey = decapsulate(privateKey.value.mlKem, enc.subarray(0, ML_KEM_CIPHERTEXT_BYTES))
      const dh = exchangeX25519(privateKey.value.x25519, x25519Public(encX))
      return combine(sharedKey, dh, encX, privateKey.publicKey.subarray(ML_KEM_PUBLIC_BYTES))
    },
  }
}

const ML_KEM_PUBLIC_BYTES = 1184
const ML_KEM_CIPHERTEXT_BYTES = 1088
const ML_KEM_SEED_BYTES = 64

// DER in front of the raw key: PKCS#8 and SubjectPublicKeyInfo (RFC 8410 for X25519; for ML-KEM-768 the form that
// carries the seed only). node:crypto takes no raw keys of these kinds in every supported version.
const X25519_PKCS8 = fromHex('0x302e020100300506032b656e04220420')
const X25519_SPKI = fromHex('0x302a300506032b656e032100')
const ML_KEM_PKCS8 = fromHex('0x3054020100300b060960864801650304040204428040')
const ML_KEM_SPKI = fromHex('0x308204b2300b0609608648016503040402038204a100')
/** The label of X-Wing, `\.//^\` in ASCII. */
const X_WING_LABEL = fromHex('0x5c2e2f2f5e5c')

interface XWingKeys {
  readonly mlKem: KeyObject
  readonly x25519: KeyObject
}

interface NodeKeyPair<Value> {
  readonly privateKey: NodeKey<Value>
  readonly publicKey: NodeKey<Value>
}

/** A key in the shape that `hpke` asks for. Holds private bytes only when it is extractable. */
class NodeKey<Value> implements Key {
  readonly algorithm: { name: string }
  readonly type: 'private' | 'public'
  readonly extractable: boolean
  readonly value: Value
  /** The public key's bytes, of a private key too: decapsulation hashes them in. */
  readonly publicKey: Uint8Array
  readonly #privateBytes: Uint8Array | undefined

  constructor(
    name: string,
    type: 'private' | 'public',
    extractable: boolean,
    value: Value,
    publicKey: Uint8Array,
    privateBytes?: Uint8Array,
  ) {
    this.algorithm = { name }
    this.type = type
    this.extractable = extractable
    this.value = value
    this.publicKey = publicKey
    this.#privateBytes = privateBytes
  }

  privateBytes(): Uint8Array {
    if (this.#privateBytes === undefined) throw new TypeError('the private key is not extractable')
    return this.#privateBytes.slice()
  }
}

function expandSeed(seed: Uint8Array): { keys: XWingKeys; publicKey: Uint8Array } {
  const expanded = shake256(seed, ML_KEM_SEED_BYTES + 32)
  const mlKem = privateKeyOf(ML_KEM_PKCS8, expanded.subarray(0, ML_KEM_SEED_BYTES))
  const x25519 = x25519Private(expanded.subarray(ML_KEM_SEED_BYTES))
  expanded.fill(0)
  const mlKemPublic = createPublicKey(mlKem).export({ format: 'der', type: 'spki' }).subarray(-ML_KEM_PUBLIC_BYTES)
  return { keys: { mlKem, x25519 }, publicKey: concatBytes(mlKemPublic, rawX25519(createPublicKey(x25519))) }
}

function xWingPublic(raw: Uint8Array): XWingKeys {
  return {
    mlKem: publicKeyOf(ML_KEM_SPKI, raw.subarray(0, ML_KEM_PUBLIC_BYTES)),
    x25519: x25519Public(raw.subarray(ML_KEM_PUBLIC_BYTES)),
  }
}

function combine(ssM: Uint8Array, ssX: Uint8Array, ctX: Uint8Array, pkX: Uint8Array): Uint8Array {
  const hash = createHash('sha3-256')
  for (const part of [ssM, ssX, ctX, pkX, X_WING_LABEL]) hash.update(part)
  return new Uint8Array(hash.digest())
}

function shake256(input: Uint8Array, lengthBytes: number): Uint8Array {
  return new Uint8Array(createHash('shake256', { outputLength: lengthBytes }).update(input).digest())
}

/** Refuses the all-zero result of a public key of small order (RFC 7748 section 6.1); OpenSSL fails on it as well. */
function exchangeX25519(privateKey: KeyObject, publicKey: KeyObject): Uint8Array {
  const dh = diffieHellman({ privateKey, publicKey })
  if (dh.every((byte) => byte === 0)) throw new RangeError('the public key is of small order')
  return dh
}

function x25519Private(raw: Uint8Array): KeyObject {
  return privateKeyOf(X25519_PKCS8, raw)
}

/**
 * A key of another's, once for every request: as text it takes a third of the time, because Node 24 finds out what an object is by throwing
 * errors. `raw` has 32 bytes: of public keys `hpke` checks it.
 */
function x25519Public(raw: Uint8Array): KeyObject {
  return createPublicKey(
    `-----BEGIN PUBLIC KEY-----\n${toBase64(concatBytes(X25519_SPKI, raw))}\n-----END PUBLIC KEY-----\n`,
  )
}

function rawX25519(publicKey: KeyObject): Uint8Array {
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(X25519_SPKI.length))
}

function rawPrivate(privateKey: KeyObject): Uint8Array {
  return new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(X25519_PKCS8.length))
}

function privateKeyOf(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  const der = Buffer.concat([prefix, raw])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  der.fill(0)
  return key
}

function publicKeyOf(prefix: Uint8Array, raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([prefix, raw]), format: 'der', type: 'spki' })
}

/**
 * Where the secret keys of keysets come from: born in this enclave at boot and never written down, handed over by another issuer's enclave
 * (handoverTaker.ts), or read from files, for development: whoever reads those can make credits.
 * @module
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import * as v from 'valibot'
import { AppError } from '#node/appError.ts'
import { concatBytes, fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { DENOMINATION_COUNT } from '#protocol/credits/amounts.ts'
import { publicKeyOf } from '#protocol/credits/blindSignature.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { encodeEip2537G2, GROUP_ORDER } from '#protocol/credits/points.ts'
import { decodeScalar, encodeScalar, reduceWide } from '#protocol/credits/scalar.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import type { IssuerDomain } from '#protocol/wire/issuerApi.ts'
import { hexOf, parseJson, type Schema, toJson, WireError } from '#protocol/wire/json.ts'

/** Keysets that are there at boot, with their secret keys. */
export type KeysetKeys = {
  /** Newest first; none for an issuer that is given its keysets. Throws `AppError` (`BAD_CONFIG`). */
  read(): Promise<readonly SecretKeyset[]>
}

export type KeysConfig = GeneratedKeysConfig | KeysetFilesConfig | HandedKeysConfig

/** One keyset with fresh keys, whose phases follow one another from boot on. Exits last at least 365 days. */
export type GeneratedKeysConfig = {
  readonly generate: { readonly signDays: number; readonly spendDays: number; readonly exitDays: number }
}

/**
 * A standby: the keysets of the issuers at `from`, base URLs, which hand them over. `predecessors` are measurements that are believed there
 * besides our own.
 */
export type HandedKeysConfig = { readonly from: readonly string[]; readonly predecessors?: readonly Hex[] }

/** `secretKeys[i]` (32 bytes) signs credits of 2^i units. `id` is the keyset's on chain. */
export type SecretKeyset = { readonly id: Hex; readonly keyset: Keyset; readonly secretKeys: readonly Uint8Array[] }

/** When a keyset's phases end, in seconds since the epoch. */
export type KeysetTimes = Pick<Keyset, 'signUntil' | 'spendUntil' | 'exitUntil'>

/** `allowDevelopment` takes them also on a chain that is not local. */
export type KeysetFilesConfig = { readonly files: readonly string[]; readonly allowDevelopment?: boolean }

/** The port that the configuration asks for. `nowSeconds` since the epoch. Throws `AppError` (`BAD_CONFIG`). */
export function createKeysetKeys(config: KeysConfig, domain: IssuerDomain, nowSeconds: number): KeysetKeys {
  if ('files' in config) return createFileKeys(config, domain)
  if ('from' in config) return { read: async () => [] }
  return { read: async () => [generateKeyset(domain, timesFrom(config, nowSeconds))] }
}

const DAY_SECONDS = 86_400

function timesFrom({ generate }: GeneratedKeysConfig, nowSeconds: number): KeysetTimes {
  const signUntil = Math.floor(nowSeconds) + generate.signDays * DAY_SECONDS
  const spendUntil = signUntil + generate.spendDays * DAY_SECONDS
  return { signUntil, spendUntil, exitUntil: spendUntil + generate.exitDays * DAY_SECONDS }
}

/** Keys in files. Throws `AppError` (`BAD_CONFIG`) on a chain that is not local, unless `allowDevelopment` says that it may be so. */
export function createFileKeys(config: KeysetFilesConfig, domain: IssuerDomain): KeysetKeys {
  if (!isLocalChain(domain.chainId) && config.allowDevelopment !== true) {
    const advice = 'set keys.allowDevelopment to true if that is what you want'
    throw new AppError('BAD_CONFIG', `chain ${domain.chainId} is not local and keys in a file are no secret: ${advice}`)
  }
  return { read: async () => config.files.map((path) => readKeysetFile(path, domain)) }
}

/** A keyset with 24 fresh keys. Throws `CreditError` for phases out of order. */
export function generateKeyset(domain: IssuerDomain, times: KeysetTimes): SecretKeyset {
  const secretKeys = Array.from({ length: DENOMINATION_COUNT }, () =>
    // 64 bytes reduce to a scalar without a bias that matters.
    encodeScalar(reduceWide(new Uint8Array(randomBytes(64)), GROUP_ORDER)),
  )
  return secretKeyset(domain, times, secretKeys)
}

/** What `openKeyset` of the vault takes for the keys: 24 points of 256 bytes. */
export function encodeKeys({ keys }: Keyset): Uint8Array {
  return concatBytes(...keys.map(encodeEip2537G2))
}

/** Writes a key file that only its owner may read. Never over another one. */
export function writeKeysetFile(path: string, { keyset, secretKeys }: SecretKeyset): void {
  const { signUntil, spendUntil, exitUntil } = keyset
  const file: KeysetFile = {
    format: 'sealpath-keyset-keys/1',
    signUntil,
    spendUntil,
    exitUntil,
    secretKeys: secretKeys.map(toHex),
  }
  writeFileSync(path, `${toJson(file, 2)}\n`, { mode: 0o600, flag: 'wx' })
}

type KeysetFile = KeysetTimes & { readonly format: 'sealpath-keyset-keys/1'; readonly secretKeys: readonly Hex[] }

const time = v.pipe(v.number(), v.integer(), v.minValue(0))
const KeysetFileSchema: Schema<KeysetFile> = v.object({
  format: v.literal('sealpath-keyset-keys/1'),
  signUntil: time,
  spendUntil: time,
  exitUntil: time,
  secretKeys: v.pipe(v.array(hexOf(32)), v.length(DENOMINATION_COUNT)),
})

function readKeysetFile(path: string, domain: IssuerDomain): SecretKeyset {
  try {
    const file = parseJson(KeysetFileSchema, readFileSync(path, 'utf8'), 'keyset file')
    const keys = file.secretKeys.map((key) => fromHex(key, 32))
    return secretKeyset(domain, file, keys)
  } catch (cause) {
    // None of these messages quotes the file.
    const reason = cause instanceof WireError || cause instanceof CreditError ? cause.message : 'it cannot be read'
    throw new AppError('BAD_CONFIG', `${path} holds no keyset: ${reason}`)
  }
}

/** The keyset that these keys (32 bytes each) are the secret of. Throws `CreditError` for keys that give none. */
export function secretKeyset(
  domain: IssuerDomain,
  times: KeysetTimes,
  secretKeys: readonly Uint8Array[],
): SecretKeyset {
  const { signUntil, spendUntil, exitUntil } = times
  const keys = secretKeys.map((key) => publicKeyOf(decodeScalar(key)))
  const { chainId, vault } = domain
  const keyset = { chainId, vault, keys, signUntil, spendUntil, exitUntil }
  return { id: hashKeyset(keyset), keyset, secretKeys }
}

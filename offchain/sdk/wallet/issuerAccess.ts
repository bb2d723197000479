/** What a wallet says to an issuer, sealed and through a relay: the issuer never learns who asks. @module */
import { decodeUtf8, encodeUtf8, type Hex, toBase64 } from '#protocol/bytes.ts'
import { encodeMultipleG1 } from '#protocol/credits/points.ts'
import type { Purchase } from '#protocol/credits/purchase.ts'
import { hashIssueRequest, hashOutputs } from '#protocol/credits/purchase.ts'
import { signDigest } from '#protocol/receipt/head.ts'
import type { SealingSuites } from '#protocol/sealing/suite.ts'
import { ApiErrorSchema } from '#protocol/wire/aggregatorApi.ts'
import {
  type ChangeTile,
  ChangeTileSchema,
  IssueAnswerSchema,
  type IssuerKeysets,
  IssuerKeysetsSchema,
  type SpentPage,
  SpentPageSchema,
} from '#protocol/wire/issuerApi.ts'
import { parseJson, type Schema, toJson } from '#protocol/wire/json.ts'
import { SealpathError } from '../errors.ts'
import { findIssuers, type Network, type TrustedGateway } from '../gateway.ts'
import type { RelayFetch } from '../options.ts'
import { callThroughRelay } from '../relayCall.ts'

export type IssuerAccess = {
  readonly enclave: Hex
  keysets(): Promise<IssuerKeysets>
  /** Asks for a purchase's blind signatures. Repeating it answers the same. */
  issue(purchase: Purchase): Promise<readonly Uint8Array[]>
  /** Payments whose locators begin with `prefix`: hex without 0x, and may be empty. */
  changeTile(prefix: string): Promise<ChangeTile>
  /** Spent credits from number `from` on. */
  spentPage(from: number): Promise<SpentPage>
}

export type IssuerAccessOptions = {
  readonly suites: SealingSuites
  /** As found behind the relay and checked. */
  readonly issuer: TrustedGateway
  readonly chainId: number
  readonly vault: Hex
  readonly keyset: Hex
  readonly timeoutMs: number
  /** As in `ConnectOptions`. */
  readonly fetch?: RelayFetch | undefined
}

/** An issuer that writes a keyset, and how to ask it. */
export type WalletIssuer = { readonly enclave: TrustedGateway; readonly access: IssuerAccess }

/** The issuer behind the network's relay that writes this keyset. Throws `SealpathError` (`NO_GATEWAY`) and what looking for it throws. */
export async function findKeysetIssuer(
  network: Network,
  options: Omit<IssuerAccessOptions, 'issuer'>,
): Promise<WalletIssuer> {
  const issuers = await findIssuers(network, {}, BigInt(Math.floor(Date.now() / 1000)))
  let failure: unknown
  for (const enclave of issuers) {
    const access = accessIssuer({ fetch: network.fetch, ...options, issuer: enclave })
    try {
      if ((await access.keysets()).keysets.includes(options.keyset)) return { enclave, access }
    } catch (error) {
      // One issuer that does not answer must not keep wallets from the others.
      failure = error
    }
  }
  throw new SealpathError('NO_GATEWAY', "no issuer behind this relay writes the wallet's keyset", { cause: failure })
}

/** Every call throws `SealpathError`: `RELAY_FAILED`, and `ISSUER_REFUSED` with the issuer's code as its reason. */
export function accessIssuer(options: IssuerAccessOptions): IssuerAccess {
  const { issuer, keyset, chainId, vault } = options
  const get = <T>(path: string, schema: Schema<T>): Promise<T> => call(options, 'GET', path, new Uint8Array(), schema)
  return {
    enclave: issuer.enclave,
    keysets: () => get('/v1/keysets', IssuerKeysetsSchema),
    async issue({ claimKey, claimPrivateKey, outputs }) {
      const digest = hashIssueRequest({ keyset, claimKey, outputsHash: hashOutputs(outputs) }, { chainId, vault })
      const body = toJson({
        keyset,
        claimKey,
        outputs: outputs.map(({ exponent, blinded }) => ({ exponent, blinded: toBase64(encodeMultipleG1(blinded)) })),
        signature: signDigest(digest, claimPrivateKey),
      })
      return (await call(options, 'POST', '/v1/issue', encodeUtf8(body), IssueAnswerSchema)).signatures
    },
    changeTile: (prefix) => get(`/v1/change/${keyset}/${prefix}`, ChangeTileSchema),
    spentPage: (from) => get(`/v1/spent/${keyset}/${from}`, SpentPageSchema),
  }
}

async function call<T>(
  { issuer, ...how }: IssuerAccessOptions,
  method: 'GET' | 'POST',
  path: string,
  body: Uint8Array,
  schema: Schema<T>,
): Promise<T> {
  const answer = await callThroughRelay(how, issuer, { method, path, body })
  const text = decodeUtf8(answer.body)
  if (answer.status === 200) return parseJson(schema, text, 'issuer answer')
  const { error } = parseJson(ApiErrorSchema, text, 'issuer error')
  throw new SealpathError('ISSUER_REFUSED', error.message, { reason: error.code })
}

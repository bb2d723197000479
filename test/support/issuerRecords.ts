/** What anybody can ask an issuer for. @module */
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { callSealed } from '#node/sealing/sealedCall.ts'
import { decodeUtf8, encodeUtf8, type Hex, toHex } from '#protocol/bytes.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { ChangeTileSchema, SPENT_ID_BYTES, type SpentPage, SpentPageSchema } from '#protocol/wire/issuerApi.ts'
import { parseJson, type Schema, toJson } from '#protocol/wire/json.ts'
import type { IssuerRecords } from './creditAuditor.ts'

const suites = createNodeSuites()

/** Everything that the issuer publishes of a keyset. */
export async function readIssuer(url: string, keyset: Hex): Promise<IssuerRecords> {
  const { payments } = await askIssuer(url, ChangeTileSchema, 'GET', `/v1/change/${keyset}/`)
  const spent: string[] = []
  let from: number | undefined = 0
  while (from !== undefined) {
    const page: SpentPage = await askIssuer(url, SpentPageSchema, 'GET', `/v1/spent/${keyset}/${from}`)
    for (let i = 0; i < page.ids.length; i += SPENT_ID_BYTES) {
      spent.push(toHex(page.ids.subarray(i, i + SPENT_ID_BYTES)).slice(2))
    }
    from = page.next
  }
  return { spent, payments }
}

/** Asks an issuer as anybody may. Throws what it refuses with. */
export async function askIssuer<T>(
  url: string,
  schema: Schema<T>,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<T> {
  const keys = new Uint8Array(await (await fetch(`${url}/ohttp-keys`)).arrayBuffer())
  const [config] = parseKeyConfigList(keys)
  if (config === undefined) throw new Error('expected a key to seal to')
  const sent = { method, path, body: encodeUtf8(body === undefined ? '' : toJson(body)) }
  const answer = await callSealed({ suites, url: `${url}/gateway`, config, timeoutMs: 15_000 }, sent)
  const text = decodeUtf8(answer.body)
  if (answer.status !== 200) throw new Error(text)
  return parseJson(schema, text, 'answer')
}

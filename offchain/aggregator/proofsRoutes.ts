/** Proofs over HTTP, one at a time or in bulk. @module */
import { createHash } from 'node:crypto'
import type { Context, Hono } from 'hono'
import { fromHex } from '#protocol/bytes.ts'
import {
  type LeafProof,
  type LeafProofs,
  PROOF_LEAVES_MAX,
  ProofsRequestSchema,
  type ProvenHead,
} from '#protocol/wire/aggregatorApi.ts'
import { hash, parseJson, toJson, uintOf } from '#protocol/wire/json.ts'
import { answer, answerJson, atMost, bodyMax, FOR_EVER, parameter, queryParameter, refuse } from './appAnswers.ts'
import { type LeafState, type Prover, settledLeafOf } from './proofs.ts'

/** A leaf takes 69 bytes of JSON; white space takes the rest. */
const BODY_BYTES_MAX = PROOF_LEAVES_MAX * 128
/** Requests for proofs at once. */
const OPEN_MAX = 32

export function addProofRoutes(app: Hono, { prover }: { readonly prover: Prover }): void {
  const turnstile = atMost(OPEN_MAX)

  app.get('/v1/proofs/:leaf', turnstile, async (c) => {
    const leaf = fromHex(parameter(c, 'leaf', hash), 32)
    const [state = { state: 'unknown' }] = await prover.prove([leaf], queryParameter(c, 'size', uintOf(53)))
    if (state.state === 'unknown') return notKept(refuse('NOT_FOUND', 'no log delivered here has this leaf'))
    if (state.state === 'pending') return notKept(answer({ state: 'pending' }, 202))
    return answerTagged(c, settledLeafOf(state), state.head.isFinal)
  })

  const leavesBytes = bodyMax(BODY_BYTES_MAX, `expected at most ${PROOF_LEAVES_MAX} leaves`)
  app.post('/v1/proofs', turnstile, leavesBytes, async (c) => {
    const { leaves, size } = parseJson(ProofsRequestSchema, await c.req.text(), 'request for proofs')
    const states = await prover.prove(
      leaves.map((leaf) => fromHex(leaf, 32)),
      size,
    )
    return notKept(answerJson(serializeProofs(gatherProofs(states))))
  })
}

/** Each head once, however many leaves were proven at it. */
function gatherProofs(states: readonly LeafState[]): LeafProofs {
  const heads: ProvenHead[] = []
  const positions = new Map<string, number>()
  const proofs = states.map((state): LeafProof => {
    if (state.state !== 'settled') return { state: state.state }
    const key = `${state.head.batch}/${state.head.batchIndex}`
    let head = positions.get(key)
    if (head === undefined) {
      const { index, logPath, ...shared } = settledLeafOf(state)
      head = heads.push({ ...shared, isFinal: state.head.isFinal }) - 1
      positions.set(key, head)
    }
    return { state: 'settled', head, index: BigInt(state.index), logPath: state.logPath }
  })
  return { heads, proofs }
}

/** What `toJson` would write; the paths, nearly all of it, are strings already and need no look at each entry. */
function serializeProofs({ heads, proofs }: LeafProofs): string {
  const entries = proofs.map((proof) =>
    JSON.stringify(proof.state === 'settled' ? { ...proof, index: proof.index.toString() } : proof),
  )
  return `{"heads":${toJson(heads)},"proofs":[${entries.join(',')}]}`
}

/** A settled proof stays as it is once its block is final; until then whoever keeps it has to ask whether it still holds. */
function answerTagged(c: Context, value: unknown, isFinal: boolean): Response {
  const body = toJson(value)
  const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  const headers = { etag: tag, 'cache-control': isFinal ? FOR_EVER : 'public, no-cache' }
  const known = c.req
    .header('if-none-match')
    ?.split(',')
    .map((each) => each.trim().replace(/^W\//, ''))
  if (known?.includes(tag) === true || known?.includes('*') === true)
    return new Response(null, { status: 304, headers })
  return new Response(body, { headers: { ...headers, 'content-type': 'application/json' } })
}

function notKept(response: Response): Response {
  response.headers.set('cache-control', 'no-store')
  return response
}

/** Serves logs' trees in tiles, so that anybody makes proofs alone (protocol/log/tiles.ts). What is served never changes. @module */
import type { Hono } from 'hono'
import { TILE_HEIGHT, TILE_WIDTH } from '#protocol/log/tiles.ts'
import { address, uintOf } from '#protocol/wire/json.ts'
import { FOR_EVER, parameter, queryParameter, refuse } from './appAnswers.ts'
import type { ProofStore } from './proofsStore.ts'

/** A log has below 2^53 leaves. */
const LEVEL_MAX = Math.floor(53 / TILE_HEIGHT)

export function addTileRoutes(app: Hono, { tiles }: { readonly tiles: Pick<ProofStore, 'readTile'> }): void {
  app.get('/v1/tiles/:enclave/:level/:index', async (c) => {
    const enclave = parameter(c, 'enclave', address)
    const level = Number(parameter(c, 'level', uintOf(8)))
    const index = Number(parameter(c, 'index', uintOf(53 - TILE_HEIGHT)))
    const width = Number(queryParameter(c, 'width', uintOf(16)) ?? TILE_WIDTH)
    if (width < 1 || width > TILE_WIDTH) return refuse('BAD_REQUEST', `expected a width from 1 to ${TILE_WIDTH}`)
    const nodes = level > LEVEL_MAX ? undefined : await tiles.readTile(enclave, level, index, width)
    if (nodes === undefined) return refuse('NOT_FOUND', 'the log does not have so many nodes there')
    return new Response(new Uint8Array(nodes), {
      headers: { 'content-type': 'application/octet-stream', 'cache-control': FOR_EVER },
    })
  })
}

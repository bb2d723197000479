/** Serves the stream of settlements (events.ts). @module */
import type { HttpBindings } from '@hono/node-server'
import type { Hono } from 'hono'
import * as v from 'valibot'
import { parseShape, uintOf } from '#protocol/wire/json.ts'
import { queryParameter, refuse } from './appAnswers.ts'
import type { SettlementFeed } from './events.ts'

export function addEventRoutes(app: Hono, { feed }: { readonly feed: SettlementFeed }): void {
  app.get('/v1/settlements', async (c) => {
    const from = queryParameter(c, 'from', uintOf(63))
    const last = c.req.header('last-event-id') ?? ''
    const seen = last === '' ? undefined : parseShape(v.pipe(v.unknown(), uintOf(63)), last, 'last-event-id')
    // There is no connection where the app is asked without a server.
    const { outgoing } = (c.env ?? {}) as Partial<HttpBindings>
    const stream = await feed.open({ from, seen }, () => outgoing?.destroy())
    if (stream === undefined) return refuse('BUSY', 'as many listeners as fit are here')
    return new Response(stream, {
      headers: {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        // Proxies that collect answers before they pass them on are told not to.
        'x-accel-buffering': 'no',
      },
    })
  })
}

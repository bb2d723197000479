/** The server that scripts/bench/sealing.ts measures: the same echo in plaintext and behind the seal. @module */
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { stream } from 'hono/streaming'
import { generateGatewayKey, KeyRing } from '#node/sealing/keyRing.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { KEM_X_WING } from '#protocol/sealing/suite.ts'
import { parsePaddingMode } from '#protocol/shape.ts'
import { shapeEvents } from '../../gateway/shape.ts'

const EVENTS = 200
const EVENT = encodeUtf8(`data: {"choices":[{"index":0,"delta":{"content":"${'word '.repeat(8)}"}}]}\n\n`)

const suites = createNodeSuites()
const keys = new KeyRing()
keys.add(await generateGatewayKey(suites, 0, KEM_X_WING))
const sealed = createSealedServer({
  keys,
  suites,
  replay: new ReplayMemory(Date.now),
  handle: async (inner) => ({
    status: 200,
    headers: [['content-type', 'application/json']],
    body: inner.path.startsWith('/events/') ? shapeEvents(events(), parsePaddingMode(inner.path.slice(8))) : inner.body,
  }),
})

const app = new Hono()
app.post('/echo', async (c) => c.body(await c.req.arrayBuffer(), 200, { 'content-type': 'application/json' }))
app.post('/events', async (c) => {
  await c.req.arrayBuffer()
  c.header('content-type', 'text/event-stream')
  return stream(c, async (writer) => {
    for await (const event of events()) await writer.write(event)
  })
})
app.get('/ohttp-keys', (c) => c.body(keys.encode()))
app.post('/gateway', (c) => sealed(c.req.raw))

/** Each event is a read of its own, in a turn of the event loop of its own, as from a model server that writes them one by one. */
async function* events(): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < EVENTS; i++) {
    await new Promise((resolve) => setImmediate(resolve))
    yield EVENT
  }
}

const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  process.send?.(`http://127.0.0.1:${port}`)
})
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpuMicros: user + system })
})
process.on('disconnect', () => server.close(() => process.exit(0)))

/** Connections to a gateway. What a relay does with them: app.test.ts, flow.test.ts and tls.test.ts. @module */
import { once } from 'node:events'
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { RelayStage } from '../../test/support/relayStage.ts'
import { RELAY_LIMITS } from './config.ts'
import { createGatewayRoute } from './gatewayRoute.ts'

const stage = new RelayStage()
afterEach(() => stage.close())

/** Ends a request, takes its whole answer, and says on which connection. */
async function socketOf(request: ClientRequest): Promise<Socket> {
  const [[socket], [answer]] = (await Promise.all([once(request, 'socket'), once(request.end(), 'response')])) as [
    [Socket],
    [IncomingMessage],
  ]
  answer.resume()
  await once(answer, 'end')
  return socket
}

test('256 connections are kept for the next requests, and all above are closed once they are idle', async () => {
  const waiting: ServerResponse[] = []
  // Answers nobody before all are there, so that each has a connection of its own.
  const url = await stage.gateway((_request, response) => {
    waiting.push(response)
    if (waiting.length === 260) for (const each of waiting) each.end('ok')
  })
  const route = createGatewayRoute({ name: 'g', url }, RELAY_LIMITS)
  const sockets = await Promise.all(Array.from({ length: 260 }, () => socketOf(route.open({}))))
  expect(new Set(sockets).size).toBe(260)
  await setImmediate()
  expect(sockets.filter(({ destroyed }) => !destroyed)).toHaveLength(256)
})

test('a connection is used no more two seconds before the gateway closes it', async () => {
  // Node's servers close after five, and say so.
  const url = await stage.gateway((_request, response) => void response.end('ok'))
  const route = createGatewayRoute({ name: 'g', url }, RELAY_LIMITS)
  const first = await socketOf(route.open({}))
  await setImmediate()
  expect(await socketOf(route.open({}))).toBe(first)
  await sleep(3_500)
  expect(first.destroyed).toBe(true)
  expect(await socketOf(route.open({}))).not.toBe(first)
})

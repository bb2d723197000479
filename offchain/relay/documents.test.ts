/** A gateway's public documents through a relay: how long they may be, and what a connection that ends costs. Which there are: app.test.ts. @module */
import type { Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type GatewayHandler, RelayStage } from '../../test/support/relayStage.ts'

let stage: RelayStage

beforeEach(() => {
  stage = new RelayStage()
})

afterEach(() => stage.close())

const start = (handler: GatewayHandler) => stage.start(handler)

test('serves documents of up to 65,536 bytes, and nothing of a larger one or of an error', async () => {
  const largest = await start((_message, response) => response.writeHead(200).end(Buffer.alloc(65_536)))
  expect((await (await fetch(`${largest.url}/gateways/g/evidence`)).bytes()).length).toBe(65_536)
  const { url } = await start((message, response) => {
    if (message.url === '/evidence') response.writeHead(200).end(Buffer.alloc(65_537))
    else response.writeHead(500).end('mark')
  })
  expect((await fetch(`${url}/gateways/g/evidence`)).status).toBe(502)
  const keys = await fetch(`${url}/gateways/g/ohttp-keys`)
  expect([keys.status, (await keys.text()).includes('mark')]).toEqual([502, false])
})

test('asks for a document again when a kept connection ends as it is used, and only then', async () => {
  const asked = new Map<Socket, number>()
  let resets = 0
  let isDown = false
  const { url } = await start((message, response) => {
    const before = asked.get(message.socket) ?? 0
    asked.set(message.socket, before + 1)
    if (before === 0 && !isDown) return void response.writeHead(200).end('{}')
    resets++
    message.socket.resetAndDestroy()
  })
  const statusOf = async (): Promise<number> => {
    const response = await fetch(`${url}/gateways/g/evidence`)
    await response.arrayBuffer()
    return response.status
  }
  for (let i = 0; i < 3; i++) expect(await statusOf()).toBe(200)
  expect([resets, asked.size]).toEqual([2, 3])
  isDown = true
  // The kept one and a new one: what a new one does not answer is not there.
  expect(await statusOf()).toBe(502)
  expect([resets, asked.size]).toEqual([4, 4])
})

/** A gate that forwards, holds, passes on and drops. @module */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Gate, openGate } from './gate.ts'

let target: Server
let gate: Gate
let received: string[]
beforeEach(async () => {
  received = []
  target = createServer((request, response) => {
    let body = ''
    request.on('data', (part: Buffer) => {
      body += part.toString()
    })
    request.on('end', () => {
      received.push(body)
      response.end(`got ${body}`)
    })
  })
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
  gate = await openGate(`http://127.0.0.1:${(target.address() as AddressInfo).port}`)
})
afterEach(async () => {
  await gate.close()
  target.closeAllConnections()
  await new Promise((resolve) => target.close(resolve))
})

const ask = async (body: string, signal?: AbortSignal) => {
  const response = await fetch(gate.url, { method: 'POST', body, ...(signal === undefined ? {} : { signal }) })
  return response.text()
}

it('forwards what it does not hold', async () => {
  expect(await ask('one')).toBe('got one')
  expect(received).toEqual(['one'])
})

it('holds the request that is meant, and only that one, until it is passed on', async () => {
  const hold = gate.hold({ part: 'request', of: ({ bytes }) => bytes > 3, number: 2 })
  expect([await ask('one'), await ask('first')]).toEqual(['got one', 'got first'])
  const held = ask('second')
  await hold.arrived
  expect(await ask('third')).toBe('got third')
  expect(received).not.toContain('second')
  hold.pass()
  expect(await held).toBe('got second')
})

it('loses a request that is dropped: nobody gets it, and its sender sees that', async () => {
  const hold = gate.hold({ part: 'request' })
  const held = ask('lost')
  held.catch(() => undefined)
  await hold.arrived
  hold.drop()
  await expect(held).rejects.toThrow()
  expect(received).toEqual([])
})

it('delivers a held request although its sender has left', async () => {
  const hold = gate.hold({ part: 'request' })
  const leaving = new AbortController()
  const held = ask('late', leaving.signal)
  held.catch(() => undefined)
  await hold.arrived
  leaving.abort()
  await expect(held).rejects.toThrow()
  const answered = gate.hold({ part: 'response' })
  hold.pass()
  await expect.poll(() => received).toEqual(['late'])
  answered.drop()
})

it('holds a response when the receiver has answered, and loses it when it is dropped', async () => {
  const hold = gate.hold({ part: 'response' })
  const held = ask('answered')
  held.catch(() => undefined)
  await hold.arrived
  expect(received).toEqual(['answered'])
  hold.drop()
  await expect(held).rejects.toThrow()
})

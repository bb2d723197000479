/** Who waits for whom: backpressure both ways, ends that stall, and the end of the relay itself. @module */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { OHTTP_CHUNKED_REQUEST, OHTTP_CHUNKED_RESPONSE, PROBLEM_JSON } from '#protocol/sealing/mediaTypes.ts'
import { bodyOf, echo, flood, type GatewayHandler, post, RelayStage, settled } from '../../test/support/relayStage.ts'
import { until } from '../../test/support/until.ts'

const MIB = 1024 * 1024
let stage: RelayStage
const sockets: Socket[] = []

beforeEach(() => {
  stage = new RelayStage()
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await stage.close()
})

/** A connection to the relay on which a test speaks HTTP by hand. */
async function dial(url: string): Promise<{ socket: Socket; said: () => string; closed: Promise<void> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  sockets.push(socket)
  let text = ''
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => {})
  socket.on('data', (data: Buffer) => {
    text += data.toString('latin1')
  })
  await once(socket, 'connect')
  return { socket, said: () => text, closed }
}

function head(bodyBytes: number): string {
  return `POST /gateways/g HTTP/1.1\r\nhost: relay\r\ncontent-type: ${OHTTP_CHUNKED_REQUEST}\r\ncontent-length: ${bodyBytes}\r\n\r\n`
}

/** Takes the head of a request and nothing of its body. */
const deaf: GatewayHandler = (message, response) => {
  message.pause()
  message.on('error', () => {})
  response.on('error', () => {})
}

describe('passes bytes on only as fast as they are taken', () => {
  test('stops the gateway when the client does not read', async () => {
    let written = 0
    const { url, state } = await stage.start(
      flood(400 * MIB, (bytes) => {
        written = bytes
      }),
    )
    const abort = new AbortController()
    const reader = (await post(url, { signal: abort.signal })).body?.getReader()
    await reader?.read()
    // What is under way is in the buffers of sockets: the relay itself holds no more than two of its own.
    expect(await settled(() => written, 100)).toBeLessThan(32 * MIB)
    expect(state.openRequests).toBe(1)
    abort.abort()
  })

  test('goes on where it stopped when the client reads again', async () => {
    const bytesMax = 48 * MIB
    const { url } = await stage.start(flood(bytesMax, () => {}))
    const reader = (await post(url)).body?.getReader()
    let read = (await reader?.read())?.value?.length ?? 0
    await sleep(150)
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) read += next.value.length
    expect(read).toBe(bytesMax)
  })

  test('stops the client when the gateway does not read', async () => {
    // That the client has left shows behind the bytes that nobody reads: only the stall ends this exchange.
    const { url } = await stage.start(deaf, { requestBytesMax: 1_024 * MIB, gatewayStallTimeoutMs: 1_500 })
    const { socket } = await dial(url)
    socket.write(head(400 * MIB))
    const chunk = Buffer.alloc(65_536)
    const pump = (): void => {
      while (!socket.destroyed && socket.bytesWritten < 400 * MIB) {
        if (socket.write(chunk)) continue
        socket.once('drain', pump)
        return
      }
    }
    pump()
    expect(await settled(() => socket.bytesWritten, 100)).toBeLessThan(32 * MIB)
  })
})

describe('cuts whoever stalls', () => {
  test('408 for a client that stops amid its request, and the gateway is left alone', async () => {
    const gone = Promise.withResolvers<void>()
    const { url } = await stage.start((message) => message.on('error', () => gone.resolve()), {
      clientStallTimeoutMs: 50,
    })
    const { socket, said, closed } = await dial(url)
    socket.write(`${head(1_000)}beginning`)
    await gone.promise
    await until(() => said().includes('\r\n\r\n'))
    expect(said()).toMatch(/^HTTP\/1\.1 408 /)
    expect(said()).toContain(PROBLEM_JSON)
    // The rest of the request is not waited for.
    await closed
  })

  test('a client that does not read its answer', async () => {
    const gone = Promise.withResolvers<void>()
    const handler: GatewayHandler = (message, response) => {
      response.on('close', () => gone.resolve())
      flood(400 * MIB, () => {})(message, response)
    }
    const { url, state } = await stage.start(handler, { clientStallTimeoutMs: 100 })
    const { socket, closed } = await dial(url)
    socket.write(`${head(2)}ok`)
    await until(() => state.openRequests === 1)
    socket.pause()
    await gone.promise
    await until(() => state.openRequests === 0)
    socket.resume()
    await closed
  })

  test('a client that reads all but the end of its answer', async () => {
    const { url, state } = await stage.start(
      flood(6 * MIB, () => {}),
      { clientStallTimeoutMs: 100 },
    )
    const { socket } = await dial(url)
    socket.write(`${head(2)}ok`)
    await until(() => state.openRequests === 1)
    socket.pause()
    await until(() => state.openRequests === 0)
  })

  test('a gateway that falls silent amid its answer', async () => {
    const gone = Promise.withResolvers<void>()
    const { url } = await stage.start(
      async (message, response) => {
        response.on('close', () => gone.resolve())
        await bodyOf(message)
        response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
        response.write('beginning')
      },
      { gatewayStallTimeoutMs: 50 },
    )
    const response = await post(url)
    await expect(response.text()).rejects.toThrow()
    await gone.promise
  })

  test('502 for a gateway that does not take the request', async () => {
    const { url } = await stage.start(deaf, { gatewayStallTimeoutMs: 100 })
    const response = await post(url, { body: new Uint8Array(30 * MIB) })
    expect([response.status, response.headers.get('content-type')]).toEqual([502, PROBLEM_JSON])
  })

  test('502 for a gateway that cannot be connected to in time', async () => {
    // Reserved for documentation (RFC 5737): nothing answers there, if there is a way at all.
    const { url } = await stage.relay([{ name: 'g', url: 'http://192.0.2.1:9' }], { connectTimeoutMs: 50 })
    expect((await post(url)).status).toBe(502)
  })

  test('nobody who is slow but moves', async () => {
    // Eight of them take longer than anything may stall, and one far less, also on a machine that does something else meanwhile.
    const GAP_MS = 200
    const stallMs = 1_500
    const { url } = await stage.start(
      async (message, response) => {
        const body = await bodyOf(message)
        response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
        for (const byte of body) {
          response.write(Uint8Array.of(byte))
          await sleep(GAP_MS)
        }
        response.end()
      },
      { clientStallTimeoutMs: stallMs, gatewayStallTimeoutMs: stallMs, firstByteTimeoutMs: stallMs },
    )
    const { socket, said } = await dial(url)
    socket.write(head(8))
    for (const letter of 'abcdefgh') {
      await sleep(GAP_MS)
      socket.write(letter)
    }
    await until(() => said().endsWith('0\r\n\r\n'))
    expect(said().match(/\r\n1\r\n[a-h]/g)).toHaveLength(8)
  })
})

describe('has no time for connections that hold on to it', () => {
  const LIMITS = { headersTimeoutMs: 100, uploadTimeoutMs: 400 }

  test('without a word, or with a head that never ends', async () => {
    const { url } = await stage.start(echo, LIMITS)
    const [silent, started, dripping] = await Promise.all([dial(url), dial(url), dial(url)])
    started.socket.write('POST /gateways/g HTTP/1.1\r\nhost: re')
    dripping.socket.write('POST /gateways/g HTTP/1.1\r\n')
    const drip = setInterval(() => dripping.socket.write('x-a: b\r\n'), 20)
    await Promise.all([silent.closed, started.closed, dripping.closed])
    clearInterval(drip)
    for (const { said } of [silent, started, dripping]) expect(said()).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('with a body that drips for longer than any upload may take', async () => {
    const gone = Promise.withResolvers<void>()
    const { url } = await stage.start((message) => message.on('error', () => gone.resolve()), LIMITS)
    const { socket, closed } = await dial(url)
    socket.write(head(100_000))
    const drip = setInterval(() => socket.write('x'), 20)
    await Promise.all([closed, gone.promise])
    clearInterval(drip)
  })

  test('and takes no more of them than it may have', async () => {
    const { url } = await stage.start(echo, { connectionsMax: 2 })
    await Promise.all([dial(url), dial(url)])
    const { closed, said } = await dial(url)
    await closed
    expect(said()).toBe('')
  })
})

describe('drains', () => {
  test('finishes the answers under way, and takes nothing new', async () => {
    const steps = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
    const { url, state, server } = await stage.start(async (message, response) => {
      await bodyOf(message)
      response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
      for (const [i, step] of steps.entries()) {
        response.write(`chunk ${i} `)
        await step.promise
      }
      response.end('end')
    })
    const kept = await dial(url)
    const reader = (await post(url)).body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = (await reader?.read())?.value ?? ''
    state.isDraining = true
    // Begun before the drain on a connection that stays: refused by name.
    kept.socket.write(`${head(2)}ok`)
    await until(() => kept.said().includes('"status":503'))
    const closing = server.close(20_000)
    await expect(fetch(`${url}/gateways`)).rejects.toThrow()
    for (const step of steps) {
      step.resolve()
      await sleep(5)
    }
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) text += next.value
    expect(text).toBe('chunk 0 chunk 1 chunk 2 end')
    await closing
    expect(state.openRequests).toBe(0)
  })

  test('cuts what has not ended when its time is over, visibly', async () => {
    const { url, state, server } = await stage.start(async (message, response) => {
      await bodyOf(message)
      response.writeHead(200, { 'content-type': OHTTP_CHUNKED_RESPONSE })
      response.write('beginning')
    })
    const reading = expect((await post(url)).text()).rejects.toThrow()
    state.isDraining = true
    await server.close(50)
    await reading
    await until(() => state.openRequests === 0)
  })
})

/** Clients that a public port has to bear: they hold on without asking, or ask and tear the connection down. @module */
import { readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

async function dial(url: string): Promise<{ socket: Socket; said: () => string; closed: Promise<unknown> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let said = ''
  socket.on('data', (data: Buffer) => {
    said += data.toString('latin1')
  })
  socket.on('error', () => {
    // A reset is what some of these want, and what others get.
  })
  // Not by `once` of node:events, which ends with the first error.
  const happened = (event: 'connect' | 'close') => new Promise<void>((resolve) => socket.once(event, () => resolve()))
  const closed = happened('close')
  await Promise.race([happened('connect'), closed])
  return { socket, said: () => said, closed }
}

/**
 * `count` connections that say nothing, or drip a head that never ends (slow loris). Waits until the server has ended all of them, and answers what it
 * said to each.
 */
export async function holdOn(url: string, count: number): Promise<readonly string[]> {
  const held = await Promise.all(Array.from({ length: count }, () => dial(url)))
  const dripping = held.filter((_, i) => i % 3 !== 0)
  for (const { socket } of dripping) socket.write('POST / HTTP/1.1\r\nhost: storm\r\n')
  const drip = setInterval(() => {
    for (const { socket } of dripping) if (socket.writable) socket.write('x-more: y\r\n')
  }, 500)
  await Promise.all(held.map(({ closed }) => closed))
  clearInterval(drip)
  return held.map(({ said }) => said())
}

/** `count` connections, some at once, each torn down by a reset at another point: silent, in the head, in the body, after the request, in the answer. */
export async function reset(url: string, path: string, count: number): Promise<void> {
  const head = `POST ${path} HTTP/1.1\r\nhost: storm\r\ncontent-type: message/ohttp-chunked-req\r\ncontent-length: 64\r\n\r\n`
  const moments = [
    '',
    'POST /some',
    head,
    `${head}half a body`,
    head + 'b'.repeat(64),
    'GET /healthz HTTP/1.1\r\nhost: storm\r\n\r\n',
  ]
  let begun = 0
  const client = async (): Promise<void> => {
    while (begun < count) {
      const i = begun++
      const { socket, closed } = await dial(url)
      socket.write(moments[i % moments.length] ?? '')
      if (i % 4 === 0) await sleep(i % 7)
      socket.resetAndDestroy()
      await closed
    }
  }
  await Promise.all(Array.from({ length: 32 }, client))
}

/** Files and sockets that a process has open. */
export function openFiles(pid: number | undefined): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Resident memory of a process, in MiB. */
export function residentMebibytes(pid: number | undefined): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kibibytes) / 1024
}

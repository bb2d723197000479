/**
 * A gateway of many streams for scripts/bench/relay.ts: every answer is cells of a `private` stream, one every so many milliseconds, until the
 * reader leaves. Before it is told to go it sends heads only. It speaks HTTP by hand, because the measured relay must not wait for it. @module
 */
import { createServer, type Socket } from 'node:net'

/** A sealed cell: 4,096 bytes, the tag and the length in front. */
export const SEALED_CELL_BYTES = 4_114

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\ntransfer-encoding: chunked\r\n\r\n'
const CELL = Buffer.concat([
  Buffer.from(`${SEALED_CELL_BYTES.toString(16)}\r\n`),
  Buffer.alloc(SEALED_CELL_BYTES, 0x5a),
  Buffer.from('\r\n'),
])

const tickMs = Number(process.argv[2] ?? '50')
/** Streams by the millisecond of the tick in which they are served, as if they had begun at any time. */
const slots: Set<Socket>[] = Array.from({ length: tickMs }, () => new Set())
let next = 0

const server = createServer((socket) => {
  const slot = slots[next++ % tickMs]
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.once('data', () => {
    socket.write(HEAD)
    slot?.add(socket)
  })
  socket.on('close', () => slot?.delete(socket))
})

function go(): void {
  let served = Math.floor(performance.now())
  setInterval(() => {
    const now = Math.floor(performance.now())
    // Ticks that were missed are left out, as in the gateway.
    served = Math.max(served, now - tickMs)
    for (; served < now; served++) {
      for (const socket of slots[served % tickMs] ?? []) if (socket.writableLength === 0) socket.write(CELL)
    }
  }, 1)
}

process.once('message', go)

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.send?.(`http://127.0.0.1:${address.port}`)
})
process.on('disconnect', () => process.exit(0))

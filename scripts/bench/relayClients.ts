/**
 * The clients of scripts/bench/relay.ts: told `{ open }`, it opens so many streams and says so when each has its first bytes; told `close`, it leaves
 * all of them; told `bytes`, it says what came so far. It reads HTTP without parsing it, because the measured relay must not wait for it. @module
 */
import { createConnection, type Socket } from 'node:net'

export type ClientCommand = { readonly open: number } | 'close' | 'bytes'

const AT_ONCE = 50
const BODY = 'sealed'
const url = new URL(process.argv[2] ?? '')
const request = [
  `POST ${url.pathname} HTTP/1.1`,
  `host: ${url.host}`,
  'content-type: message/ohttp-chunked-req',
  `content-length: ${BODY.length}`,
  '',
  BODY,
].join('\r\n')

const sockets: Socket[] = []
let bytes = 0

function open(): Promise<void> {
  return new Promise((resolve, reject) => {
    // One buffer for all that is read: nothing of it is looked at.
    const onread = {
      buffer: new Uint8Array(65_536),
      callback: (count: number) => {
        bytes += count
        resolve()
        return true
      },
    }
    const socket = createConnection({ port: Number(url.port), host: url.hostname, onread })
    socket.on('error', reject)
    socket.write(request)
    sockets.push(socket)
  })
}

async function obey(command: ClientCommand): Promise<unknown> {
  if (command === 'bytes') return bytes
  if (command === 'close') {
    for (const socket of sockets.splice(0)) socket.destroy()
    return 'closed'
  }
  for (let left = command.open; left > 0; left -= AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, open))
  }
  return 'open'
}

process.on('message', (command: ClientCommand) => void obey(command).then((answer) => process.send?.(answer)))
process.on('disconnect', () => process.exit(0))
process.send?.('ready')

/** A wire tap: forwards TCP bytes unchanged and remembers them. @module */
import { createServer, connect as dial, type Server } from 'node:net'

export type Tap = {
  readonly url: string
  /** All bytes so far, both directions. */
  bytes(): Buffer
  close(): Promise<void>
}

/** Listens on `port` (0 for any) and forwards to `targetPort` on the loopback interface. */
export function openTap(port: number, targetPort: number): Promise<Tap> {
  const seen: Buffer[] = []
  const server: Server = createServer((near) => {
    const far = dial(targetPort, '127.0.0.1')
    near.on('data', (data) => seen.push(data))
    far.on('data', (data) => seen.push(data))
    near.pipe(far).pipe(near)
    // Either side may leave first; the other then has nobody to talk to.
    near.on('error', () => far.destroy())
    far.on('error', () => near.destroy())
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      const actual = typeof address === 'object' && address !== null ? address.port : port
      resolve({
        url: `http://127.0.0.1:${actual}`,
        bytes: () => Buffer.concat(seen),
        close: () => new Promise((done) => server.close(() => done())),
      })
    })
  })
}

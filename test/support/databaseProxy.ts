/**
 * A proxy before PostgreSQL that reads what clients ask and can hold one statement, one commit, or the answer to one: exact moments of a process are found
 * from outside. The wire is the protocol 3.0 of PostgreSQL (manual, chapter "Frontend/Backend Protocol").
 * @module
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Hold } from './gate.ts'

/**
 * Where the bytes stop: `statement` before the server gets it, `commit` when the transaction with it is complete and its commit has not reached the server,
 * `committed` when the server has committed and its client does not know.
 */
export type DatabaseMoment = 'statement' | 'commit' | 'committed'

export type DatabaseProxy = {
  readonly port: number
  /** Holds the first statement that matches and has not come yet; `drop` cuts the connection. */
  hold(statement: RegExp, at: DatabaseMoment): Hold
  close(): Promise<void>
}

type Verdict = 'pass' | 'drop'
type Armed = {
  readonly statement: RegExp
  readonly at: DatabaseMoment
  isTaken: boolean
  arrive(): void
  readonly verdict: Promise<Verdict>
}

/** Starts one before the server on `targetPort` of this machine, on a free port. */
export async function startDatabaseProxy(targetPort: number): Promise<DatabaseProxy> {
  const holds: Armed[] = []
  const open = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(targetPort, '127.0.0.1')
    for (const [end, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      end.setNoDelay(true)
      open.add(end)
      end.on('error', () => other.destroy())
      end.on('close', () => {
        open.delete(end)
        other.destroy()
      })
    }
    relay(client, upstream, holds)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    hold(statement, at) {
      const arrived = Promise.withResolvers<void>()
      const verdict = Promise.withResolvers<Verdict>()
      holds.push({ statement, at, isTaken: false, arrive: arrived.resolve, verdict: verdict.promise })
      return {
        arrived: arrived.promise,
        pass: () => verdict.resolve('pass'),
        drop: () => verdict.resolve('drop'),
      }
    },
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** One connection. */
function relay(client: Socket, upstream: Socket, holds: readonly Armed[]): void {
  const statements = new Map<string, string>()
  /** The hold whose statement is in the transaction under way. */
  let marked: Armed | undefined
  let answersHeldBy: Armed | undefined
  let isStarted = false
  let unread = Buffer.alloc(0)
  let turn: Promise<void> = Promise.resolve()

  const held = async (hold: Armed): Promise<void> => {
    hold.arrive()
    if ((await hold.verdict) === 'drop') client.destroy()
  }

  const forward = async (message: Buffer): Promise<void> => {
    const text = textOf(message, statements)
    if (text !== undefined && marked !== undefined && /^\s*commit\b/i.test(text)) {
      const hold = marked
      marked = undefined
      if (hold.at === 'commit') await held(hold)
      else answersHeldBy = hold
    }
    if (text !== undefined && /^\s*rollback\b/i.test(text)) marked = undefined
    const hold = text === undefined ? undefined : holds.find((candidate) => isMeant(candidate, text))
    if (hold !== undefined) {
      hold.isTaken = true
      if (hold.at === 'statement') await held(hold)
      else marked = hold
    }
    if (!upstream.destroyed) upstream.write(message)
  }

  client.on('data', (data: Buffer) => {
    unread = Buffer.concat([unread, data])
    for (;;) {
      // The first message has no type.
      const prefix = isStarted ? 1 : 0
      if (unread.length < prefix + 4) return
      const end = prefix + unread.readInt32BE(prefix)
      if (unread.length < end) return
      const message = unread.subarray(0, end)
      unread = unread.subarray(end)
      if (prefix === 0) {
        isStarted = true
        upstream.write(message)
      } else turn = turn.then(() => forward(message))
    }
  })

  let answers = Buffer.alloc(0)
  upstream.on('data', (data: Buffer) => {
    const hold = answersHeldBy
    if (hold === undefined) {
      client.write(data)
      return
    }
    const isFirst = answers.length === 0
    answers = Buffer.concat([answers, data])
    if (!isFirst) return
    void held(hold).then(() => {
      answersHeldBy = undefined
      if (!client.destroyed) client.write(answers)
      answers = Buffer.alloc(0)
    })
  })
}

function isMeant({ isTaken, statement }: Armed, text: string): boolean {
  return !isTaken && statement.test(text)
}

/** The statement that a message begins: a simple query, or a prepared one that is bound, by the text that it was parsed from. */
function textOf(message: Buffer, statements: Map<string, string>): string | undefined {
  const type = String.fromCharCode(message[0] ?? 0)
  const [first = '', second = ''] = message.toString('latin1', 5).split('\0', 2)
  switch (type) {
    case 'Q':
      return first
    case 'P':
      statements.set(first, second)
      return undefined
    case 'B':
      return statements.get(second)
    default:
      return undefined
  }
}

/** The steps of reserve, capture and change: at each a message is on its way, or somebody has something that nobody else has yet. @module */
import type { CreditClient } from '../support/creditClientProcess.ts'
import type { Gate, GateRequest, Hold } from '../support/gate.ts'
import type { FaultNetwork, Slot } from './faultNetwork.ts'

/** Who is killed. The client's database is its wallet file. */
export const VICTIMS = ['client', 'gateway', 'issuer', 'database', 'client and its file'] as const
export type Victim = (typeof VICTIMS)[number]
/** What becomes of the message that was held: `late` is when everything else has been started again and has recovered. */
export type Fate = 'passed' | 'lost' | 'late'
export type FaultCase = { readonly step: number; readonly victim: Victim; readonly fate: Fate }

export type Step = {
  readonly number: number
  readonly is: string
  /** Arranges that the next request stops here. `writer` is the issuer that writes. */
  readonly hold: (network: FaultNetwork, client: CreditClient, writer: Slot) => Promise<Hold> | Hold
}

/** All that is sent is sealed, and a sealed payment is longer than everything else. */
const PAYMENT_BYTES_MIN = 3_000
const isSealed = ({ method, path }: GateRequest) => method === 'POST' && path === '/gateway'
const isPaid = (request: GateRequest) => isSealed(request) && request.bytes >= PAYMENT_BYTES_MIN
const isCapture = (request: GateRequest) => isSealed(request) && request.bytes < PAYMENT_BYTES_MIN
const isHead = ({ method, path }: GateRequest) => method === 'POST' && path === '/v1/heads'
const request = (gate: Gate, of: (request: GateRequest) => boolean) => gate.hold({ part: 'request', of })
const response = (gate: Gate, of: (request: GateRequest) => boolean) => gate.hold({ part: 'response', of })
const WORDS_BEFORE_PAUSE = 4

export const STEPS: readonly Step[] = [
  {
    number: 1,
    is: 'the sealed request has left the client and has not reached the gateway',
    hold: ({ gates }) => request(gates.gateway, isPaid),
  },
  {
    number: 2,
    is: 'the gateway has sent the reserve and the issuer has not got it',
    hold: ({ gates }, _, writer) => request(gates.issuer[writer], isPaid),
  },
  {
    number: 3,
    is: 'the issuer has decided, its database has it, and the witness has not got it',
    hold: ({ gates }) => request(gates.witness, isHead),
  },
  {
    number: 4,
    is: 'the issuer has answered the reserve and the gateway has not got it',
    hold: ({ gates }, _, writer) => response(gates.issuer[writer], isPaid),
  },
  {
    number: 5,
    is: 'the model is writing',
    hold({ model }) {
      const { reached, goOn } = model.pauseAfter(WORDS_BEFORE_PAUSE)
      return { arrived: reached, pass: goOn, drop: goOn }
    },
  },
  {
    number: 6,
    is: 'the gateway has sent the capture and the issuer has not got it',
    hold: ({ gates }, _, writer) => request(gates.issuer[writer], isCapture),
  },
  {
    number: 7,
    is: 'the issuer has captured and the gateway has not got the answer',
    hold: ({ gates }, _, writer) => response(gates.issuer[writer], isCapture),
  },
  {
    number: 8,
    is: 'the end of the answer, with receipt and sealed change, has left the gateway and has not reached the client',
    hold: ({ gates }) => response(gates.gateway, isPaid),
  },
  {
    number: 9,
    is: 'the client has its change and has not stored it',
    async hold(_, client) {
      const { arrived, store } = await client.stopBeforeStoring()
      return { arrived, pass: store, drop: store }
    },
  },
]

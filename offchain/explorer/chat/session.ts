/**
 * The chat of one network: asks one question after the other through the SDK, keeps what passed, and tells whoever shows it. It outlives its page, so that
 * somebody who goes to check a receipt finds everything again. @module
 */
import { unlessAborted } from '../../sdk/abort.ts'
import { connect, type SealedClient } from '../../sdk/connect.ts'
import type { Step } from '../../sdk/options.ts'
import type { SealedReceipt } from '../../sdk/sealedReceipt.ts'
import type { WalletAccount } from '../../sdk/wallet/account.ts'
import type { ExplorerConfig } from '../config.ts'
import { count } from '../format.ts'
import type { Reader } from '../reader.ts'
import { readAnswer } from './answer.ts'
import type { ChatExchange } from './exchange.ts'
import { followReceipt } from './follow.ts'
import { type Problem, problemOf, readRefusal } from './problems.ts'
import { Recorder } from './recorder.ts'
import { findPayment } from './spentPayment.ts'

export type Turn = {
  readonly number: number
  readonly exchange: ChatExchange
  /** What happens now, or happened last. */
  readonly progress: string
  readonly receipt?: SealedReceipt
  readonly problem?: Problem
}

export type ChatState = {
  /** Oldest first. */
  readonly turns: readonly Turn[]
  readonly isAsking: boolean
  /** What the gateway serves, once it was asked. */
  readonly models: readonly string[]
  readonly model: string | undefined
}

export type ChatSources = {
  readonly reader: Reader
  readonly config: ExplorerConfig & Required<Pick<ExplorerConfig, 'relayUrl'>>
}

/** The longest answer that is asked for, in tokens: it bounds what an answer can cost. */
const ANSWER_TOKENS_MAX = 512

const sessions = new WeakMap<ExplorerConfig, ChatSession>()

/** The one session of this network. */
export function sessionOf(sources: ChatSources): ChatSession {
  const known = sessions.get(sources.config)
  if (known !== undefined) return known
  const session = new ChatSession(sources)
  sessions.set(sources.config, session)
  return session
}

export class ChatSession {
  readonly #sources: ChatSources
  readonly #recorder = new Recorder()
  readonly #listeners = new Set<() => void>()
  #state: ChatState = { turns: [], isAsking: false, models: [], model: undefined }
  #account: WalletAccount | undefined
  #client: Connected | undefined
  #asking: AbortController | undefined
  #unfollow: () => void = () => {}

  constructor(sources: ChatSources) {
    this.#sources = sources
  }

  get state(): ChatState {
    return this.#state
  }

  /** Pays, once it was given. */
  get account(): WalletAccount | undefined {
    return this.#account
  }

  /** Calls `listener` after each change, until the function it answers is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Pays from this account from now on; from none when it is undefined. */
  payFrom(account: WalletAccount | undefined): void {
    this.#account = account
    this.#change({})
  }

  choose(model: string): void {
    this.#change({ model })
  }

  /** Ends the answer that is under way. */
  stop(): void {
    this.#asking?.abort()
  }

  /** Asks, and resolves when the answer has ended. What goes wrong is in the turn. Does nothing while another answer is under way. */
  async ask(prompt: string): Promise<void> {
    if (this.#state.isAsking) return
    this.#unfollow()
    const asking = new AbortController()
    this.#asking = asking
    const begun = this.#recorder.count
    const exchange: ChatExchange = { prompt, answer: '', recorded: [], sentFrom: 0, isDone: false }
    const turn: Turn = { number: this.#state.turns.length + 1, exchange, progress: 'Reading the registry' }
    // Of an earlier question what was said is kept, and not what passed.
    const earlier = this.#state.turns.map((each) => ({ ...each, exchange: { ...each.exchange, recorded: [] } }))
    this.#change({ isAsking: true, turns: [...earlier, turn] })
    const look = (more: Partial<ChatExchange> = {}): void =>
      this.#changeExchange({ recorded: this.#recorder.since(begun), ...more })
    try {
      const client = await unlessAborted(this.#connected(), asking.signal)
      const model = await this.#chooseModel(client, asking.signal)
      look({ sentFrom: this.#recorder.count - begun })
      await this.#askOnce(client, model, prompt, asking.signal, look)
    } catch (error) {
      const { rpcUrl, relayUrl } = this.#sources.config
      this.#changeTurn({ problem: problemOf(error, { rpcUrl, relayUrl, isOnline: navigator.onLine }) })
    }
    look({ isDone: true })
    this.#asking = undefined
    this.#change({ isAsking: false })
  }

  async #askOnce(
    client: SealedClient,
    model: string,
    prompt: string,
    signal: AbortSignal,
    look: (more?: Partial<ChatExchange>) => void,
  ): Promise<void> {
    const response = await client.fetch(`${client.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model,
        stream: true,
        max_tokens: ANSWER_TOKENS_MAX,
        messages: [{ role: 'user', content: prompt }],
      }),
      signal,
    })
    look({ gateway: client.gateway })
    if (!response.ok || response.body === null) throw await readRefusal(response)
    let answer = ''
    await readAnswer(response.body, (text) => {
      answer += text
      look({ answer })
    })
    const receipt = await client.receiptOf(response)
    look({ receipt: { file: receipt.file, leaf: receipt.leaf } })
    this.#changeTurn({ receipt })
    const { number } = this.#newest()
    this.#unfollow = followReceipt(this.#sources, receipt, (settled) => {
      if (this.#newest().number === number) this.#changeExchange({ settled })
    })
    await client.idle()
  }

  #connected(): Promise<SealedClient> {
    const account = this.#payer()
    if (this.#client !== undefined && this.#client.account === account) return this.#client.client
    const { rpcUrl, relayUrl, aggregatorUrl, deployment } = this.#sources.config
    const client = connect({
      rpcUrl,
      relayUrl,
      aggregatorUrl,
      registry: deployment.registry,
      fetch: this.#recorder.fetch,
      onStep: (step) => this.#tell(step),
      ...(account === undefined ? {} : { wallet: account }),
    })
    const connected = { client, account }
    this.#client = connected
    client.catch(() => {
      if (this.#client === connected) this.#client = undefined
    })
    return client
  }

  /** An empty wallet keeps nobody from an answer that costs nothing: a gateway that wants credits says so itself. */
  #payer(): WalletAccount | undefined {
    const balance = this.#account?.balance(Date.now() / 1000)
    return balance === undefined || balance.spendable + balance.inPayments === 0n ? undefined : this.#account
  }

  async #chooseModel(client: SealedClient, signal: AbortSignal): Promise<string> {
    if (this.#state.models.length === 0) {
      const response = await client.fetch(`${client.baseURL}/models`, { signal })
      if (!response.ok) throw await readRefusal(response)
      const { data = [] } = (await response.json()) as { data?: readonly { id?: unknown }[] }
      this.#change({ models: data.map(({ id }) => id).filter((id) => typeof id === 'string') })
    }
    const { model, models } = this.#state
    const chosen = model ?? models[0]
    if (chosen === undefined) throw new Error('the gateway lists no model')
    this.#change({ model: chosen })
    return chosen
  }

  #tell(step: Step): void {
    const { turns, isAsking } = this.#state
    if (!isAsking || turns.length === 0) return
    if (step.kind === 'payment-made') {
      const payment = findPayment(this.#account?.usableWallets ?? [], step.payment)
      if (payment !== undefined) this.#changeExchange({ payment })
    }
    const progress = progressOf(step)
    if (progress !== undefined) this.#changeTurn({ progress })
  }

  #newest(): Turn {
    const turn = this.#state.turns.at(-1)
    if (turn === undefined) throw new Error('expected a question that was asked')
    return turn
  }

  #changeExchange(more: Partial<ChatExchange>): void {
    this.#changeTurn({ exchange: { ...this.#newest().exchange, ...more } })
  }

  #changeTurn(more: Partial<Turn>): void {
    this.#change({ turns: [...this.#state.turns.slice(0, -1), { ...this.#newest(), ...more }] })
  }

  #change(more: Partial<ChatState>): void {
    this.#state = { ...this.#state, ...more }
    for (const listener of this.#listeners) listener()
  }
}

type Connected = { readonly client: Promise<SealedClient>; readonly account: WalletAccount | undefined }

/** A step of the SDK in words; undefined for one that nobody waits for. */
function progressOf(step: Step): string | undefined {
  switch (step.kind) {
    case 'registry-read':
      return `${step.gateways === 1 ? 'One gateway agrees' : `${step.gateways} gateways agree`} with the registry, evidence verified here`
    case 'gateway-chosen':
      return 'Gateway chosen by this browser'
    case 'payment-made':
      return 'Paying with blind credits'
    case 'request-sealed':
      return `Sealed: ${count(step.bytes)} bytes, ${step.postQuantum ? 'post-quantum' : 'X25519'}; waiting for the answer`
    case 'answer-begun':
      return 'The answer arrives, sealed'
    case 'failed-over':
      return 'That gateway does not answer: trying another'
    case 'receipt-verified':
      return 'The answer is complete and its receipt verified'
    default:
      return undefined
  }
}

/** Ask a gateway from this page, sealed, and see what each layer on the way could see of it. @module */
import type { JSX } from 'preact'
import { useContext, useEffect, useId, useRef, useState } from 'preact/hooks'
import { type ChatSession, type ChatSources, type ChatState, sessionOf, type Turn } from '../chat/session.ts'
import { opg } from '../format.ts'
import { handReceipt } from '../handedReceipt.ts'
import { LayersView } from './LayersView.tsx'
import { Complaint, DevelopmentMark, Linking, type Sources, saveFile, useLoaded } from './parts.tsx'

/** As long as a prompt may be here: larger ones are for programs. */
const PROMPT_LENGTH_MAX = 20_000

export function ChatPage({ sources }: { readonly sources: Sources }): JSX.Element {
  const link = useContext(Linking)
  const { config, reader } = sources
  const { relayUrl } = config
  if (relayUrl === undefined) {
    return (
      <>
        <h1>Ask, sealed</h1>
        <Complaint>
          No relay is configured, and without one nothing reaches a gateway: name one under{' '}
          <a href={link('/sources')}>Sources</a>.
        </Complaint>
      </>
    )
  }
  if (globalThis.crypto?.subtle === undefined) {
    return (
      <>
        <h1>Ask, sealed</h1>
        <Complaint>Browsers seal only on pages from https or from this machine: open this page so.</Complaint>
      </>
    )
  }
  return <Chat sources={sources} session={sessionOf({ config: keepRelay(config, relayUrl), reader })} />
}

/** The same object for the same configuration: sessions are found by it. */
const withRelay = new WeakMap<object, ChatSources['config']>()
function keepRelay(config: Sources['config'], relayUrl: string): ChatSources['config'] {
  const kept = withRelay.get(config) ?? { ...config, relayUrl }
  withRelay.set(config, kept)
  return kept
}

function useSession(session: ChatSession): ChatState {
  const [state, setState] = useState(session.state)
  useEffect(() => {
    const read = (): void => setState(session.state)
    read()
    return session.subscribe(read)
  }, [session])
  return state
}

function Chat({ sources, session }: { readonly sources: Sources; readonly session: ChatSession }): JSX.Element {
  const state = useSession(session)
  const [wantsWallet, setWantsWallet] = useState(session.account !== undefined)
  const newest = state.turns.at(-1)
  const credits = useRef<HTMLHeadingElement>(null)
  const openWallet = (): void => {
    setWantsWallet(true)
    credits.current?.scrollIntoView()
    credits.current?.focus({ preventScroll: true })
  }
  return (
    <>
      <h1>Ask, sealed</h1>
      <p class="quiet">
        Your browser picks a gateway from the registry, verifies its evidence, seals your question to its enclave and
        sends it through a relay. Each question stands alone: earlier ones are not sent along.
      </p>
      <AskForm session={session} state={state} />
      {newest !== undefined && <NewestTurn turn={newest} isAsking={state.isAsking} onWallet={openWallet} />}
      <section aria-labelledby="credits">
        <h2 id="credits" ref={credits} tabIndex={-1}>
          Credits
        </h2>
        {wantsWallet ? (
          <LoadedCredits sources={sources} session={session} />
        ) : (
          <>
            <p class="quiet">
              Some gateways answer for nothing, others for credits: blind tokens that nobody can link to who bought
              them.
            </p>
            <p class="buttons">
              <button type="button" onClick={() => setWantsWallet(true)}>
                Open a wallet
              </button>
            </p>
          </>
        )}
      </section>
      <Earlier turns={state.turns.slice(0, -1)} />
    </>
  )
}

const loadCreditsPanel = () => import('./CreditsPanel.tsx')

function LoadedCredits({
  sources,
  session,
}: {
  readonly sources: Sources
  readonly session: ChatSession
}): JSX.Element {
  const loaded = useLoaded(loadCreditsPanel)
  const { config } = sources
  if (loaded === 'failed') return <Complaint>The wallet could not be loaded: reload the page.</Complaint>
  if (loaded === undefined || config.relayUrl === undefined) return <p class="quiet">Loading the wallet</p>
  return <loaded.CreditsPanel config={config} relayUrl={config.relayUrl} onAccount={(it) => session.payFrom(it)} />
}

function AskForm({ session, state }: { readonly session: ChatSession; readonly state: ChatState }): JSX.Element {
  const id = useId()
  const area = useRef<HTMLTextAreaElement>(null)
  const send = (): void => {
    const prompt = area.current?.value.trim() ?? ''
    if (prompt === '' || state.isAsking) return
    if (area.current !== null) area.current.value = ''
    void session.ask(prompt)
  }
  const newest = state.turns.at(-1)
  useEffect(() => {
    // What was not answered can be sent again as it is.
    if (newest?.problem !== undefined && area.current?.value === '') area.current.value = newest.exchange.prompt
  }, [newest?.problem])
  const onKeyDown = (event: KeyboardEvent): void => {
    // Enter that ends a word of an input method is no wish to send.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    send()
  }
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <label for={id}>Your question</label>
      <textarea
        id={id}
        ref={area}
        rows={3}
        maxLength={PROMPT_LENGTH_MAX}
        aria-describedby={`${id}-keys`}
        onKeyDown={onKeyDown}
      />
      <div class="buttons">
        {/* One button for both, so that the focus stays where it is. */}
        <button
          type="submit"
          onClick={(event) => {
            if (!state.isAsking) return
            event.preventDefault()
            session.stop()
          }}
        >
          {state.isAsking ? 'Stop' : 'Send'}
        </button>
        {state.models.length > 1 && <ModelChoice session={session} state={state} />}
        <span id={`${id}-keys`} class="quiet">
          Enter sends, Shift and Enter begin a new line.
        </span>
      </div>
    </form>
  )
}

function ModelChoice({ session, state }: { readonly session: ChatSession; readonly state: ChatState }): JSX.Element {
  const id = useId()
  return (
    <span class="choice">
      <label for={id}>Model</label>
      <select id={id} value={state.model} onChange={(event) => session.choose(event.currentTarget.value)}>
        {state.models.map((model) => (
          <option key={model} value={model}>
            {model}
          </option>
        ))}
      </select>
    </span>
  )
}

function NewestTurn({
  turn,
  isAsking,
  onWallet,
}: {
  readonly turn: Turn
  readonly isAsking: boolean
  readonly onWallet: () => void
}): JSX.Element {
  const { exchange, progress, receipt, problem } = turn
  return (
    <>
      <section aria-labelledby="answer-title">
        <h2 id="answer-title">Answer</h2>
        <p class="asked">{exchange.prompt}</p>
        {(exchange.answer !== '' || problem === undefined) && (
          <div class="answered" role="log" aria-label="Answer" aria-busy={isAsking}>
            {exchange.answer === '' ? '…' : exchange.answer}
          </div>
        )}
        <p class="quiet" role="status">
          {problem === undefined ? progress : 'No complete answer.'}
        </p>
        {problem !== undefined && <Complaint>{problem.says}</Complaint>}
        {problem?.kind === 'payment' && (
          <p class="buttons">
            <button type="button" class="second" onClick={onWallet}>
              To the wallet
            </button>
          </p>
        )}
        {receipt !== undefined && <ReceiptActions turn={turn} />}
      </section>
      <section aria-labelledby="layers">
        <h2 id="layers">What each layer saw</h2>
        {exchange.gateway?.isDevelopment === true && (
          <p class="quiet">
            <DevelopmentMark /> On a local chain the enclave is an ordinary process with evidence of the real format.
          </p>
        )}
        <LayersView exchange={exchange} />
      </section>
    </>
  )
}

function ReceiptActions({ turn: { receipt, exchange } }: { readonly turn: Turn }): JSX.Element | null {
  const link = useContext(Linking)
  if (receipt === undefined) return null
  return (
    <p class="buttons">
      <a href={link('/receipt')} onClick={() => handReceipt(receipt.toJson())}>
        Check this receipt
      </a>
      <button type="button" class="second" onClick={() => saveFile('receipt.json', receipt.toJson())}>
        Save the receipt
      </button>
      <span class="quiet">
        Fee {opg(receipt.file.private.fee)}
        {exchange.payment === undefined && ', not charged'}
      </span>
    </p>
  )
}

function Earlier({ turns }: { readonly turns: readonly Turn[] }): JSX.Element | null {
  if (turns.length === 0) return null
  return (
    <section aria-labelledby="earlier">
      <h2 id="earlier">Earlier</h2>
      {turns.toReversed().map((turn) => (
        <article key={turn.number} class="turn">
          <p class="asked">{turn.exchange.prompt}</p>
          {turn.exchange.answer !== '' && <div class="answered">{turn.exchange.answer}</div>}
          {turn.problem !== undefined && <p class="quiet">No complete answer.</p>}
          <ReceiptActions turn={turn} />
        </article>
      ))}
    </section>
  )
}

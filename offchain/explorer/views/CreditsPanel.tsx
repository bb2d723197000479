/** The page's own credit wallet: make it, restore it, fill it. Loaded when somebody asks for it. @module */
import type { JSX } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import type { WalletAccount } from '../../sdk/wallet/account.ts'
import type { PurchaseStep } from '../../sdk/wallet/steps.ts'
import { seedOf, wordsOf } from '../../sdk/wallet/walletWords.ts'
import type { ExplorerConfig } from '../config.ts'
import { CreditDesk, type PayerKind } from '../credits/creditDesk.ts'
import { describe, progressOf, sentenceOf } from '../credits/wording.ts'
import { opg } from '../format.ts'
import { Complaint } from './parts.tsx'

type Props = {
  readonly config: ExplorerConfig
  readonly relayUrl: string
  /** Told of the account to pay from, and of undefined when it was removed. */
  readonly onAccount: (account: WalletAccount | undefined) => void
}

type Work = {
  /** What happens now; undefined when nothing does. */
  readonly busy: string | undefined
  readonly complaint: string | undefined
  readonly said: string | undefined
}

const IDLE: Work = { busy: undefined, complaint: undefined, said: undefined }

export function CreditsPanel({ config, relayUrl, onAccount }: Props): JSX.Element {
  const [desk, setDesk] = useState<CreditDesk>()
  const [account, setAccount] = useState<WalletAccount>()
  const [work, setWork] = useState<Work>({ ...IDLE, busy: 'Looking for a wallet in this browser' })
  const isShown = useRef(true)

  /** One thing at a time; what goes wrong is said. */
  const doing = async (busy: string, act: () => Promise<string | undefined>): Promise<void> => {
    const show = (next: Work): void => {
      if (isShown.current) setWork(next)
    }
    show({ ...IDLE, busy })
    try {
      show({ ...IDLE, said: await act() })
    } catch (error) {
      show({ ...IDLE, complaint: sentenceOf(error) })
    }
  }
  const take = (next: WalletAccount | undefined): void => {
    setAccount(next)
    onAccount(next)
  }
  const tell = (step: PurchaseStep): void => {
    if (isShown.current) setWork((before) => ({ ...before, busy: progressOf(step) ?? before.busy }))
  }
  useEffect(() => {
    isShown.current = true
    void doing('Looking for a wallet in this browser', async () => {
      const opened = await CreditDesk.open(config, relayUrl)
      if (!isShown.current) return undefined
      opened.listen(tell)
      setDesk(opened)
      const { account: kept } = opened
      if (kept === undefined) return undefined
      setAccount(kept)
      if (kept.isRestoring) return 'This wallet was not restored to its end: restore it again.'
      onAccount(kept)
      return (await opened.resume()).map(describe).join(' ')
    })
    return () => {
      isShown.current = false
    }
  }, [config, relayUrl])

  const isBusy = work.busy !== undefined
  return (
    <div class="wallet">
      {desk !== undefined && account === undefined && (
        <NoWallet
          desk={desk}
          isBusy={isBusy}
          onMade={(seed) =>
            void doing('Keeping the wallet', async () => {
              take(await desk.make(seed))
              return 'The wallet is kept in this browser, encrypted.'
            })
          }
          onRestore={(seed) =>
            void doing('Looking for everything that these words ever bought', async () => {
              const { account: restored, found } = await desk.restore(seed)
              setAccount(restored)
              if (found.failures.length > 0) return 'Not everything could be looked for now: restore it again later.'
              take(restored)
              return `Restored: ${opg(found.units)}.`
            })
          }
        />
      )}
      {desk !== undefined && account !== undefined && (
        <OpenWallet
          desk={desk}
          account={account}
          isBusy={isBusy}
          onBuy={(units, payer) =>
            void doing('Preparing the purchase', async () => describe(await desk.buy(units, payer)))
          }
          onRestoreAgain={() =>
            void doing('Looking for everything that this wallet ever bought', async () => {
              const { found } = await desk.restore()
              if (found.failures.length > 0) return 'Not everything could be looked for now: restore it again later.'
              take(account)
              return `Restored: ${opg(found.units)}.`
            })
          }
          onForget={() =>
            void doing('Removing the wallet', async () => {
              await desk.forget()
              take(undefined)
              return 'The wallet is no longer in this browser. Its words bring it back.'
            })
          }
        />
      )}
      <p class="quiet" role="status">
        {work.busy === undefined ? work.said : `${work.busy} …`}
      </p>
      {work.complaint !== undefined && <Complaint>{work.complaint}</Complaint>}
    </div>
  )
}

function NoWallet({
  desk,
  isBusy,
  onMade,
  onRestore,
}: {
  readonly desk: CreditDesk
  readonly isBusy: boolean
  readonly onMade: (seed: Uint8Array) => void
  readonly onRestore: (seed: Uint8Array) => void
}): JSX.Element {
  const [seed, setSeed] = useState<Uint8Array>()
  const [complaint, setComplaint] = useState<string>()
  const words = useRef<HTMLTextAreaElement>(null)
  const title = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (seed !== undefined) title.current?.focus()
  }, [seed])
  if (seed !== undefined) {
    return (
      <>
        <h3 ref={title} tabIndex={-1}>
          Write these 24 words down
        </h3>
        <p class="quiet">
          They are shown this once. Whoever has them has the credits, and nothing else brings them back.
        </p>
        <ol class="seed" data-words>
          {wordsOf(seed)
            .split(' ')
            .map((word, i) => (
              <li key={i}>{word}</li>
            ))}
        </ol>
        <p class="buttons">
          <button type="button" disabled={isBusy} onClick={() => onMade(seed)}>
            I have written them down
          </button>
          <button type="button" class="second" onClick={() => setSeed(undefined)}>
            Do without
          </button>
        </p>
      </>
    )
  }
  const restore = (): void => {
    const found = seedOf(words.current?.value ?? '')
    setComplaint(
      found === undefined ? 'These are not the 24 words of a wallet: check them for typing errors.' : undefined,
    )
    if (found !== undefined) onRestore(found)
  }
  return (
    <>
      <p class="quiet">
        There is no wallet in this browser yet. It is made here and kept here, encrypted under a key that no page can
        read out.
      </p>
      <p class="buttons">
        <button type="button" disabled={isBusy} onClick={() => setSeed(desk.newSeed())}>
          Make a new wallet
        </button>
      </p>
      <details>
        <summary>Restore a wallet from its words</summary>
        <textarea ref={words} rows={3} spellcheck={false} autocomplete="off" aria-label="The 24 words" />
        <button type="button" disabled={isBusy} onClick={restore}>
          Restore
        </button>
        {complaint !== undefined && <Complaint>{complaint}</Complaint>}
      </details>
    </>
  )
}

function OpenWallet({
  desk,
  account,
  isBusy,
  onBuy,
  onRestoreAgain,
  onForget,
}: {
  readonly desk: CreditDesk
  readonly account: WalletAccount
  readonly isBusy: boolean
  readonly onBuy: (units: bigint, payer: PayerKind) => void
  readonly onRestoreAgain: () => void
  readonly onForget: () => void
}): JSX.Element {
  const [isLeaving, setIsLeaving] = useState(false)
  const id = useId()
  const size = useRef<HTMLSelectElement>(null)
  const balance = useBalance(account)
  const { payers } = desk
  const under = [
    balance.inPurchases > 0n ? `${opg(balance.inPurchases)} being bought` : '',
    balance.inPayments > 0n ? `${opg(balance.inPayments)} in payments` : '',
    balance.exitOnly > 0n ? `${opg(balance.exitOnly)} no longer spendable here` : '',
  ].filter((part) => part !== '')
  return (
    <>
      <p data-balance>
        <strong>{opg(balance.spendable)}</strong> in {balance.credits} {balance.credits === 1 ? 'credit' : 'credits'}
        {under.length > 0 && <span class="quiet">, {under.join(', ')}</span>}
      </p>
      {account.isRestoring ? (
        <p class="buttons">
          <button type="button" disabled={isBusy} onClick={onRestoreAgain}>
            Restore again
          </button>
        </p>
      ) : payers.length === 0 ? (
        <p class="quiet">
          To buy credits here, open this page in a browser with a wallet extension; or restore these words where there
          is one.
        </p>
      ) : (
        <div class="buttons">
          <span class="choice">
            <label for={id}>Deposit</label>
            <select id={id} ref={size}>
              {DEPOSIT_SIZES.map((units) => (
                <option key={String(units)} value={String(units)}>
                  {opg(units)}
                </option>
              ))}
            </select>
          </span>
          {payers.map((payer) => (
            <button
              key={payer}
              type="button"
              disabled={isBusy}
              onClick={() => onBuy(BigInt(size.current?.value ?? '0'), payer)}
            >
              {payer === 'extension' ? 'Pay with your wallet extension' : 'Pay with a development account'}
            </button>
          ))}
        </div>
      )}
      {payers.includes('development') && (
        <p class="quiet">
          This is a development chain: its node signs for well-known test accounts, whose keys everybody knows and whose
          OPG is worth nothing.
        </p>
      )}
      {!desk.isLocal && payers.length > 0 && (
        <p class="quiet">
          The deposit is public, the credits are not: they are asked for after a pause of 10 to 60 minutes, so that
          nobody links the two. This page may be closed meanwhile. Buying and asking take one relay here; sealpath
          credits buy can take another for purchases.
        </p>
      )}
      <details>
        <summary>Remove the wallet from this browser</summary>
        <p class="quiet">Only its 24 words bring it back.</p>
        <label>
          <input type="checkbox" checked={isLeaving} onChange={(event) => setIsLeaving(event.currentTarget.checked)} />{' '}
          I have the words
        </label>
        <button type="button" class="second" disabled={isBusy || !isLeaving} onClick={onForget}>
          Remove it
        </button>
      </details>
    </>
  )
}

const BALANCE_MS = 1_000

/** What the account holds, looked at again and again: payments change it while nobody presses a button. */
function useBalance(account: WalletAccount): ReturnType<WalletAccount['balance']> {
  const [, setTick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => setTick((tick) => tick + 1), BALANCE_MS)
    return () => clearInterval(timer)
  }, [])
  return account.balance(Date.now() / 1000)
}

/** Drop a receipt here: everything about it is checked in the browser, and each step is shown. @module */
import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { WireError } from '#protocol/wire/json.ts'
import { type ReceiptFile, type SettledLeaf, serializeProofBundle } from '#protocol/wire/receiptFile.ts'
import { count, opg, time } from '../format.ts'
import { takeHandedReceipt } from '../handedReceipt.ts'
import { type Dropped, examineFile, parseDropped } from '../receiptFile.ts'
import { examineOnChain } from '../receiptOnChain.ts'
import { type Step, verdictOf } from '../steps.ts'
import {
  BatchLink,
  Complaint,
  DevelopmentMark,
  EnclaveLink,
  Fact,
  type Sources,
  Steps,
  saveFile,
  VerdictLine,
} from './parts.tsx'

/** Two whole exchanges of the largest size in base64. */
const FILE_BYTES_MAX = 128 * 1024 * 1024

type Examination = {
  readonly receipt: ReceiptFile
  readonly steps: readonly Step[]
  readonly isDone: boolean
  readonly settled?: SettledLeaf
  readonly isDevelopment?: boolean
}

export function ReceiptPage({ sources }: { readonly sources: Sources }): JSX.Element {
  const [examination, setExamination] = useState<Examination>()
  const [complaint, setComplaint] = useState<string>()
  const newest = useRef(0)
  useEffect(() => () => void newest.current++, [])

  const examine = async (text: string): Promise<void> => {
    const own = ++newest.current
    setComplaint(undefined)
    setExamination(undefined)
    const dropped = parseOrComplain(text, setComplaint)
    if (dropped === undefined) return
    const { receipt } = dropped
    let steps = examineFile(receipt)
    const show = (more: Partial<Examination>): void => {
      if (own === newest.current) setExamination({ receipt, steps, isDone: false, ...more })
    }
    show({})
    const isSound = steps.every(({ state }) => state !== 'failed')
    const result = await examineOnChain(sources, dropped, isSound, (step) => {
      steps = [...steps, step]
      show({})
    })
    show({ ...result, isDone: true })
  }
  useEffect(() => {
    const handed = takeHandedReceipt()
    if (handed !== undefined) void examine(handed)
  }, [])
  const examineBlob = async (file: Blob | undefined): Promise<void> => {
    if (file === undefined) return
    if (file.size <= FILE_BYTES_MAX) return examine(await file.text())
    setExamination(undefined)
    setComplaint('This file is larger than any receipt.')
  }
  return (
    <>
      <h1>Check a receipt</h1>
      <p class="quiet">
        Your receipt stays here: only its leaf, a hash, is sent to the aggregator. The chain is asked about its enclave
        and its batch.
      </p>
      <DropPlace onFile={(file) => void examineBlob(file)} onText={(text) => void examine(text)} />
      {complaint !== undefined && <Complaint>{complaint}</Complaint>}
      <VerdictLine verdict={examination?.isDone ? verdictOf('The receipt', examination.steps) : undefined} />
      {examination !== undefined && <Result examination={examination} />}
    </>
  )
}

function DropPlace({
  onFile,
  onText,
}: {
  readonly onFile: (file: File | undefined) => void
  readonly onText: (text: string) => void
}): JSX.Element {
  const [isOver, setIsOver] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const area = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    // Anywhere on the page: a file that misses its place must not replace the page. Text that is pasted into the field stays there.
    const onPaste = (event: ClipboardEvent): void => {
      if (event.target instanceof HTMLTextAreaElement) return
      const [file] = event.clipboardData?.files ?? []
      const text = event.clipboardData?.getData('text/plain') ?? ''
      if (file !== undefined) onFile(file)
      else if (text !== '') onText(text)
    }
    const onDragOver = (event: DragEvent): void => {
      event.preventDefault()
      setIsOver(true)
    }
    const onDragLeave = (): void => setIsOver(false)
    const onDrop = (event: DragEvent): void => {
      event.preventDefault()
      setIsOver(false)
      onFile(event.dataTransfer?.files[0])
    }
    const off = new AbortController()
    const { signal } = off
    addEventListener('paste', onPaste, { signal })
    addEventListener('dragover', onDragOver, { signal })
    addEventListener('dragleave', onDragLeave, { signal })
    addEventListener('drop', onDrop, { signal })
    return () => off.abort()
  })
  return (
    <div class={isOver ? 'drop over' : 'drop'}>
      <p>Drop a receipt or a proof bundle here, or paste it</p>
      <button type="button" onClick={() => input.current?.click()}>
        Choose a file
      </button>
      <input
        ref={input}
        hidden
        type="file"
        accept=".json,application/json"
        aria-label="Receipt file"
        onChange={(event) => {
          onFile(event.currentTarget.files?.[0])
          // The same file can be chosen again after it was changed.
          event.currentTarget.value = ''
        }}
      />
      <details>
        <summary>Paste it as text</summary>
        <textarea ref={area} rows={6} spellcheck={false} aria-label="Receipt as text" />
        <button type="button" onClick={() => onText(area.current?.value ?? '')}>
          Check this text
        </button>
      </details>
    </div>
  )
}

function Result({ examination }: { readonly examination: Examination }): JSX.Element {
  const { receipt, steps, settled, isDevelopment } = examination
  const isRefused = steps.some(({ state }) => state === 'failed')
  return (
    <>
      {isDevelopment && (
        <p class="warning" role="note">
          <DevelopmentMark /> This receipt is of a development enclave: its evidence has the real format, but no
          hardware stands behind it.
        </p>
      )}
      <section aria-labelledby="steps">
        <h2 id="steps">Step by step</h2>
        <Steps steps={steps} />
      </section>
      {settled !== undefined && !isRefused && (
        <p class="buttons">
          <button type="button" onClick={() => save(receipt, settled)}>
            Save the proof bundle
          </button>
          <BatchLink batch={settled.batch} />
        </p>
      )}
      <section aria-labelledby="says">
        <h2 id="says">{isRefused ? 'What it claims, unproven' : 'What it says'}</h2>
        <Claims receipt={receipt} />
      </section>
    </>
  )
}

const SOURCES = {
  measured: 'measured into the enclave',
  proxied: 'another server that the enclave asked over TLS',
  operator: 'declared by the operator',
} as const

function Claims({ receipt }: { readonly receipt: ReceiptFile }): JSX.Element {
  const { public: shown, private: kept, openings } = receipt
  return (
    <>
      <dl class="facts">
        <Fact name="Enclave">
          <EnclaveLink enclave={shown.enclave} />
        </Fact>
        <Fact name="Outcome">{shown.outcome}</Fact>
        <Fact name="Tokens" hint="prompt and answer">
          {count(kept.promptTokens)} + {count(kept.completionTokens)}
        </Fact>
        <Fact name="Fee" hint={`hour of ${hourOf(kept.hour)}`}>
          {opg(kept.fee)}
        </Fact>
      </dl>
      <p class="quiet">The model is {SOURCES[shown.source]}.</p>
      {openings !== undefined && (
        <>
          <h3 id="request">Request</h3>
          <Opened label="request" data={openings.request.data} />
          <h3 id="answer">Answer</h3>
          <Opened label="answer" data={openings.output.data} />
        </>
      )}
    </>
  )
}

/** Longest text shown: what is longer is in the file. */
const SHOWN_BYTES = 20_000

function Opened({ label, data }: { readonly label: string; readonly data: Uint8Array }): JSX.Element {
  const text = new TextDecoder().decode(data.subarray(0, SHOWN_BYTES))
  return (
    <section class="opened" aria-labelledby={label}>
      {text === '' ? '(empty)' : text}
      {data.length > SHOWN_BYTES && ` … ${count(data.length - SHOWN_BYTES)} bytes more are in the file.`}
    </section>
  )
}

/** The gateway says any hour that fits 64 bits. */
function hourOf(hour: bigint): string {
  return hour < 2_000_000_000n ? time(hour * 3_600n) : 'no known time'
}

function save(receipt: ReceiptFile, settled: SettledLeaf): void {
  saveFile('proof.json', serializeProofBundle({ format: 'sealpath-proof/1', receipt, settled }))
}

function parseOrComplain(text: string, complain: (message: string) => void): Dropped | undefined {
  try {
    return parseDropped(text)
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    complain(`This is no receipt: ${error.message}.`)
    return undefined
  }
}

/** What a running enclave says of itself, and how old the evidence is that it serves. @module */
import { decodeUtf8, toHex } from '#protocol/bytes.ts'
import { EVIDENCE_AGE_SECONDS_MAX } from '#protocol/evidence/appraisal.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { keccak256 } from '#protocol/hash.ts'
import { AgentStatusSchema, PublicEvidenceSchema, type Statement } from '#protocol/wire/agentApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { ask } from './ask.ts'
import { duration, type Finding, failed, firstLine, ok, warn } from './finding.ts'
import type { Subject } from './subject.ts'

export type EnclaveWord = {
  readonly statement: Statement
  /** The `application/ohttp-keys` document of now. */
  readonly keyConfigs: Uint8Array
}

export type EnclaveReport = { readonly word?: EnclaveWord; readonly findings: readonly Finding[] }

const EVIDENCE_SECONDS_USUAL = 5_400
const AGENT = "look at its operator agent's log: it renews by itself"

/** Says nothing of an enclave that does not run: whoever needs it has a line for that. */
export async function readEnclave({ enclave }: Subject): Promise<EnclaveReport> {
  if (enclave === undefined) return { findings: [] }
  return enclave.by === 'agent' ? askAgent(enclave.url) : askItself(enclave.url)
}

async function askAgent(url: string): Promise<EnclaveReport> {
  try {
    const { status, body } = await ask(new URL('/agent/status', url))
    if (status !== 200) return { findings: [] }
    return { word: parseJson(AgentStatusSchema, decodeUtf8(body), 'status of the enclave'), findings: [] }
  } catch {
    // The line of this peer says so.
    return { findings: [] }
  }
}

async function askItself(url: string): Promise<EnclaveReport> {
  const what = 'evidence'
  let answers: readonly Awaited<ReturnType<typeof ask>>[]
  try {
    answers = await Promise.all(['/evidence', '/ohttp-keys'].map((path) => ask(new URL(path, url), { isOwn: true })))
  } catch {
    return { findings: [] }
  }
  const [evidence, keys] = answers
  if (evidence === undefined || keys === undefined || keys.status !== 200) return { findings: [] }
  if (evidence.status !== 200) return { findings: [failed(what, 'it serves none yet', 'start its operator agent')] }
  try {
    const { statement, document, announcement } = parseJson(PublicEvidenceSchema, decodeUtf8(evidence.body), what)
    const age = Date.now() / 1000 - parseNitroDocument(document).timestampMs / 1000
    const bound = announcement?.hash ?? statement.keyConfigs
    const isBound = toHex(keccak256(keys.body)) === bound
    return {
      word: { statement, keyConfigs: keys.body },
      findings: [
        ageFinding(what, age),
        ...(isBound ? [] : [failed(what, 'it does not bind the keys that are served', 'restart the role')]),
      ],
    }
  } catch (error) {
    return { findings: [failed(what, firstLine(error), 'check what listens there')] }
  }
}

function ageFinding(what: string, age: number): Finding {
  const found = `${duration(Math.max(0, age))} old`
  if (age > Number(EVIDENCE_AGE_SECONDS_MAX)) return failed(what, `${found}, clients refuse it`, AGENT)
  return age > EVIDENCE_SECONDS_USUAL ? warn(what, found, AGENT) : ok(what, found)
}

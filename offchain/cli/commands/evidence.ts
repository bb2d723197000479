/** `sealpath evidence`: explains an attestation document to a person, check by check. @module */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { AttesterError } from '#node/attesters/attester.ts'
import { parseDevelopmentRoot, pinDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { BytesError, decodeUtf8, fromBase64, fromHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import type { PinnedRoot } from '#protocol/evidence/evidence.ts'
import { PublicEvidenceSchema, type Statement } from '#protocol/wire/agentApi.ts'
import { parseJson, toJson, WireError } from '#protocol/wire/json.ts'
import { type Command, readArguments, UsageError } from '../command.ts'
import { type CheckTime, examineEvidence } from '../evidenceExamination.ts'
import { evidenceFacts, explainEvidence } from '../evidenceReport.ts'

export const evidence: Command = {
  name: 'evidence',
  summary: 'Check an attestation document and explain it',
  usage: `usage: sealpath evidence [options] FILE

  FILE                     a document in bytes, base64 or hex, or the JSON that a gateway serves at /evidence
  --at SECONDS             check as of that second since the epoch; default: now
  --at document            check as of the document's own time: says what was true then, not what is true now
  --development-root FILE  also accept documents under this root: the file of the development attester, or a certificate (PEM, DER)
  --json                   print everything as JSON

Exit code 0 only if the document is accepted: genuine, in date, at most two hours old, not in debug mode.`,
  async run(args) {
    const { values, positionals } = readArguments({
      args,
      allowPositionals: true,
      options: {
        at: { type: 'string' },
        'development-root': { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    const [path, ...more] = positionals
    if (path === undefined || more.length > 0) throw new UsageError('give one file')
    const time = readTime(values.at)
    const rootPath = values['development-root']
    const roots = rootPath === undefined ? [AWS_NITRO_ROOT] : [AWS_NITRO_ROOT, readDevelopmentRoot(rootPath)]
    const examination = examineEvidence(readEvidence(path), roots, time)
    process.stdout.write(
      values.json ? `${toJson(evidenceFacts(examination), 2)}\n` : explainEvidence(examination, rootPath !== undefined),
    )
    return examination.outcome.ok ? 0 : 1
  },
}

/** Longest file taken: a document of the largest size in hex, with room for a statement. */
const FILE_BYTES_MAX = 65_536

function readTime(at: string | undefined): CheckTime {
  if (at === undefined) return { kind: 'now', seconds: BigInt(Math.floor(Date.now() / 1000)) }
  if (at === 'document') return { kind: 'document' }
  // Twelve digits end in the year 33658, far inside what dates can show.
  if (!/^\d{1,12}$/.test(at)) throw new UsageError('--at is a number of seconds since the epoch, or the word document')
  return { kind: 'given', seconds: BigInt(at) }
}

function readEvidence(path: string): { document: Uint8Array; statement: Statement | undefined } {
  const bytes = readBytes(path)
  // Documents begin with a byte above 127 and never are text.
  if (bytes.some((byte) => byte > 0x7f || byte === 0)) return { document: bytes, statement: undefined }
  const text = decodeUtf8(bytes).trim()
  if (text.startsWith('{')) return readPublicEvidence(path, text)
  const digits = text.replace(/\s+/g, '')
  try {
    const isHex = /^(?:0x)?(?:[0-9a-fA-F]{2})+$/.test(digits)
    const document = isHex ? fromHex(digits.startsWith('0x') ? digits : `0x${digits}`) : fromBase64(digits)
    return { document, statement: undefined }
  } catch (cause) {
    if (!(cause instanceof BytesError)) throw cause
    throw new Error(`${path} is no attestation document: expected its bytes, base64, hex or the JSON of /evidence`, {
      cause,
    })
  }
}

function readPublicEvidence(path: string, text: string): { document: Uint8Array; statement: Statement } {
  try {
    return parseJson(PublicEvidenceSchema, text, 'evidence')
  } catch (cause) {
    if (!(cause instanceof WireError)) throw cause
    throw new Error(`${path} is not what /evidence answers: ${cause.message}`, { cause })
  }
}

/** The root that the person names: only its certificate counts here. */
function readDevelopmentRoot(path: string): PinnedRoot {
  const bytes = readBytes(path)
  try {
    if (bytes[0] === '{'.charCodeAt(0)) return pinDevelopmentRoot(parseDevelopmentRoot(decodeUtf8(bytes)))
    return pinDevelopmentRoot({ certificate: new Uint8Array(new X509Certificate(bytes).raw) })
  } catch (cause) {
    const reason =
      cause instanceof AttesterError ? cause.message : 'expected the file of the development attester, PEM or DER'
    throw new Error(`${path} holds no development root: ${reason}`, { cause })
  }
}

function readBytes(path: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = new Uint8Array(readFileSync(path))
  } catch {
    // Whatever the reason, the file is what the person has to look at.
    throw new Error(`cannot read ${path}`)
  }
  if (bytes.length > FILE_BYTES_MAX) throw new Error(`${path} is too long: expected at most ${FILE_BYTES_MAX} bytes`)
  return bytes
}

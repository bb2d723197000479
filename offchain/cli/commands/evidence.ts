/** `sealpath evidence`: explains an attestation document to a person, check by check. @module */
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { toJson } from '#protocol/wire/json.ts'
import { type Command, readArguments, UsageError } from '../command.ts'
import { type CheckTime, examineEvidence } from '../evidenceExamination.ts'
import { readDevelopmentRoot, readEvidence } from '../evidenceInput.ts'
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

function readTime(at: string | undefined): CheckTime {
  if (at === undefined) return { kind: 'now', seconds: BigInt(Math.floor(Date.now() / 1000)) }
  if (at === 'document') return { kind: 'document' }
  // Twelve digits end in the year 33658, far inside what dates can show.
  if (!/^\d{1,12}$/.test(at)) throw new UsageError('--at is a number of seconds since the epoch, or the word document')
  return { kind: 'given', seconds: BigInt(at) }
}

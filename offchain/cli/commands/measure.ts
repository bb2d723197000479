/** `sealpath measure`: what an enclave image measures to, and whether a running enclave is that image. @module */
import { EifError } from '#node/eif/eifError.ts'
import { type ImageMeasurement, measureImage } from '#node/eif/measureImage.ts'
import { printable } from '#node/printable.ts'
import { equalBytes, toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { type EvidenceKind, measurementOf } from '#protocol/evidence/measurement.ts'
import { toJson } from '#protocol/wire/json.ts'
import { type Command, readArguments, UsageError } from '../command.ts'
import { type EvidenceExamination, examineEvidence } from '../evidenceExamination.ts'
import { fetchEvidence, readDevelopmentRoot, readEvidence } from '../evidenceInput.ts'

export const measure: Command = {
  name: 'measure',
  summary: 'Measure an enclave image, and compare it with a running enclave',
  usage: `usage: sealpath measure [options] FILE

  FILE                     an enclave image (.eif)
  --compare URL|FILE       compare with the evidence of a running enclave: what a gateway serves at /evidence, or a document in a file
  --development-root FILE  with --compare: also accept evidence under this root
  --json                   print everything as JSON

Prints PCR0, PCR1 and PCR2 (and PCR8 of a signed image), which the enclave's hardware will attest, and the measurement, which the registry approves.
Exit code 0 only if the image is sound and, with --compare, the evidence is accepted and has the same PCRs.`,
  async run(args) {
    const { values, positionals } = readArguments({
      args,
      allowPositionals: true,
      options: {
        compare: { type: 'string' },
        'development-root': { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    const [path, ...more] = positionals
    if (path === undefined || more.length > 0) throw new UsageError('give one file')
    if (values['development-root'] !== undefined && values.compare === undefined) {
      throw new UsageError('--development-root goes with --compare')
    }
    const image = await measureWithProgress(path)
    const comparison =
      values.compare === undefined ? undefined : await compare(image, values.compare, values['development-root'])
    process.stdout.write(
      values.json
        ? `${toJson({ ...imageFacts(image), ...(comparison && { comparison }) }, 2)}\n`
        : describe(path, image, comparison),
    )
    return comparison === undefined || comparison.isSame ? 0 : 1
  },
}

/** The image beside what an enclave's evidence says. */
type Comparison = {
  readonly with: string
  /** The evidence is accepted, and every PCR is the same. */
  readonly isSame: boolean
  /** Why the evidence proves nothing; undefined when it is accepted. */
  readonly refusal: { readonly code: string; readonly message: string } | undefined
  /** Which root the accepted evidence stands under. */
  readonly kind: EvidenceKind | undefined
  /** By index, hex; `enclave` is null when the evidence has no such PCR. */
  readonly pcrs: Readonly<Record<string, { readonly image: string; readonly enclave: string | null; isSame: boolean }>>
}

const PROGRESS_EVERY_MS = 200
const NAME_CHARS_MAX = 120
const ZERO_PCR = new Uint8Array(48)

async function measureWithProgress(path: string): Promise<ImageMeasurement> {
  const isShown = process.stderr.isTTY === true
  let shownAt = performance.now()
  try {
    return await measureImage(path, {
      onProgress(readBytes, fileBytes) {
        if (!isShown || performance.now() - shownAt < PROGRESS_EVERY_MS) return
        shownAt = performance.now()
        process.stderr.write(`\rmeasuring ${Math.floor((100 * readBytes) / fileBytes)} % `)
      },
    })
  } catch (cause) {
    if (!(cause instanceof EifError)) throw cause
    throw new Error(`${cause.message} (${cause.code})`, { cause })
  } finally {
    if (isShown) process.stderr.write('\r\x1b[K')
  }
}

async function compare(image: ImageMeasurement, source: string, rootPath: string | undefined): Promise<Comparison> {
  const roots = rootPath === undefined ? [AWS_NITRO_ROOT] : [AWS_NITRO_ROOT, readDevelopmentRoot(rootPath)]
  const input = /^https?:\/\//i.test(source) ? await fetchEvidence(source) : readEvidence(source)
  const now = { kind: 'now', seconds: BigInt(Math.floor(Date.now() / 1000)) } as const
  const { outcome, fields } = examineEvidence(input, roots, now)
  const pcrs = comparePcrs(image, fields)
  return {
    with: source,
    isSame: outcome.ok && Object.values(pcrs).every(({ isSame }) => isSame),
    refusal: outcome.ok ? undefined : { code: outcome.code, message: outcome.message },
    kind: outcome.ok ? outcome.evidence.kind : undefined,
    pcrs,
  }
}

function comparePcrs(image: ImageMeasurement, fields: EvidenceExamination['fields']): Comparison['pcrs'] {
  const { pcr0, pcr1, pcr2, pcr8 = ZERO_PCR } = image
  const expected: readonly [number, Uint8Array][] = [
    [0, pcr0],
    [1, pcr1],
    [2, pcr2],
    [8, pcr8],
  ]
  return Object.fromEntries(
    expected.map(([index, value]) => {
      // Documents leave out PCRs that are zero, or keep them.
      const enclave = fields && (fields.pcrs.get(index) ?? (index === 8 ? ZERO_PCR : undefined))
      return [
        index,
        {
          image: toHex(value),
          enclave: enclave === undefined ? null : toHex(enclave),
          isSame: enclave !== undefined && equalBytes(enclave, value),
        },
      ]
    }),
  )
}

function imageFacts(image: ImageMeasurement): Record<string, unknown> {
  const { pcr0, pcr1, pcr2, pcr8, isSignatureValid, header, metadata } = image
  return {
    bytes: image.fileBytes,
    formatVersion: header.version,
    measurement: measurementOf('nitro', pcr0, pcr1, pcr2),
    pcrs: { 0: toHex(pcr0), 1: toHex(pcr1), 2: toHex(pcr2), ...(pcr8 && { 8: toHex(pcr8) }) },
    isSignatureValid: isSignatureValid ?? null,
    unmeasured: {
      architecture: header.architecture,
      memoryBytes: header.defaultMemoryBytes,
      cpus: header.defaultCpuCount,
      name: metadata?.name ?? null,
      version: metadata?.version ?? null,
    },
    sections: image.kinds.map((kind, index) => ({ kind, bytes: header.sections[index]?.contentBytes })),
  }
}

function describe(path: string, image: ImageMeasurement, comparison: Comparison | undefined): string {
  const { pcr0, pcr1, pcr2, header, metadata } = image
  const paragraphs = [
    [`Enclave image ${path}, ${image.fileBytes} bytes, format version ${header.version}`],
    [
      'Measured',
      row('PCR0', toHex(pcr0), 'enclave image'),
      row('PCR1', toHex(pcr1), 'kernel and boot'),
      row('PCR2', toHex(pcr2), 'application'),
      row('PCR8', ...describeSigner(image)),
      row('measurement', measurementOf('nitro', pcr0, pcr1, pcr2), 'what the registry approves'),
    ],
    [
      'In no PCR: says what the builder meant, and proves nothing',
      row('architecture', header.architecture),
      row('memory', `${header.defaultMemoryBytes} bytes`),
      row('cpus', String(header.defaultCpuCount)),
      row('name', metadata === undefined ? 'none' : printable(metadata.name, NAME_CHARS_MAX)),
      row('version', metadata === undefined ? 'none' : printable(metadata.version, NAME_CHARS_MAX)),
    ],
    ...(comparison === undefined ? [] : describeComparison(comparison)),
  ]
  return `${paragraphs.map((lines) => lines.join('\n')).join('\n\n')}\n`
}

function describeSigner({ pcr8, isSignatureValid }: ImageMeasurement): [value: string, note: string] {
  if (pcr8 === undefined) return ['none', 'the image is not signed']
  const note = isSignatureValid ? 'its signature holds' : 'its signature does NOT hold: this image does not start'
  return [toHex(pcr8), `image signer's certificate; ${note}`]
}

function describeComparison({ with: source, refusal, kind, pcrs, isSame }: Comparison): string[][] {
  const lines = Object.entries(pcrs).map(([index, pcr]) =>
    row(`PCR${index}`, pcr.isSame ? 'the same' : `DIFFERS: ${pcr.enclave ?? 'the evidence has none'}`),
  )
  const differing = Object.entries(pcrs).flatMap(([index, pcr]) => (pcr.isSame ? [] : [`PCR${index}`]))
  const verdict = [
    ...(refusal === undefined ? [] : [`REFUSED (${refusal.code}): ${printable(refusal.message, NAME_CHARS_MAX)}.`]),
    refusal !== undefined
      ? 'Evidence that is refused says nothing about any enclave, whatever its PCRs are.'
      : isSame
        ? 'SAME: the enclave that made this evidence runs this image.'
        : `DIFFERENT: the enclave that made this evidence runs another image (${differing.join(', ')}).`,
    ...(kind === 'development' ? ['The evidence stands under a development root: no hardware stands behind it.'] : []),
  ]
  return [[`Compared with ${source}`, ...lines], verdict]
}

function row(name: string, value: string, note = ''): string {
  return `  ${name.padEnd(14)}${value}${note === '' ? '' : `  ${note}`}`
}

/** `node gateway/image/build.ts`: builds an enclave image. What it does and what comes out: docs/image.md. @module */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { AppError } from '#node/appError.ts'
import { toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { WireError } from '#protocol/wire/json.ts'
import { buildImage, buildSystem } from './buildImage.ts'
import { ImageError } from './imageError.ts'

const USAGE = `usage: node gateway/image/build.ts --config FILE --out FOLDER [options]

  --config FILE      the role's configuration, which becomes part of the image
  --out FOLDER       where the image goes
  --role ROLE        gateway (default) or issuer
  --parts FOLDER     where fetched Debian packages are kept (default .sealpath/parts)
  --archive URL      where Debian packages come from (default: where this machine's apt finds them)`

const { config, out, role, parts: folder, archive } = readOptions()
if (config === undefined || out === undefined || (role !== 'gateway' && role !== 'issuer')) {
  process.stderr.write(`${USAGE}\n`)
  process.exit(2)
}
try {
  const repository = fileURLToPath(new URL('../../', import.meta.url))
  const system = buildSystem(repository, { folder, ...(archive === undefined ? {} : { archive }) })
  const { measurement, eif } = await buildImage({ repository, role, config, out, system })
  const { pcr0, pcr1, pcr2, fileBytes } = measurement
  process.stdout.write(
    [
      `${eif}, ${fileBytes} bytes`,
      `PCR0         ${toHex(pcr0)}`,
      `PCR1         ${toHex(pcr1)}`,
      `PCR2         ${toHex(pcr2)}`,
      `measurement  ${measurementOf('nitro', pcr0, pcr1, pcr2)}`,
      '',
    ].join('\n'),
  )
} catch (error) {
  if (!(error instanceof ImageError || error instanceof WireError || error instanceof AppError)) throw error
  process.stderr.write(`no image: ${error.message} (${error.code})\n`)
  process.exitCode = 1
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        config: { type: 'string' },
        out: { type: 'string' },
        role: { type: 'string', default: 'gateway' },
        parts: { type: 'string', default: '.sealpath/parts' },
        archive: { type: 'string' },
      },
    }).values
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : 'unknown option'}\n\n${USAGE}\n`)
    process.exit(2)
  }
}

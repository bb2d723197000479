/** What building an image needs, and a small gateway to build one of. @module */
import { copyFileSync, cpSync, existsSync, linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ImageError } from '../../gateway/image/imageError.ts'
import { fetchParts, type PartsSource, readPartsLock } from '../../gateway/image/parts.ts'
import { findSources } from '../../gateway/image/sources.ts'

export const REPOSITORY: string = fileURLToPath(new URL('../../', import.meta.url))
export const LOCK_FILE: string = join(REPOSITORY, 'gateway/image/parts.lock.json')
/** Packages that were fetched stay: no test changes them. */
export const PARTS: PartsSource = { folder: join(REPOSITORY, '.sealpath/parts') }

/** Why no image can be built here; undefined when one can. Fetches the packages on the way. */
export function whyNoImage(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'images are built on Linux for x86-64'
  const tools = ['/usr/bin/dpkg-deb', '/usr/bin/tar', '/usr/lib/apt/apt-helper'].filter((path) => !existsSync(path))
  if (tools.length > 0) return `there is no ${tools.join(', ')}`
  try {
    fetchParts(readPartsLock(LOCK_FILE), PARTS)
    return undefined
  } catch (error) {
    if (error instanceof ImageError && error.code === 'PART_MISSING') return error.message
    throw error
  }
}

const ADDRESS = `0x${'11'.repeat(20)}`

/** Writes the configuration of a gateway with the demo model into `folder`; `edit` changes it before. Answers its path. */
export function writeGatewayConfig(
  folder: string,
  ports: { readonly public: number; readonly agent: number },
  edit: (config: Record<string, unknown>) => Record<string, unknown> = (config) => config,
): string {
  const config = {
    listen: { host: '127.0.0.1', port: ports.public },
    agentListen: { host: '127.0.0.1', port: ports.agent },
    chain: { chainId: 31_337, registry: ADDRESS, settlement: ADDRESS, operator: ADDRESS },
    attester: { kind: 'development', rootFile: '/tmp/development-root.json' },
    backends: [{ kind: 'embedded' }],
    prices: {
      format: 'sealpath-prices/1',
      models: [
        {
          model: 'sealpath-demo-1m',
          source: 'measured',
          requestUnits: '1',
          promptUnitsPerMillion: '1',
          completionUnitsPerMillion: '1',
        },
      ],
    },
  }
  const path = join(folder, 'gateway.json')
  writeFileSync(path, JSON.stringify(edit(config)))
  return path
}

/** A copy of what an image is built from, in `folder`: sources that may be changed, and what npm installed. */
export async function copyRepository(folder: string): Promise<void> {
  for (const path of ['package.json', 'gateway', 'offchain/node', 'offchain/protocol']) {
    cpSync(join(REPOSITORY, path), join(folder, path), { recursive: true })
  }
  const packages = (await findSources(REPOSITORY, 'gateway')).filter((path) => path.startsWith('node_modules/'))
  for (const path of packages) cpSync(join(REPOSITORY, path), join(folder, path))
  for (const path of ['node_modules/esbuild', 'node_modules/@esbuild']) {
    cpSync(join(REPOSITORY, path), join(folder, path), { recursive: true })
  }
  // It has 126 MB and is changed by nobody.
  const node = 'node_modules/node/bin/node'
  mkdirSync(dirname(join(folder, node)), { recursive: true })
  linkOrCopy(join(REPOSITORY, node), join(folder, node))
}

/** A second name where both folders lie on one disk. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch {
    // Another disk.
    copyFileSync(from, to)
  }
}

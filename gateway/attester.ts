/** Opens the attester that the configuration names, and keeps development evidence on local chains. @module */
import { fileURLToPath } from 'node:url'
import { AppError } from '#node/appError.ts'
import { type Attester, AttesterError } from '#node/attesters/attester.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { type DevelopmentRoot, loadDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { createNitroAttester } from '#node/attesters/nitro.ts'
import { openNsmDevice } from '#node/attesters/nsmDevice.ts'
import { measureSources } from '#node/attesters/sourcePcrs.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import type { AttesterConfig } from './config.ts'

/**
 * The attester of this gateway; a device that it opens stays open as long as the process.
 * Throws `AppError`: `BAD_CONFIG` for a development attester on a chain that is not local and was not told to allow it, for a development
 * root that cannot be used, and for a Nitro device that is not there; `MISSING_TOOL` without what the Nitro device needs.
 */
export async function openAttester(config: AttesterConfig, chainId: number): Promise<Attester> {
  if (config.kind === 'nitro') return createNitroAttester(await openNsmDevice())
  if (!isLocalChain(chainId) && config.allowDevelopment !== true) {
    const advice = 'use the nitro attester, or set attester.allowDevelopment to true if that is what you want'
    throw new AppError('BAD_CONFIG', `chain ${chainId} is not local and development evidence proves nothing: ${advice}`)
  }
  return createDevelopmentAttester({
    pcrs: measureSources(REPOSITORY),
    root: loadRoot(config.rootFile),
    now: Date.now,
  })
}

const REPOSITORY = fileURLToPath(new URL('../', import.meta.url))

function loadRoot(path: string): DevelopmentRoot {
  try {
    return loadDevelopmentRoot(path, Math.floor(Date.now() / 1000))
  } catch (cause) {
    if (!(cause instanceof AttesterError)) throw cause
    throw new AppError('BAD_CONFIG', `${path} holds no development root: ${cause.message}`, { cause })
  }
}

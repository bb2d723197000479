/** Opens the attester that the configuration names, and keeps development evidence on local chains. @module */
import { fileURLToPath } from 'node:url'
import { AppError } from '#node/appError.ts'
import type { AttesterConfig } from '#node/enclave/config.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { type Attester, AttesterError } from './attester.ts'
import { createDevelopmentAttester } from './development.ts'
import { type DevelopmentRoot, loadDevelopmentRoot } from './developmentRoot.ts'
import { createNitroAttester } from './nitro.ts'
import { openNsmDevice } from './nsmDevice.ts'
import { type MeasuredRole, measureSources } from './sourcePcrs.ts'

/**
 * The attester of this enclave; a device that it opens stays open as long as the process.
 * Throws `AppError`: `BAD_CONFIG` for a development attester on a chain that is not local and was not told to allow it, for a development
 * root that cannot be used, and for a Nitro device that is not there; `MISSING_TOOL` without what the Nitro device needs.
 */
export async function openAttester(config: AttesterConfig, chainId: number, role: MeasuredRole): Promise<Attester> {
  if (config.kind === 'nitro') return createNitroAttester(await openNsmDevice())
  if (!isLocalChain(chainId) && config.allowDevelopment !== true) {
    const advice = 'use the nitro attester, or set attester.allowDevelopment to true if that is what you want'
    throw new AppError('BAD_CONFIG', `chain ${chainId} is not local and development evidence proves nothing: ${advice}`)
  }
  return createDevelopmentAttester({
    pcrs: measureSources(REPOSITORY, role),
    root: loadRoot(config.rootFile),
    now: Date.now,
  })
}

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url))

function loadRoot(path: string): DevelopmentRoot {
  try {
    return loadDevelopmentRoot(path, Math.floor(Date.now() / 1000))
  } catch (cause) {
    if (!(cause instanceof AttesterError)) throw cause
    throw new AppError('BAD_CONFIG', `${path} holds no development root: ${cause.message}`, { cause })
  }
}

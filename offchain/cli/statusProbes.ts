/** Asks the parts of a network how they are. Nothing here is believed further than to tell a person. @module */
import { createChainReads } from '#chain/chainReads.ts'
import { readLiveEnclaves } from '#chain/registry.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import type { Hex } from '#protocol/bytes.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { AggregatorStatusSchema } from '#protocol/wire/aggregatorApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { RelayDirectorySchema } from '#protocol/wire/relayApi.ts'

/** One part: `says` is a sentence for people, whether all is well or not. */
export type Finding = {
  readonly part: 'chain' | 'relay' | 'aggregator' | 'role'
  readonly where: string
  readonly isWell: boolean
  readonly says: string
}

const TIMEOUT_MS = 10_000
/** A chain whose newest block is older has stopped, or its node has; a local one makes blocks only when there is something in them. */
const BLOCK_AGE_SECONDS_MAX = 60
const ANSWER_BYTES_MAX = 1_048_576

/** The chain's newest block, and the enclaves that the registry calls active. `rpcUrls` must agree. */
export function probeChain(rpcUrls: readonly string[], registry: Hex): Promise<Finding> {
  return probe('chain', hostsOf(rpcUrls), async () => {
    const reads = createChainReads(rpcUrls, TIMEOUT_MS)
    const [chainId, { timestamp }, gateways, issuers] = await Promise.all([
      reads.getChainId(),
      reads.getBlock(),
      readLiveEnclaves(reads, registry, ENCLAVE_ROLE.gateway),
      readLiveEnclaves(reads, registry, ENCLAVE_ROLE.issuer),
    ])
    const ageSeconds = Math.max(0, Math.floor(Date.now() / 1000) - Number(timestamp))
    const soon = [...gateways, ...issuers].filter(({ endsAt }) => endsAt < timestamp + SOON_SECONDS)
    const ending = soon.length === 0 ? '' : `; ${soon.length} must register again within a day`
    return {
      isWell: (ageSeconds <= BLOCK_AGE_SECONDS_MAX || isLocalChain(chainId)) && gateways.length > 0,
      says: `newest block ${ageSeconds} s old; live: ${counted(gateways, 'gateway')}, ${counted(issuers, 'issuer')}${ending}`,
    }
  })
}

const SOON_SECONDS = 86_400n

/** The relay's directory, and whether each gateway in it serves its evidence. */
export function probeRelay(url: string): Promise<Finding> {
  return probe('relay', url, async () => {
    const { operator, gateways } = parseJson(
      RelayDirectorySchema,
      await getText(new URL('/gateways', url)),
      'directory',
    )
    const answers = await Promise.all(
      gateways.map(async ({ name, path }) => {
        const isThere = await getText(new URL(`${path}/evidence`, url)).then(
          () => true,
          () => false,
        )
        return { name, isThere }
      }),
    )
    const silent = answers.filter(({ isThere }) => !isThere).map(({ name }) => name)
    const about = silent.length === 0 ? 'all answer' : `no answer from ${silent.join(', ')}`
    return {
      isWell: silent.length === 0 && gateways.length > 0,
      says: `of ${JSON.stringify(operator)}, ${counted(gateways, 'gateway')}, ${about}`,
    }
  })
}

/** What an aggregator holds and what waits there. */
export function probeAggregator(url: string): Promise<Finding> {
  return probe('aggregator', url, async () => {
    const status = parseJson(AggregatorStatusSchema, await getText(new URL('/v1/status', url)), 'status')
    const { state, enclaves, leaves, batches, unsettledHeads, pendingClearings } = status
    const held = `${leaves} leaves of ${enclaves} enclaves, ${batches} batches on chain`
    return {
      isWell: state === 'ok',
      says: `${state}; ${held}; waiting: heads ${unsettledHeads}, clearings ${pendingClearings}`,
    }
  })
}

/** Whether a role calls itself ready, and if not, why. */
export function probeRole(url: string): Promise<Finding> {
  return probe('role', url, async () => {
    const response = await fetch(new URL('/readyz', url), { signal: AbortSignal.timeout(TIMEOUT_MS) })
    const reasons = readReasons(await textOf(response))
    return response.ok
      ? { isWell: true, says: 'ready' }
      : { isWell: false, says: reasons.length === 0 ? `answers ${response.status}` : reasons.join('; ') }
  })
}

async function probe(
  part: Finding['part'],
  where: string,
  ask: () => Promise<Pick<Finding, 'isWell' | 'says'>>,
): Promise<Finding> {
  try {
    return { part, where, ...(await ask()) }
  } catch (error) {
    return { part, where, isWell: false, says: error instanceof Error ? error.message : 'failed' }
  }
}

async function getText(url: URL): Promise<string> {
  let response: Response
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  } catch (cause) {
    throw new Error('no answer', { cause })
  }
  if (!response.ok) {
    await response.body?.cancel()
    throw new Error(`answers ${response.status}`)
  }
  return textOf(response)
}

async function textOf({ body }: Response): Promise<string> {
  try {
    return await readBodyText(body, ANSWER_BYTES_MAX)
  } catch (cause) {
    throw new Error(cause instanceof RangeError ? 'answers more than anybody would' : 'breaks off', { cause })
  }
}

function readReasons(text: string): string[] {
  try {
    const { reasons } = JSON.parse(text) as { reasons?: unknown }
    return Array.isArray(reasons) ? reasons.filter((reason) => typeof reason === 'string') : []
  } catch {
    // Whatever answers there is no role of ours.
    return []
  }
}

/** Without paths, which may hold keys. */
function hostsOf(urls: readonly string[]): string {
  return urls.map((url) => new URL(url).host).join(', ')
}

function counted(list: readonly unknown[], noun: string): string {
  return `${list.length} ${noun}${list.length === 1 ? '' : 's'}`
}

/** What a role finds on its chain: endpoints that agree, contracts that fit, accounts with enough, and its enclave's standing. @module */
import { existsSync, readFileSync } from 'node:fs'
import { privateKeyToAddress } from 'viem/accounts'
import { formatEther } from 'viem/utils'
import {
  agreeOnFinalized,
  type EndpointHealth,
  findMisfits,
  readBonds,
  readEndpoint,
  readKeyConfigs,
  readPurse,
} from '#chain/diagnosis.ts'
import { readEnclaveStanding } from '#chain/registry.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { formatOpg } from '#protocol/credits/amounts.ts'
import { isLocalChain } from '#protocol/evidence/localChains.ts'
import { keccak256 } from '#protocol/hash.ts'
import type { EnclaveWord } from './enclave.ts'
import { duration, type Finding, failed, guarded, ok, warn } from './finding.ts'
import type { Clock } from './peers.ts'
import type { Account, Subject } from './subject.ts'

const TIMEOUT_MS = 10_000
const HEAD_AGE_SECONDS_MAX = 300
/** Transactions that an account should have coins for. */
const TRANSACTIONS_MIN = 10n
const DAY_SECONDS = 86_400
/** Keys are replaced after half of the seven days that the registry knows them: less than this means that nobody replaces them. */
const KEYS_SECONDS_MIN = 2 * DAY_SECONDS

export type ChainReport = { readonly findings: readonly Finding[]; readonly clocks: readonly Clock[] }

/** `enclave` is what the enclave says of itself, where it could be asked. */
export async function checkChain(subject: Subject, enclave: EnclaveWord | undefined): Promise<ChainReport> {
  if (subject.rpcUrls.length === 0) return { findings: [], clocks: [] }
  const chainId = subject.chainId ?? enclave?.statement.chainId
  const asked = await Promise.all(subject.rpcUrls.map((url) => checkEndpoint(url, chainId)))
  const findings = asked.map(({ finding }) => finding)
  const healthy = asked.flatMap(({ health }) => (health === undefined ? [] : [health]))
  const [first] = healthy
  // Another chain has other contracts: nothing there says anything about these.
  if (first === undefined) return { findings, clocks: [] }
  const clocks = healthy.flatMap(clockOf)
  if (subject.rpcUrls.length > 1) findings.push(...(await checkAgreement(healthy, subject.rpcUrls.length)))
  const misfits = await checkContracts(first, subject, enclave)
  findings.push(...misfits)
  if (misfits.some(({ state }) => state === 'FAILED')) return { findings, clocks }
  for (const account of subject.accounts) findings.push(...(await checkAccount(first, account)))
  findings.push(...(await checkEnclave(first, subject, enclave)))
  return { findings, clocks }
}

type Asked = { readonly finding: Finding; readonly health?: EndpointHealth }

async function checkEndpoint(url: string, chainId: number | undefined): Promise<Asked> {
  // Without its path, which may hold a key.
  const what = `RPC endpoint ${new URL(url).host}`
  let health: EndpointHealth
  try {
    health = await readEndpoint(url, TIMEOUT_MS)
  } catch {
    // What went wrong quotes the address.
    return { finding: failed(what, 'it does not answer as a chain would', 'check its address, and the way to it') }
  }
  if (chainId !== undefined && health.chainId !== chainId) {
    const found = `it is on chain ${health.chainId}, the configuration on ${chainId}`
    return { finding: failed(what, found, 'correct one of them') }
  }
  const age = Date.now() / 1000 - Number(health.head.timestamp)
  const block = `chain ${health.chainId}, block ${health.head.number}`
  if (isLocalChain(health.chainId)) return { finding: ok(what, `${block}, a local chain`), health }
  const found = `${block}, ${duration(Math.max(0, age))} old`
  if (age <= HEAD_AGE_SECONDS_MAX) return { finding: ok(what, found), health }
  return { finding: failed(what, found, 'it or its chain has stopped: use another endpoint'), health }
}

/** A head of the future is a clock that is late; an old one may be so for other reasons. Local chains count as they like. */
function clockOf({ chainId, head }: EndpointHealth): readonly Clock[] {
  const aheadSeconds = Number(head.timestamp) - Date.now() / 1000
  return aheadSeconds > 0 && !isLocalChain(chainId) ? [{ who: "the chain's newest block", aheadSeconds }] : []
}

function checkAgreement(healthy: readonly EndpointHealth[], count: number): Promise<readonly Finding[]> {
  const what = 'agreement of the RPC endpoints'
  const remedy = 'ask their providers which is right, and replace the other'
  return guarded(what, remedy, async () => {
    if (healthy.length < count) return []
    const agree = await agreeOnFinalized(healthy)
    return [agree ? ok(what, 'one final block') : failed(what, 'they call different blocks final', remedy)]
  })
}

function checkContracts(
  { client }: EndpointHealth,
  { contracts }: Subject,
  enclave: EnclaveWord | undefined,
): Promise<readonly Finding[]> {
  const remedy = 'compare with the deployment file'
  return guarded('contracts', remedy, async () => {
    if (contracts === undefined) return []
    const settlement = contracts.settlement ?? enclave?.statement.settlement
    const misfits = await findMisfits(client, { ...contracts, settlement })
    if (misfits.length === 0) return [ok('contracts', 'they have code and fit each other')]
    return misfits.map((misfit) => failed('contracts', misfit, remedy))
  })
}

function checkAccount({ client }: EndpointHealth, { setting, file, what, gas }: Account): Promise<readonly Finding[]> {
  const name = `account of ${setting}`
  return guarded(name, 'check the RPC endpoint', async () => {
    const address = addressIn(file)
    if (address === undefined) {
      // A file that is missing has a line of its own.
      return existsSync(file) ? [failed(name, `${file} holds no private key`, 'expected 0x and 64 hex digits')] : []
    }
    const { balance, gasPrice } = await readPurse(client, address)
    const count = gasPrice === 0n ? TRANSACTIONS_MIN : balance / (gas * gasPrice)
    const found = `${address} has ${formatEther(balance)} coins, enough for ${count} ${what}${count === 1n ? '' : 's'} at today's price of gas`
    if (count >= TRANSACTIONS_MIN) return [ok(name, `${address} has ${formatEther(balance)} coins`)]
    const remedy = `send it ${formatEther(TRANSACTIONS_MIN * gas * gasPrice)} coins`
    return [count === 0n ? failed(name, found, remedy) : warn(name, found, remedy)]
  })
}

function addressIn(file: string): Hex | undefined {
  if (!existsSync(file)) return undefined
  const key = readFileSync(file, 'utf8').trim()
  return /^0x[0-9a-f]{64}$/i.test(key) ? privateKeyToAddress(key as Hex) : undefined
}

/** The enclave's registration, its bond and its keys. */
function checkEnclave(
  { client, head }: EndpointHealth,
  { role, contracts }: Subject,
  word: EnclaveWord | undefined,
): Promise<readonly Finding[]> {
  return guarded('enclave', 'check the RPC endpoint', async () => {
    if (contracts === undefined || word === undefined) return []
    const { enclave, operator, role: kind, registry } = word.statement
    if (registry !== contracts.registry) {
      const found = `the enclave names the registry ${registry}, this configuration ${contracts.registry}`
      return [failed('enclave', found, 'correct one of them')]
    }
    const now = Math.max(Number(head.timestamp), 0)
    const [{ state, endsAt }, keys, bonds] = await Promise.all([
      readEnclaveStanding(client, registry, enclave),
      readKeyConfigs(client, registry, enclave),
      readBonds(client, registry, operator, kind),
    ])
    const left = Number(endsAt) - now
    const isActive = state === 'active' && left > 0
    const bond = role === 'operator' ? [bondFinding(kind, operator, bonds, isActive)] : []
    if (!isActive) {
      const found =
        state === 'none' ? `${enclave} is not registered` : `${enclave} is ${state === 'active' ? 'expired' : state}`
      return [failed('registry standing', found, "look at its operator agent's log: it registers by itself"), ...bond]
    }
    const standing = `${enclave} is active for ${duration(left)}`
    const agent = "look at its operator agent's log: it renews by itself"
    return [
      left < DAY_SECONDS ? warn('registry standing', standing, agent) : ok('registry standing', standing),
      keysFinding(word, keys, now),
      ...bond,
    ]
  })
}

function keysFinding(
  { keyConfigs }: EnclaveWord,
  known: Awaited<ReturnType<typeof readKeyConfigs>>,
  now: number,
): Finding {
  const what = 'sealing keys'
  const hash = toHex(keccak256(keyConfigs))
  const entry = known.find((candidate) => candidate.hash === hash)
  const remedy = "look at its operator agent's log: it replaces them by itself"
  if (entry === undefined) return failed(what, 'the registry does not know those that are served', remedy)
  const left = Number(entry.expiresAt) - now
  if (left <= 0) return failed(what, `the registry knew them until ${duration(left)} ago`, remedy)
  const found = `the registry knows them for ${duration(left)} more`
  return left < KEYS_SECONDS_MIN ? warn(what, found, remedy) : ok(what, found)
}

/** Every boot is a new enclave, and the bond of the old one stays locked for a while. */
function bondFinding(
  kind: string,
  operator: Hex,
  { deposited, locked, needed, held }: Awaited<ReturnType<typeof readBonds>>,
  isActive: boolean,
): Finding {
  const free = deposited - locked
  const found = `${formatOpg(deposited)}, ${formatOpg(locked)} of them locked; each ${kind} locks ${formatOpg(needed)}; the account holds ${formatOpg(held)} more`
  if (free >= needed) return ok('bond', found)
  const remedy = `deposit ${formatOpg(needed - free)} more for ${operator} (sealpath bond deposit)`
  return isActive ? warn('bond', `${found}: too little for the next boot`, remedy) : failed('bond', found, remedy)
}

/** `sealpath measurement`: which enclave images count, as multisig and guardian decide it and as anyone can see it coming. @module */
import { readFileSync } from 'node:fs'
import * as v from 'valibot'
import { decodeFunctionData } from 'viem'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { readLiveEnclaves } from '#chain/registry.ts'
import {
  approvalCall,
  cancelCall,
  invalidationCall,
  type OpenProposal,
  readOpenProposals,
  readOperation,
  revocationCall,
} from '#chain/timelock.ts'
import { fromChain } from '#chain/vaultErrors.ts'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { ENCLAVE_ROLE, type EnclaveRole } from '#protocol/evidence/statement.ts'
import { hash, hexOf, parseJson, type Schema } from '#protocol/wire/json.ts'
import { type Command, readArguments, UsageError } from '../command.ts'
import type { DeployedNetwork } from '../deployedNetwork.ts'
import { hand, OWNER_OPTIONS, OWNER_USAGE, type OwnerRequest, openOwnerNetwork, withoutUrl } from '../ownerCalls.ts'

export const measurement: Command = {
  name: 'measurement',
  summary: 'Propose, execute and revoke the images that enclaves may run',
  usage: `usage: sealpath measurement show       [what] [options]
       sealpath measurement propose    what [options]
       sealpath measurement execute    what [options]
       sealpath measurement cancel     what [options], or --operation ID
       sealpath measurement revoke     what [options]
       sealpath measurement invalidate what [options]

what:
  --role ROLE          gateway or issuer
  --measurement HASH   what the registry approves, 0x and 64 hex digits
  --pcrs FILE          the same from the output of sealpath measure --json

options:
${OWNER_USAGE}
  --operation ID       with cancel: any proposal, by its id

The proposer proposes and takes back, the timelock waits, anyone executes; the guardian revokes at once; anyone then ends what still runs under it
(invalidate). Without --key-file and --out, the file is printed. show prints what is approved and every proposal that waits.`,
  async run(args) {
    const [action = '', ...rest] = args
    const { values } = readArguments({
      args: rest,
      options: {
        role: { type: 'string' },
        measurement: { type: 'string' },
        pcrs: { type: 'string' },
        ...OWNER_OPTIONS,
        operation: { type: 'string' },
      },
    })
    if (!isAction(action)) throw new UsageError(`say one of ${ACTIONS.join(', ')}`)
    if (values.operation !== undefined && action !== 'cancel') throw new UsageError('--operation goes with cancel')
    const network = await openOwnerNetwork(values)
    const subject = readSubject(values)
    if (action === 'show') return fromChain(show(network, subject))
    return hand(network, await prepare(network, action, subject, values.operation).catch(withoutUrl), values)
  },
}

const ACTIONS = ['show', 'propose', 'execute', 'cancel', 'revoke', 'invalidate'] as const
type Action = (typeof ACTIONS)[number]

type Subject = { readonly role: EnclaveRole; readonly roleName: string; readonly measurement: Hex }

/** PCR0 to PCR2 as `sealpath measure --json` prints them. */
type MeasuredImage = { readonly measurement: Hex; readonly pcrs: { readonly 0: Hex; readonly 1: Hex; readonly 2: Hex } }

const pcr = hexOf(48)
const MeasuredImageSchema: Schema<MeasuredImage> = v.object({
  measurement: hash,
  pcrs: v.object({ 0: pcr, 1: pcr, 2: pcr }),
})

function isAction(text: string): text is Action {
  return (ACTIONS as readonly string[]).includes(text)
}

function readSubject(values: {
  readonly role?: string | undefined
  readonly measurement?: string | undefined
  readonly pcrs?: string | undefined
}): Subject | undefined {
  const { role, measurement: given, pcrs } = values
  if (role === undefined && given === undefined && pcrs === undefined) return undefined
  if (role !== 'gateway' && role !== 'issuer') throw new UsageError('--role is gateway or issuer')
  if ((given === undefined) === (pcrs === undefined)) throw new UsageError('give --measurement or --pcrs')
  if (given !== undefined && !/^0x[0-9a-f]{64}$/i.test(given)) {
    throw new UsageError('--measurement is 0x and 64 hex digits')
  }
  const value = given === undefined ? readPcrs(pcrs ?? '') : (given.toLowerCase() as Hex)
  return { role: ENCLAVE_ROLE[role], roleName: role, measurement: value }
}

/** The measurement of an image, computed again from its PCRs. Throws `Error` when the file contradicts itself. */
function readPcrs(path: string): Hex {
  const image = parseJson(MeasuredImageSchema, readFileSync(path, 'utf8'), path)
  const { 0: pcr0, 1: pcr1, 2: pcr2 } = image.pcrs
  const computed = measurementOf('nitro', fromHex(pcr0), fromHex(pcr1), fromHex(pcr2))
  if (computed === image.measurement) return computed
  throw new Error(`${path} contradicts itself: its PCRs make ${computed}, and it says ${image.measurement}`)
}

function needSubject(subject: Subject | undefined): Subject {
  if (subject === undefined) throw new UsageError('give --role, and --measurement or --pcrs')
  return subject
}

async function prepare(
  network: DeployedNetwork,
  action: Exclude<Action, 'show'>,
  given: Subject | undefined,
  operation: string | undefined,
): Promise<OwnerRequest> {
  const { timelock, registry } = network.deployment
  if (operation !== undefined) {
    if (!/^0x[0-9a-f]{64}$/i.test(operation)) throw new UsageError('--operation is 0x and 64 hex digits')
    const id = operation.toLowerCase() as Hex
    return { calls: [cancelCall(timelock, id)], what: `take back the proposal ${id}`, next: 'It is gone.' }
  }
  const subject = needSubject(given)
  const name = `${subject.roleName} measurement ${subject.measurement}`
  if (action === 'revoke') return prepareRevocation(network, subject, name)
  if (action === 'invalidate') return prepareInvalidation(network, subject, name)
  const standing = await readOperation(network.client, timelock, approvalCall(registry, subject))
  const { state, readyAt, delay, schedule, execute, cancel } = standing
  const isApproved = await readApproval(network, subject)
  if (action === 'cancel') {
    if (state === 'unset') throw new Error(`nobody has proposed ${name}`)
    return { calls: [cancel], what: `take back the proposal of ${name}`, next: 'It is gone.' }
  }
  if (isApproved) throw new Error(`${name} is approved already`)
  if (action === 'propose') {
    if (state !== 'unset') throw new Error(`${name} is proposed already, and ready at ${timeOf(readyAt)}`)
    const next = `It can be executed ${delay} seconds after it is proposed, by anyone.`
    return { calls: [schedule], what: `propose ${name}`, next }
  }
  if (state === 'unset') throw new Error(`nobody has proposed ${name}`)
  const { timestamp } = await network.client.getBlock()
  if (timestamp < readyAt) throw new Error(`${name} waits until ${timeOf(readyAt)}`)
  return { calls: [execute], what: `approve ${name}`, next: 'Enclaves with it can register.' }
}

async function prepareRevocation(network: DeployedNetwork, subject: Subject, name: string): Promise<OwnerRequest> {
  const { registry, timelock } = network.deployment
  const { id, state } = await readOperation(network.client, timelock, approvalCall(registry, subject))
  // What was proposed and waits would approve it again, and anyone could execute it.
  const trap =
    state === 'unset' ? '' : ` The proposal ${id} would approve it again: have the proposer take it back (cancel).`
  if (!(await readApproval(network, subject)) && state === 'unset') throw new Error(`${name} is not approved`)
  return {
    calls: [revocationCall(registry, subject)],
    what: `revoke ${name}`,
    next: `Nothing registers under it any more; sealpath measurement invalidate ends what still runs.${trap}`,
  }
}

async function prepareInvalidation(network: DeployedNetwork, subject: Subject, name: string): Promise<OwnerRequest> {
  const { registry } = network.deployment
  if (await readApproval(network, subject)) throw new Error(`${name} is approved: the guardian has to revoke it first`)
  const live = await readLiveEnclaves(network.client, registry, subject.role)
  const ended = live.filter(({ measurement: runs }) => runs.toLowerCase() === subject.measurement)
  if (ended.length === 0) throw new Error(`no live enclave runs ${name}`)
  return {
    calls: ended.map(({ enclave }) => invalidationCall(registry, enclave)),
    what: `end ${ended.length} enclaves of ${name}`,
    next: 'Clients choose them no more. Nothing is slashed, and what they earned still settles for three days.',
  }
}

function readApproval(
  { client, deployment }: DeployedNetwork,
  { role, measurement: value }: Subject,
): Promise<boolean> {
  const args = [role, value] as const
  return client.readContract({
    address: deployment.registry,
    abi: enclaveRegistryAbi,
    functionName: 'isApproved',
    args,
  })
}

async function show(network: DeployedNetwork, subject: Subject | undefined): Promise<number> {
  const { client, deployment } = network
  if (subject !== undefined) {
    const isApproved = await readApproval(network, subject)
    const live = await readLiveEnclaves(client, deployment.registry, subject.role)
    const running = live.filter(({ measurement: runs }) => runs.toLowerCase() === subject.measurement)
    const standing = isApproved ? 'approved' : 'not approved'
    process.stdout.write(
      `${subject.roleName} measurement ${subject.measurement}: ${standing}, ${running.length} live enclaves\n`,
    )
  }
  const { timestamp } = await client.getBlock()
  const proposals = await readOpenProposals(client, deployment.timelock, deployment.fromBlock)
  for (const proposal of proposals) process.stdout.write(describe(proposal, timestamp))
  if (proposals.length === 0) process.stdout.write('no proposal waits\n')
  return 0
}

function describe({ id, readyAt, calls }: OpenProposal, now: bigint): string {
  const when = readyAt <= now ? 'anyone can execute it now' : `waits until ${timeOf(readyAt)}`
  const lines = calls.map(({ target, data }) => `  ${target}  ${describeCall(data)}\n`)
  return `proposal ${id}: ${when}\n${lines.join('')}`
}

/** The registry's calls by name; others as they are, for the reader to decode. */
function describeCall(data: Hex): string {
  try {
    const { functionName, args } = decodeFunctionData({ abi: enclaveRegistryAbi, data })
    return `${functionName}(${(args ?? []).join(', ')})`
  } catch {
    // Not the registry's.
    return data
  }
}

function timeOf(seconds: bigint): string {
  return new Date(Number(seconds) * 1_000).toISOString()
}

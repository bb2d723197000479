/** `sealpath keyset`: the keys that an issuer signs credits with, from its enclave to the vault, which its owner opens for them. @module */
import { readFileSync, writeFileSync } from 'node:fs'
import * as v from 'valibot'
import { getAddress } from 'viem'
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { readLiveEnclaves } from '#chain/registry.ts'
import { openingCall, readOperation } from '#chain/timelock.ts'
import { decodeKeyset } from '#chain/vault.ts'
import { formatTime } from '#chain/vaultErrors.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import { type Hex, toBase64, toHex } from '#protocol/bytes.ts'
import { isKeysetOffered } from '#protocol/credits/keysetOffer.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { type AgentStatus, AgentStatusSchema } from '#protocol/wire/agentApi.ts'
import { type AgentKeyset, type AgentKeysets, AgentKeysetsSchema } from '#protocol/wire/handoverApi.ts'
import { address, parseJson, type Schema, toJson } from '#protocol/wire/json.ts'
import { type Command, readArguments, required, UsageError, urlOf } from '../command.ts'
import type { DeployedNetwork } from '../deployedNetwork.ts'
import { hand, OWNER_OPTIONS, OWNER_USAGE, openOwnerNetwork, withoutUrl } from '../ownerCalls.ts'

export const keyset: Command = {
  name: 'keyset',
  summary: "Open an issuer's keyset at the vault",
  usage: `usage: sealpath keyset export  --agent URL --file FILE
       sealpath keyset propose --file FILE [options]
       sealpath keyset execute --file FILE [options]

  export    on the issuer's host: writes down the public keys of the keysets that its enclave has made, with the enclave's signature
  propose   the vault's owner: checks that a registered issuer made them, and proposes each that is not open yet to the timelock
  execute   anyone: opens them once the timelock's delay is over

  --agent URL          the issuer's agent interface, agentListen of issuer.json
  --file FILE          the keysets
${OWNER_USAGE}

Without --key-file and --out, propose and execute print the file for the multisig.`,
  async run([action, ...args]) {
    const { values } = readArguments({
      args,
      options: { ...OWNER_OPTIONS, agent: { type: 'string' }, file: { type: 'string' } },
    })
    if (values.file === undefined) throw new UsageError('give --file')
    switch (action) {
      case 'export':
        return exportKeysets(urlOf(required(values.agent, '--agent', 'SEALPATH_AGENT'), '--agent'), values.file)
      case 'propose':
      case 'execute': {
        const network = await openOwnerNetwork(values)
        return hand(network, await prepare(network, action, readFile(values.file)).catch(withoutUrl), values)
      }
      default:
        throw new UsageError('say what to do: export, propose, execute')
    }
  },
}

/** What an issuer's host hands to the vault's owner. */
type KeysetFile = AgentKeysets & { readonly format: 'sealpath-keysets/1'; readonly writer: Hex }

const KeysetFileSchema: Schema<KeysetFile> = v.pipe(
  v.unknown(),
  v.transform((file) => [file, file] as const),
  v.tuple([AgentKeysetsSchema, v.object({ format: v.literal('sealpath-keysets/1'), writer: address })]),
  v.transform(([keysets, file]) => ({ ...keysets, ...file })),
)

const TIMEOUT_MS = 10_000
/** All keysets of an issuer, in base64. */
const ANSWER_BYTES_MAX = 4_194_304

async function exportKeysets(agentUrl: string, path: string): Promise<number> {
  const read = async <T>(schema: Schema<T>, resource: string): Promise<T> => {
    const response = await fetch(new URL(resource, agentUrl), { signal: AbortSignal.timeout(TIMEOUT_MS) })
    if (!response.ok) throw new Error(`${agentUrl} answers ${response.status}: it is no issuer's agent interface`)
    return parseJson(schema, await readBodyText(response.body, ANSWER_BYTES_MAX), resource)
  }
  const { statement } = await read<AgentStatus>(AgentStatusSchema, '/agent/status')
  const { vault, keysets } = await read<AgentKeysets>(AgentKeysetsSchema, '/agent/keysets')
  if (keysets.length === 0) throw new Error('the issuer has made no keyset')
  const file: Record<keyof KeysetFile, unknown> = {
    format: 'sealpath-keysets/1',
    writer: statement.enclave,
    vault,
    keysets: keysets.map((each) => ({ ...each, keys: toBase64(each.keys) })),
  }
  writeFileSync(path, `${toJson(file, 2)}\n`)
  process.stdout.write(`${path}: ${keysets.length} of the issuer ${statement.enclave}. Give it to the vault's owner.\n`)
  return 0
}

function readFile(path: string): KeysetFile {
  return parseJson(KeysetFileSchema, readFileSync(path, 'utf8'), path)
}

async function prepare(network: DeployedNetwork, action: 'propose' | 'execute', file: KeysetFile) {
  await requireIssuer(network, file)
  const calls = []
  const names: Hex[] = []
  let delay = 0n
  for (const made of file.keysets) {
    if (await isOpen(network, made.keyset)) continue
    requireOwn(network, file, made)
    const { keys, keyset: _, signature: __, ...times } = made
    const opening = openingCall(network.deployment.vault, { keys, times, writer: file.writer })
    const standing = await readOperation(network.client, network.deployment.timelock, opening)
    delay = standing.delay
    if (action === 'propose') {
      if (standing.state !== 'unset') continue
      calls.push(standing.schedule)
    } else {
      if (standing.state === 'unset') throw new Error(`nobody has proposed the keyset ${made.keyset}`)
      const { timestamp } = await network.client.getBlock({ blockTag: 'pending' })
      if (timestamp < standing.readyAt) {
        throw new Error(`the keyset ${made.keyset} waits until ${formatTime(standing.readyAt)}`)
      }
      calls.push(standing.execute)
    }
    names.push(made.keyset)
  }
  if (calls.length === 0) {
    throw new Error(`every keyset of the file is ${action === 'propose' ? 'proposed or open' : 'open'} already`)
  }
  const next =
    action === 'propose'
      ? `It can be executed ${delay} seconds after it is proposed, by anyone.`
      : 'The issuer signs credits with it from now on.'
  return { calls, what: `${action === 'propose' ? 'propose' : 'open'} the keyset ${names.join(', ')}`, next }
}

/** The writer must be an active issuer: its evidence was verified on chain. */
async function requireIssuer({ client, deployment }: DeployedNetwork, { writer, vault }: KeysetFile): Promise<void> {
  if (vault.toLowerCase() !== deployment.vault.toLowerCase()) {
    throw new Error(`the keysets are for the vault ${vault}, and the deployment's is ${deployment.vault}`)
  }
  const issuers = await readLiveEnclaves(client, deployment.registry, ENCLAVE_ROLE.issuer)
  if (issuers.some(({ enclave }) => enclave === writer.toLowerCase())) return
  throw new Error(`the registry calls no issuer ${writer} active: have its operator register it first`)
}

/** The keys make up the id, and the enclave signed the id. */
function requireOwn({ deployment }: DeployedNetwork, { writer, vault }: KeysetFile, made: AgentKeyset): void {
  const { keyset: id, keys, signature, ...times } = made
  const { chainId } = deployment
  decodeKeyset({ chainId, vault }, { keyset: id, times, keys: toHex(keys) })
  if (isKeysetOffered({ keyset: id, writer }, { chainId, vault }, signature)) return
  throw new Error(`the issuer ${writer} did not sign the keyset ${id}: somebody changed it on its way`)
}

async function isOpen({ client, deployment }: DeployedNetwork, id: Hex): Promise<boolean> {
  const vault = { address: getAddress(deployment.vault), abi: creditVaultAbi } as const
  const { number } = await client.readContract({ ...vault, functionName: 'keysetOf', args: [id] })
  return number !== 0
}

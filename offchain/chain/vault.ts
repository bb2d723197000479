/**
 * Reads of the vault: where it is, its keysets with their keys, and what was deposited under them. Nothing is believed that can be checked:
 * a keyset's keys must make up its id.
 * @module
 */
import { getAbiItem, type PublicClient } from 'viem'
import { fromHex, type Hex, lowerHex } from '#protocol/bytes.ts'
import { DENOMINATION_COUNT } from '#protocol/credits/amounts.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { hashKeyset, type Keyset, keysetPhase } from '#protocol/credits/keyset.ts'
import { decodeEip2537G2, EIP2537_G2_BYTES } from '#protocol/credits/points.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi } from './generated/abis.ts'
import { ENCLAVE_STATES } from './registry.ts'
import { fromChain, VaultError } from './vaultErrors.ts'
import { readLogs } from './vaultLogs.ts'

export type VaultAccess = {
  readonly client: PublicClient
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  readonly vault: Hex
  readonly token: Hex
  /** Block from which the vault exists, or any before. */
  readonly fromBlock: bigint
}

/** A keyset as the vault opened it, its keys checked against its id. `block` is the one that it was opened in. */
export type VaultKeyset = {
  readonly id: Hex
  readonly number: number
  readonly keyset: Keyset
  /** The issuer enclave that writes it now. */
  readonly writer: Hex
  readonly block: bigint
}

/** Finds the vault from the registry, by the settlement contract. Throws `VaultError` (`CHAIN_FAILED`). */
export async function openVault(
  client: PublicClient,
  registry: Hex,
  options: { readonly fromBlock?: bigint } = {},
): Promise<VaultAccess> {
  const read = async (): Promise<VaultAccess> => {
    const [chainId, settlement] = await Promise.all([
      client.getChainId(),
      client.readContract({ address: registry, abi: enclaveRegistryAbi, functionName: 'settlement' }),
    ])
    const vault = await client.readContract({ address: settlement, abi: receiptSettlementAbi, functionName: 'VAULT' })
    const token = await client.readContract({ address: vault, abi: creditVaultAbi, functionName: 'TOKEN' })
    const { fromBlock = 0n } = options
    return {
      client,
      chainId,
      registry: lowerHex(registry),
      settlement: lowerHex(settlement),
      vault: lowerHex(vault),
      token: lowerHex(token),
      fromBlock,
    }
  }
  return fromChain(read())
}

const KEYSET_OPENED = getAbiItem({ abi: creditVaultAbi, name: 'KeysetOpened' })

/** Every keyset of the vault, newest first. Throws `VaultError` (`CHAIN_FAILED`, `BAD_KEYSET`). */
export async function readKeysets(access: VaultAccess): Promise<VaultKeyset[]> {
  const { client, vault } = access
  const contract = { address: vault, abi: creditVaultAbi } as const
  const count = await fromChain(client.readContract({ ...contract, functionName: 'keysetCount' }))
  const logs = await readLogs(
    access,
    (range) => client.getLogs({ address: vault, event: KEYSET_OPENED, strict: true, ...range }),
    { count },
  )
  return Promise.all(
    logs.map(async ({ args, blockNumber }) => {
      const { writer } = await fromChain(
        client.readContract({ ...contract, functionName: 'keysetOf', args: [args.keyset] }),
      )
      const { keyset: id, number } = args
      return { id, number, keyset: decodeKeyset(access, args), writer: lowerHex(writer), block: blockNumber }
    }),
  )
}

/** A keyset as the vault's event or an issuer shows it: 24 points of 256 bytes. */
export type OpenedKeyset = {
  readonly keyset: Hex
  readonly times: { readonly signUntil: number; readonly spendUntil: number; readonly exitUntil: number }
  readonly keys: Hex
}

/** Checks the keys against the keyset's id. Throws `VaultError` (`BAD_KEYSET`). */
export function decodeKeyset(
  { chainId, vault }: Pick<VaultAccess, 'chainId' | 'vault'>,
  { keyset: id, times, keys }: OpenedKeyset,
): Keyset {
  const { signUntil, spendUntil, exitUntil } = times
  try {
    const bytes = fromHex(keys, DENOMINATION_COUNT * EIP2537_G2_BYTES)
    const points = Array.from({ length: DENOMINATION_COUNT }, (_, i) =>
      decodeEip2537G2(bytes.subarray(i * EIP2537_G2_BYTES, (i + 1) * EIP2537_G2_BYTES)),
    )
    const keyset = { chainId, vault, keys: points, signUntil, spendUntil, exitUntil }
    if (hashKeyset(keyset) === id) return keyset
  } catch (cause) {
    if (!(cause instanceof CreditError)) throw cause
    throw new VaultError('BAD_KEYSET', `the keys of keyset ${id} are none`, { cause, reason: cause.code })
  }
  throw new VaultError('BAD_KEYSET', `the keys that are shown for keyset ${id} are not those of its id`)
}

/**
 * The keyset to buy in: of those that an active issuer writes and that sign until `lastsUntil` at least (seconds), the one that does so longest. Throws
 * `VaultError` (`NO_KEYSET`, `CHAIN_FAILED`).
 */
export async function chooseKeyset(
  { client, registry }: VaultAccess,
  keysets: readonly VaultKeyset[],
  lastsUntil: number,
): Promise<VaultKeyset> {
  const signing = keysets.filter(({ keyset }) => keysetPhase(keyset, lastsUntil) === 'sign')
  for (const candidate of signing.toSorted((a, b) => b.keyset.signUntil - a.keyset.signUntil)) {
    const [state, role] = await fromChain(
      client.readContract({
        address: registry,
        abi: enclaveRegistryAbi,
        functionName: 'standingOf',
        args: [candidate.writer],
      }),
    )
    if (ENCLAVE_STATES[state] === 'active' && role === ENCLAVE_ROLE.issuer) return candidate
  }
  throw new VaultError('NO_KEYSET', 'no keyset of this vault takes deposits for long enough now: try again later')
}

/** Time of the newest block, in seconds since the epoch. Throws `VaultError` (`CHAIN_FAILED`). */
export async function readChainTime({ client }: Pick<VaultAccess, 'client'>): Promise<number> {
  const { timestamp } = await fromChain(client.getBlock())
  return Number(timestamp)
}

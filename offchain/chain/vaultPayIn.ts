/**
 * Making a deposit: in one transaction where the token takes signatures (ERC-3009, ERC-2612), in two otherwise. Whichever way, the claim key can be
 * deposited for once, so that trying again never pays twice.
 * @module
 */
import {
  domainSeparator,
  encodeAbiParameters,
  encodeFunctionData,
  erc20Abi,
  getAddress,
  keccak256,
  parseAbi,
  parseSignature,
} from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import { formatOpg } from '#protocol/credits/amounts.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { creditVaultAbi } from './generated/abis.ts'
import type { VaultAccess } from './vault.ts'
import { sizeNumberOf } from './vaultDeposits.ts'
import { fromChain, VaultError } from './vaultErrors.ts'
import { type ChainSigner, sendCall, type TypedMessage, tryCall } from './vaultSigner.ts'

export type DepositRequest = { readonly keyset: Hex; readonly units: bigint; readonly claimKey: Hex }

/** `authorization`: ERC-3009, good for this deposit and no other. `permit`: ERC-2612. `approve`: two transactions. */
export type DepositWay = 'authorization' | 'permit' | 'approve'

export type DepositMade = { readonly transaction: Hex; readonly way: DepositWay }
/** How long a signature for a deposit is good. */
const SIGNATURE_SECONDS = 1_800n

const SIGNED_TOKEN_ABI = parseAbi([
  'function DOMAIN_SEPARATOR() view returns (bytes32)',
  'function eip712Domain() view returns (bytes1 fields, string name, string version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] extensions)',
  'function name() view returns (string)',
  'function version() view returns (string)',
  'function nonces(address owner) view returns (uint256)',
  'function authorizationState(address authorizer, bytes32 nonce) view returns (bool)',
])

/**
 * Deposits from the signer's account, in the best way that its token knows or in the given one. Throws `VaultError`: `NO_FUNDS`, `REFUSED` before
 * anything was sent, and what `sendCall` throws.
 */
export async function makeDeposit(
  access: VaultAccess,
  signer: ChainSigner,
  request: DepositRequest,
  way?: DepositWay,
): Promise<DepositMade> {
  await requireFunds(access, signer, request.units)
  const isAllowed = await tryDeposit(access, signer, request)
  const send = async (used: DepositWay, data: Hex): Promise<DepositMade> => ({
    transaction: await sendCall(access.client, signer, { to: access.vault, data }),
    way: used,
  })
  if (way === undefined && isAllowed) return send('approve', depositData(request))
  if (way !== 'approve') {
    const domain = await readTokenDomain(access)
    const ways = way === undefined ? (['authorization', 'permit'] as const) : [way]
    for (const candidate of ways) {
      const data = await signedDepositData(access, signer, request, candidate, domain)
      if (data !== undefined && (way !== undefined || (await isAccepted(access, signer, data)))) {
        return send(candidate, data)
      }
    }
    if (way !== undefined) throw new VaultError('REFUSED', `the token does not take deposits by ${way}`)
  }
  if (!isAllowed) await sendCall(access.client, signer, { to: access.token, data: approvalData(access, request) })
  return send('approve', depositData(request))
}

async function requireFunds({ client, token }: VaultAccess, { address }: ChainSigner, units: bigint): Promise<void> {
  const balance = await fromChain(
    client.readContract({ address: token, abi: erc20Abi, functionName: 'balanceOf', args: [address] }),
  )
  if (balance >= units * BASE_UNITS_PER_UNIT) return
  const held = formatOpg(balance / BASE_UNITS_PER_UNIT)
  throw new VaultError('NO_FUNDS', `${address} holds ${held}, and the deposit takes ${formatOpg(units)}`)
}

/**
 * Whether a plain deposit would go through, the allowance being there. The vault looks at everything of its own first: what it refuses is refused
 * whichever way, and is thrown before anything is signed.
 */
async function tryDeposit(access: VaultAccess, { address }: ChainSigner, request: DepositRequest): Promise<boolean> {
  try {
    await tryCall(access.client, address, { to: access.vault, data: depositData(request) })
    return true
  } catch (error) {
    const isOfVault = error instanceof VaultError && /^(?:Vault|EnforcedPause)/.test(error.reason ?? '')
    if (isOfVault || !(error instanceof VaultError) || error.code !== 'REFUSED') throw error
    return false
  }
}

async function isAccepted({ client, vault }: VaultAccess, { address }: ChainSigner, data: Hex): Promise<boolean> {
  try {
    await tryCall(client, address, { to: vault, data })
    return true
  } catch (error) {
    // A token may name the functions and mean something else by them: then another way is taken.
    if (error instanceof VaultError && error.code === 'REFUSED') return false
    throw error
  }
}

type TokenDomain = TypedMessage['domain']

/** The domain that the token's signatures are made for; undefined when it does not tell, or tells another one than it uses. */
async function readTokenDomain({ client, token, chainId }: VaultAccess): Promise<TokenDomain | undefined> {
  const contract = { address: token, abi: SIGNED_TOKEN_ABI } as const
  const [separator, described, name, version] = await Promise.all([
    orUndefined(client.readContract({ ...contract, functionName: 'DOMAIN_SEPARATOR' })),
    orUndefined(client.readContract({ ...contract, functionName: 'eip712Domain' })),
    orUndefined(client.readContract({ ...contract, functionName: 'name' })),
    orUndefined(client.readContract({ ...contract, functionName: 'version' })),
  ])
  const named = described?.[1] ?? name
  if (separator === undefined || named === undefined) return undefined
  const verifyingContract = getAddress(token)
  const domain = { name: named, version: described?.[2] ?? version ?? '1', chainId, verifyingContract }
  return domainSeparator({ domain }) === separator ? domain : undefined
}

async function signedDepositData(
  access: VaultAccess,
  signer: ChainSigner,
  request: DepositRequest,
  way: 'authorization' | 'permit',
  domain: TokenDomain | undefined,
): Promise<Hex | undefined> {
  if (domain === undefined) return undefined
  const { timestamp } = await fromChain(access.client.getBlock())
  const deadline = timestamp + SIGNATURE_SECONDS
  return way === 'authorization'
    ? authorizedData(access, signer, request, domain, deadline)
    : permittedData(access, signer, request, domain, deadline)
}

async function authorizedData(
  { client, vault, token }: VaultAccess,
  signer: ChainSigner,
  { keyset, units, claimKey }: DepositRequest,
  domain: TokenDomain,
  validBefore: bigint,
): Promise<Hex | undefined> {
  const key = getAddress(claimKey)
  const nonce = keccak256(encodeAbiParameters([{ type: 'bytes32' }, { type: 'address' }], [keyset, key]))
  const contract = { address: token, abi: SIGNED_TOKEN_ABI } as const
  const isUsed = await orUndefined(
    client.readContract({ ...contract, functionName: 'authorizationState', args: [signer.address, nonce] }),
  )
  if (isUsed !== false) return undefined
  const signature = await sign(signer, {
    domain,
    types: {
      ReceiveWithAuthorization: [
        { name: 'from', type: 'address' },
        { name: 'to', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'validAfter', type: 'uint256' },
        { name: 'validBefore', type: 'uint256' },
        { name: 'nonce', type: 'bytes32' },
      ],
    },
    primaryType: 'ReceiveWithAuthorization',
    message: {
      from: signer.address,
      to: getAddress(vault),
      value: units * BASE_UNITS_PER_UNIT,
      validAfter: 0n,
      validBefore,
      nonce,
    },
  })
  if (signature === undefined) return undefined
  const { v, r, s } = signature
  return encodeFunctionData({
    abi: creditVaultAbi,
    functionName: 'depositWithAuthorization',
    args: [keyset, sizeNumberOf(units), key, signer.address, 0n, validBefore, v, r, s],
  })
}

async function permittedData(
  { client, vault, token }: VaultAccess,
  signer: ChainSigner,
  { keyset, units, claimKey }: DepositRequest,
  domain: TokenDomain,
  deadline: bigint,
): Promise<Hex | undefined> {
  const nonce = await orUndefined(
    client.readContract({
      address: token,
      abi: SIGNED_TOKEN_ABI,
      functionName: 'nonces',
      args: [signer.address],
    }),
  )
  if (nonce === undefined) return undefined
  const signature = await sign(signer, {
    domain,
    types: {
      Permit: [
        { name: 'owner', type: 'address' },
        { name: 'spender', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'nonce', type: 'uint256' },
        { name: 'deadline', type: 'uint256' },
      ],
    },
    primaryType: 'Permit',
    message: { owner: signer.address, spender: getAddress(vault), value: units * BASE_UNITS_PER_UNIT, nonce, deadline },
  })
  if (signature === undefined) return undefined
  const { v, r, s } = signature
  return encodeFunctionData({
    abi: creditVaultAbi,
    functionName: 'depositWithPermit',
    args: [keyset, sizeNumberOf(units), getAddress(claimKey), deadline, v, r, s],
  })
}

/** Undefined for a signature that is not r, s, v: that of a contract's account, which neither standard takes in parts. */
async function sign(
  signer: ChainSigner,
  message: TypedMessage,
): Promise<{ readonly v: number; readonly r: Hex; readonly s: Hex } | undefined> {
  let signature: Hex
  try {
    signature = await signer.signTypedData(message)
  } catch (cause) {
    throw new VaultError('NOT_SENT', `${signer.address} did not sign for the deposit`, { cause })
  }
  if (signature.length !== 132) return undefined
  const { r, s, yParity } = parseSignature(signature)
  return { v: 27 + yParity, r, s }
}

function depositData({ keyset, units, claimKey }: DepositRequest): Hex {
  const args = [keyset, sizeNumberOf(units), getAddress(claimKey)] as const
  return encodeFunctionData({ abi: creditVaultAbi, functionName: 'deposit', args })
}

function approvalData({ vault }: VaultAccess, { units }: DepositRequest): Hex {
  const args = [getAddress(vault), units * BASE_UNITS_PER_UNIT] as const
  return encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args })
}

/** A token without this function is a token without this way. */
async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch {
    return undefined
  }
}

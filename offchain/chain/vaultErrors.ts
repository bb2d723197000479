/** What can go wrong at our contracts, each in one sentence: a contract's custom error says a name and numbers, a person needs to know what to do. @module */
import { BaseError, type DecodeErrorResultReturnType, decodeErrorResult, type Hex as ViemHex } from 'viem'
import { formatOpg } from '#protocol/credits/amounts.ts'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi, testOPGAbi } from './generated/abis.ts'

export type VaultErrorCode =
  /** The RPC endpoint does not answer, or not as specified. */
  | 'CHAIN_FAILED'
  /** The contract would refuse it: nothing was sent. */
  | 'REFUSED'
  /** The signer neither signed nor sent it: nothing happened. */
  | 'NOT_SENT'
  /** It was sent, and the contract refused it: only gas was lost. */
  | 'REVERTED'
  /** It was sent, and nobody knows yet. */
  | 'UNCONFIRMED'
  /** The account holds less than it takes. */
  | 'NO_FUNDS'
  /** No keyset of the vault takes deposits now. */
  | 'NO_KEYSET'
  /** The keys in a keyset's event do not make up its id. */
  | 'BAD_KEYSET'

/** `reason` is the name of the contract's error, where there is one. The message is a sentence for people. */
export class VaultError extends Error {
  override readonly name = 'VaultError'
  readonly code: VaultErrorCode
  readonly reason: string | undefined
  constructor(code: VaultErrorCode, message: string, options: ErrorOptions & { reason?: string } = {}) {
    super(message, options)
    this.code = code
    this.reason = options.reason
  }
}

/** Waits for a read of the chain. Throws `VaultError` (`CHAIN_FAILED`) without the endpoint's address, which may hold a key. */
export async function fromChain<T>(reading: Promise<T>): Promise<T> {
  try {
    return await reading
  } catch (cause) {
    if (cause instanceof VaultError) throw cause
    throw new VaultError('CHAIN_FAILED', 'the RPC endpoint does not answer as the vault would: check --rpc', { cause })
  }
}

/** What a failed simulation says: `REFUSED` with the contract's own reason, or `CHAIN_FAILED`. */
export function explainRefusal(error: unknown): VaultError {
  const data = revertDataOf(error)
  if (data === undefined) {
    return new VaultError('CHAIN_FAILED', 'the RPC endpoint did not carry out the call', { cause: error })
  }
  const decoded = decode(data)
  if (decoded === undefined) {
    return new VaultError('REFUSED', 'the contract refuses it without a reason that we know', { cause: error })
  }
  return new VaultError('REFUSED', sentenceOf(decoded), { cause: error, reason: decoded.errorName })
}

/** The errors of our contracts, and those of the token that they call. */
const KNOWN_ERRORS = [...creditVaultAbi, ...receiptSettlementAbi, ...enclaveRegistryAbi, ...testOPGAbi] as const
type KnownError = DecodeErrorResultReturnType<typeof KNOWN_ERRORS>

function decode(data: ViemHex): KnownError | undefined {
  try {
    return decodeErrorResult({ abi: KNOWN_ERRORS, data })
  } catch {
    // An error of some other contract: there is no name for it here.
    return undefined
  }
}

/** Endpoints put the bytes in different places of their error; viem keeps what they sent. */
function revertDataOf(error: unknown): ViemHex | undefined {
  if (!(error instanceof BaseError)) return undefined
  const carrier = error.walk((cause) => typeof cause === 'object' && cause !== null && 'data' in cause)
  const data = (carrier as { data?: unknown } | null)?.data
  const bytes = typeof data === 'object' && data !== null ? (data as { data?: unknown }).data : data
  return typeof bytes === 'string' && /^0x[0-9a-f]+$/i.test(bytes) ? (bytes as ViemHex) : undefined
}

const DEPOSIT_STATES = ['does not exist', 'is open', 'was asked back', 'was answered', 'was refunded'] as const
const EXIT_STATES = ['was never opened', 'is under way', 'was cancelled because it was spent', 'was paid'] as const

function sentenceOf(error: KnownError): string {
  switch (error.errorName) {
    case 'VaultDepositExists':
      return 'there is a deposit for this claim key already: the purchase goes on by itself'
    case 'VaultDepositIs':
      return `this deposit ${DEPOSIT_STATES[error.args[0]] ?? 'is in another state'}`
    case 'VaultNotPayer':
      return `only ${error.args[0]}, who made this deposit, may ask it back`
    case 'VaultTooEarly':
      return `this is possible from ${formatTime(error.args[0])} on`
    case 'VaultTooLate':
      return `this was possible until ${formatTime(error.args[0])}`
    case 'VaultPhaseOver':
      return `the keyset's time for this ended at ${formatTime(error.args[0])}`
    case 'VaultKeysetUnknown':
      return 'the vault does not know this keyset'
    case 'VaultKeysetDrained':
      return `behind this keyset are ${formatOpg(error.args[0])} only, and this takes ${formatOpg(error.args[1])}`
    case 'VaultExitCapReached':
      return `today ${formatOpg(error.args[0])} more may leave this keyset, and this takes ${formatOpg(error.args[1])}: the next day begins at 00:00 UTC`
    case 'VaultExitIs':
      return `the exit of a credit ${EXIT_STATES[error.args[1]] ?? 'is in another state'}`
    case 'VaultExitNotReady':
      return `the exit can be paid from ${formatTime(error.args[0])} on`
    case 'VaultExitNotSigned':
      return 'an exit is not signed by its exit key'
    case 'BlindSignaturesWrong':
      return 'a credit is not signed by the keyset'
    case 'EnforcedPause':
      return 'the guardian has stopped deposits; exits and refunds go on'
    case 'ERC20InsufficientBalance':
      return `${error.args[0]} holds less OPG than this takes`
    case 'ERC20InsufficientAllowance':
      return 'the contract may not take that much OPG from this account'
    case 'SettlementStillThawing':
      return `earnings thaw, and can be drawn from ${formatTime(error.args[0])} on`
    case 'SettlementNothingToThaw':
      return 'there is nothing that was not drawn before'
    case 'SettlementEnclaveCompromised':
      return `the enclave ${error.args[0]} was compromised: what it earned is not paid any more`
    case 'RegistryNotOperator':
      return `only the operator of this enclave may do that, ${error.args[0]}`
    case 'RegistryEnclaveUnknown':
      return `the registry does not know the enclave ${error.args[0]}`
    case 'RegistryEnclaveEnded':
      return `the registration of the enclave ${error.args[0]} has ended before`
    case 'RegistryNoBond':
      return `the enclave ${error.args[0]} holds no bond`
    case 'RegistryBondHeld':
      return `the bond of the enclave ${error.args[0]} is free from ${formatTime(error.args[1])} on`
    case 'BondTooSmall':
      return `of the bond of ${error.args[0]} only ${formatOpg(error.args[2])} are free, and this takes ${formatOpg(error.args[1])}`
    default:
      return `the contract refuses it: ${error.errorName}`
  }
}

/** Seconds since the epoch, for people. */
export function formatTime(seconds: number | bigint): string {
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

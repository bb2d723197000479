/** What an enclave binds into its evidence: role, receipt key, key configurations, operator, for one chain and registry. @module */
import { equalBytes, fromHex, type Hex } from '#protocol/bytes.ts'
import { hashTypedData } from '#protocol/typedData.ts'

/** What the enclave states about itself. Twin of the registry's struct of the same name. */
export type EnclaveStatement = {
  readonly role: EnclaveRole
  /** Address of the secp256k1 key that signs receipts; it also signs this statement, as proof of possession. */
  readonly enclave: Hex
  /** keccak-256 of the exact `application/ohttp-keys` bytes. */
  readonly keyConfigs: Hex
  /** Address that earns for this enclave. */
  readonly operator: Hex
}

/** Where the statement counts: one registry on one chain. */
export type StatementDomain = { readonly chainId: number; readonly registry: Hex }

export type EnclaveRole = (typeof ENCLAVE_ROLE)[keyof typeof ENCLAVE_ROLE]

export const ENCLAVE_ROLE = { gateway: 1, issuer: 2 } as const

/** EIP-712 types, as viem's and ethers' signing functions take them. */
export const ENCLAVE_STATEMENT_TYPES = {
  EnclaveStatement: [
    { name: 'role', type: 'uint8' },
    { name: 'enclave', type: 'address' },
    { name: 'keyConfigs', type: 'bytes32' },
    { name: 'operator', type: 'address' },
  ],
} as const

/** The EIP-712 domain of statements. */
export function statementDomain(domain: StatementDomain): EnclaveStatementTypedData['domain'] {
  return { name: 'Sealpath EnclaveRegistry', version: '1', chainId: domain.chainId, verifyingContract: domain.registry }
}

/** Everything a signer needs: pass it to viem's `signTypedData`, or its parts to ethers'. */
export function statementTypedData(statement: EnclaveStatement, domain: StatementDomain): EnclaveStatementTypedData {
  return {
    domain: statementDomain(domain),
    types: ENCLAVE_STATEMENT_TYPES,
    primaryType: 'EnclaveStatement',
    message: statement,
  }
}

/** EIP-712 digest of the statement, 32 bytes: what `user_data` holds and what the enclave's key signs. */
export function hashStatement(statement: EnclaveStatement, domain: StatementDomain): Hex {
  return hashTypedData(statementTypedData(statement, domain))
}

/** Checks that verified evidence was made for this statement: `user_data` is its digest, exactly. */
export function verifyStatement(
  userData: Uint8Array | undefined,
  statement: EnclaveStatement,
  domain: StatementDomain,
): StatementCheck {
  if (userData === undefined || userData.length !== 32) return { ok: false, code: 'USER_DATA_LENGTH' }
  if (!equalBytes(userData, fromHex(hashStatement(statement, domain)))) return { ok: false, code: 'STATEMENT_MISMATCH' }
  return { ok: true }
}

export type StatementCheck = { ok: true } | { ok: false; code: 'USER_DATA_LENGTH' | 'STATEMENT_MISMATCH' }

export type EnclaveStatementTypedData = {
  readonly domain: {
    readonly name: 'Sealpath EnclaveRegistry'
    readonly version: '1'
    readonly chainId: number
    readonly verifyingContract: Hex
  }
  readonly types: typeof ENCLAVE_STATEMENT_TYPES
  readonly primaryType: 'EnclaveStatement'
  readonly message: EnclaveStatement
}

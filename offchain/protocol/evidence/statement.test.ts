import { AbiCoder, concat, id, keccak256, TypedDataEncoder, verifyTypedData, Wallet } from 'ethers'
import { privateKeyToAccount } from 'viem/accounts'
import { describe, expect, it } from 'vitest'
import { fromHex, type Hex } from '#protocol/bytes.ts'
import {
  ENCLAVE_ROLE,
  ENCLAVE_STATEMENT_TYPES,
  type EnclaveStatement,
  hashStatement,
  statementDomain,
  statementTypedData,
  verifyStatement,
} from './statement.ts'

const KEY: Hex = `0x${'4c'.repeat(32)}`
const DOMAIN = { chainId: 31_337, registry: `0x${'a1'.repeat(20)}` } as const
const STATEMENT: EnclaveStatement = {
  role: ENCLAVE_ROLE.gateway,
  enclave: privateKeyToAccount(KEY).address,
  keyConfigs: `0x${'c0'.repeat(32)}`,
  operator: `0x${'b2'.repeat(20)}`,
}

describe('enclave statement', () => {
  it('hashes as EIP-712 says, put together by hand', () => {
    const abi = AbiCoder.defaultAbiCoder()
    const domainSeparator = keccak256(
      abi.encode(
        ['bytes32', 'bytes32', 'bytes32', 'uint256', 'address'],
        [
          id('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)'),
          id('Sealpath EnclaveRegistry'),
          id('1'),
          DOMAIN.chainId,
          DOMAIN.registry,
        ],
      ),
    )
    const structHash = keccak256(
      abi.encode(
        ['bytes32', 'uint8', 'address', 'bytes32', 'address'],
        [
          id('EnclaveStatement(uint8 role,address enclave,bytes32 keyConfigs,address operator)'),
          1,
          STATEMENT.enclave,
          STATEMENT.keyConfigs,
          STATEMENT.operator,
        ],
      ),
    )
    expect(hashStatement(STATEMENT, DOMAIN)).toBe(keccak256(concat(['0x1901', domainSeparator, structHash])))
  })

  it('hashes alike in ethers, and a signature by viem is one for ethers', async () => {
    const types = { EnclaveStatement: [...ENCLAVE_STATEMENT_TYPES.EnclaveStatement] }
    expect(TypedDataEncoder.hash(statementDomain(DOMAIN), types, STATEMENT)).toBe(hashStatement(STATEMENT, DOMAIN))
    const signature = await privateKeyToAccount(KEY).signTypedData(statementTypedData(STATEMENT, DOMAIN))
    expect(verifyTypedData(statementDomain(DOMAIN), types, STATEMENT, signature)).toBe(STATEMENT.enclave)
    expect(await new Wallet(KEY).signTypedData(statementDomain(DOMAIN), types, STATEMENT)).toBe(signature)
  })

  it('has another digest when anything in it or around it differs', () => {
    const other = `0x${'d3'.repeat(20)}` as const
    const digests = [
      hashStatement(STATEMENT, DOMAIN),
      hashStatement({ ...STATEMENT, role: ENCLAVE_ROLE.issuer }, DOMAIN),
      hashStatement({ ...STATEMENT, enclave: other }, DOMAIN),
      hashStatement({ ...STATEMENT, keyConfigs: `0x${'c1'.repeat(32)}` }, DOMAIN),
      hashStatement({ ...STATEMENT, operator: other }, DOMAIN),
      hashStatement(STATEMENT, { ...DOMAIN, chainId: 1 }),
      hashStatement(STATEMENT, { ...DOMAIN, registry: other }),
    ]
    expect(new Set(digests).size).toBe(digests.length)
  })

  it('is bound by user_data that is its digest and nothing else', () => {
    const digest = fromHex(hashStatement(STATEMENT, DOMAIN))
    expect(verifyStatement(digest, STATEMENT, DOMAIN)).toEqual({ ok: true })
    for (const userData of [undefined, new Uint8Array(), digest.subarray(1), new Uint8Array([...digest, 0])]) {
      expect(verifyStatement(userData, STATEMENT, DOMAIN)).toEqual({ ok: false, code: 'USER_DATA_LENGTH' })
    }
    for (let bit = 0; bit < 256; bit++) {
      const flipped = digest.slice()
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(verifyStatement(flipped, STATEMENT, DOMAIN)).toEqual({ ok: false, code: 'STATEMENT_MISMATCH' })
    }
  })
})

/** Gas of registering an enclave with its document verified on chain: cold, and under cached CA certificates. @module */
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { nitroRootOf } from '#chain/nitroRoot.ts'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { createDevelopmentHost } from '#node/attesters/developmentHost.ts'
import { createDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { fromHex, type Hex, toHex } from '#protocol/bytes.ts'
import { measurementOf } from '#protocol/evidence/measurement.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { ENCLAVE_ROLE, type EnclaveRole, hashStatement } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { enclaveOfKey, expandSignature, signDigest } from '#protocol/receipt/head.ts'
import { deployArtifact } from '../../test/support/artifacts.ts'
import { deployLocal, depositBond, type LocalChain, TEST_BOND_UNITS } from '../../test/support/chain.ts'
import { measureP384 } from '../attestation/measure.ts'
import { type Row, summarize } from './row.ts'

/** Each with evidence of its own, cold on a registry of its own. */
const RUNS = 5
/** All that EIP-7825 allows a transaction. */
export const REGISTRATION_GAS = 16_777_216n
const PCRS = new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(index + 1)]))

type Statement = { readonly role: EnclaveRole; readonly enclave: Hex; readonly keyConfigs: Hex; readonly operator: Hex }
export type Registration = readonly [statement: Statement, document: Hex, hints: Hex, signature: Hex]

/** The rows `gas.p384` and `gas.sha384`: execution with cold accounts. */
export async function measureCryptography(): Promise<Row[]> {
  const { signatures, gas, sha384Block, hintBytes } = await measureP384()
  return [
    {
      id: 'gas.p384',
      name: `P-384 verification, mean, with ${Math.round(hintBytes.mean)} bytes of hints`,
      value: Math.round(gas.mean),
      unit: 'gas',
      runs: { count: signatures, least: gas.min, most: gas.max },
      target: { value: 600_000, direction: 'at most' },
      published: 'base/nitro-validator 4,910,000',
    },
    {
      id: 'gas.sha384',
      name: 'SHA-384, per 128-byte block',
      value: Math.round(sha384Block),
      unit: 'gas',
      target: { value: 20_500, direction: 'at most' },
      published: 'base/nitro-validator 231,000',
    },
  ]
}

/** The rows `gas.register.*`. The bond is locked in the same transaction; its deposit was before. */
export async function measureRegistration(): Promise<Row[]> {
  const chain = await deployLocal()
  try {
    const host = createDevelopmentHost(createDevelopmentRoot(Math.floor(Date.now() / 1000)))
    const cold: number[] = []
    const warm: number[] = []
    for (let run = 0; run < RUNS; run++) {
      const registry = await deployEvidenceRegistry(chain, host.root.certificate)
      cold.push(await registerNew(chain, registry, host, 2 * run, false))
      warm.push(await registerNew(chain, registry, host, 2 * run + 1, true))
    }
    return [
      {
        id: 'gas.register.warm',
        name: 'new enclave under cached CAs, one transaction',
        ...summarize(warm),
        unit: 'gas',
        target: { value: 3_000_000, direction: 'at most' },
        published: 'base/nitro-validator 20,930,000 in 2',
      },
      {
        id: 'gas.register.cold',
        name: 'the same with a cold chain, one transaction',
        ...summarize(cold),
        unit: 'gas',
        target: { value: 6_200_000, direction: 'at most' },
        published: 'base/nitro-validator 41,920,000 in 5',
      },
    ]
  } finally {
    await chain.close()
  }
}

/** A registry of its own with a verifier of real documents under `root`, the gateways' measurement approved and bonds deposited. */
export async function deployEvidenceRegistry(chain: LocalChain, root: Uint8Array): Promise<Hex> {
  const owner = chain.account('deployer').address
  const table = await deployArtifact(chain, 'contracts/attestation/p384/P384Table.sol/P384Table.json')
  const p384 = await deployArtifact(chain, 'contracts/attestation/p384/P384Verifier.sol/P384Verifier.json', [
    table.address,
  ])
  const sha384 = await deployArtifact(chain, 'contracts/attestation/sha384/Sha384.sol/Sha384.json')
  const verifier = await deployArtifact(chain, 'contracts/attestation/nitro/NitroVerifier.sol/NitroVerifier.json', [
    owner,
    p384.address,
    sha384.address,
    nitroRootOf(root),
    true,
  ])
  const { address } = await deployArtifact(chain, 'contracts/EnclaveRegistry.sol/EnclaveRegistry.json', [
    owner,
    owner,
    verifier.address,
    chain.addresses.token,
    { keyConfigsDelay: 0, allowsDevelopment: true, gatewayBond: TEST_BOND_UNITS, issuerBond: TEST_BOND_UNITS },
  ])
  await depositBond(chain, chain.account('operator').address, 10n * TEST_BOND_UNITS, address)
  const pcr = (index: number) => PCRS.get(index) ?? new Uint8Array(48)
  const hash = await chain.wallet('deployer').writeContract({
    address,
    abi: enclaveRegistryAbi,
    functionName: 'approveMeasurement',
    args: [ENCLAVE_ROLE.gateway, measurementOf('development', pcr(0), pcr(1), pcr(2))],
  })
  await chain.client.waitForTransactionReceipt({ hash })
  return address
}

/** Boots an enclave on the host and registers it; answers the transaction's gas. */
async function registerNew(
  chain: LocalChain,
  registry: Hex,
  host: ReturnType<typeof createDevelopmentHost>,
  number: number,
  isWarm: boolean,
): Promise<number> {
  const args = await prepareRegistration(chain, registry, host, number, isWarm)
  const contract = { address: registry, abi: enclaveRegistryAbi } as const
  const sending = { ...contract, functionName: 'register', args, gas: REGISTRATION_GAS } as const
  const hash = await chain.wallet('operator').writeContract(sending)
  const receipt = await chain.client.waitForTransactionReceipt({ hash })
  if (receipt.status !== 'success') throw new Error('the registration to measure was reverted')
  return Number(receipt.gasUsed)
}

/** What `register` takes, for a new enclave on the host. The number makes its key and its document's nonce. */
export async function prepareRegistration(
  chain: LocalChain,
  registry: Hex,
  host: ReturnType<typeof createDevelopmentHost>,
  number: number,
  isWarm: boolean,
): Promise<Registration> {
  const privateKey = keccak256(Uint8Array.of(number))
  const statement = {
    role: ENCLAVE_ROLE.gateway,
    enclave: enclaveOfKey(privateKey),
    keyConfigs: toHex(keccak256(Uint8Array.of(number, number))),
    operator: chain.account('operator').address,
  }
  const digest = hashStatement(statement, { chainId: chain.addresses.chainId, registry })
  const attester = createDevelopmentAttester({ pcrs: PCRS, host, now: Date.now })
  const document = await attester.attest({ userData: fromHex(digest), nonce: new Uint8Array(32).fill(number) })
  const hints = makeNitroHints(
    document,
    authorityIds(document).map(() => isWarm),
  )
  return [statement, toHex(document), toHex(hints), expandSignature(signDigest(digest, privateKey))]
}

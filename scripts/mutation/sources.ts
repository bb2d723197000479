/** What is mutated: the code that holds money and decides about evidence, and which tests are asked first about it. @module */
import { globSync } from 'node:fs'

/** Tests that most likely notice a change of the contract. All other Solidity tests are asked after them. */
export const CONTRACTS: Readonly<Record<string, readonly string[]>> = {
  'contracts/CreditVault.sol': ['CreditVault', 'CreditExits', 'Payouts'],
  'contracts/EnclaveRegistry.sol': ['EnclaveRegistry', 'OperatorBonds', 'Equivocation'],
  'contracts/OperatorBonds.sol': ['OperatorBonds', 'EnclaveRegistry'],
  'contracts/ReceiptSettlement.sol': [
    'SettleHeads',
    'SettleClearings',
    'Payouts',
    'Unmatched',
    'CreditClearings',
    'Equivocation',
  ],
  'contracts/credits/BlindSignatures.sol': ['BlindSignatures', 'CreditExits'],
  'contracts/credits/Bls12381.sol': ['BlindSignatures', 'CreditHash'],
  'contracts/credits/CreditDeposits.sol': ['CreditDeposits', 'CreditRefunds'],
  'contracts/credits/CreditExits.sol': ['CreditExits'],
  'contracts/credits/CreditHash.sol': ['CreditHash', 'CreditExits'],
  'contracts/credits/CreditKeysets.sol': ['CreditKeysets', 'CreditExits', 'CreditRefunds'],
  'contracts/credits/DepositBox.sol': ['CreditDeposits', 'CreditOddTokens'],
  'contracts/credits/ExitWord.sol': ['CreditExits'],
  'contracts/libraries/AccountWord.sol': ['AccountWord', 'SettleHeads', 'SettleClearings'],
  'contracts/libraries/Equivocation.sol': ['Equivocation'],
  'contracts/libraries/FeeSplit.sol': ['FeeSplit', 'Payouts'],
  'contracts/libraries/InferenceProofs.sol': ['InferenceProofs', 'Vectors'],
  'contracts/libraries/MerkleLog.sol': ['MerkleLog', 'Vectors'],
  'contracts/libraries/OpgTransfer.sol': ['CreditOddTokens', 'CreditDeposits', 'OperatorBonds'],
  'contracts/libraries/ReceiptHash.sol': ['ReceiptHash', 'Vectors', 'SettleClearings'],
  ...Object.fromEntries(
    ['CborReader', 'DerReader', 'Es384', 'EvidenceCode', 'NitroDocument', 'NitroVerifier', 'X509'].map((name) => [
      `contracts/attestation/nitro/${name}.sol`,
      ['Attestation'],
    ]),
  ),
}

/** What is asked about evidence besides: the contracts against their twins in TypeScript. */
export const EVIDENCE_TESTS = ['nitroParser', 'nitroPaths', 'nitroEncodings', 'nitroFindings'] as const
export const EVIDENCE_PATH = 'contracts/attestation/nitro/'

/** Gas, which differs as mutants are compiled in fewer steps; and long runs of invariants, which would take minutes for each survivor. */
export const NOT_ASKED: readonly string[] = ['GasSnapshotEvidence', 'GasSnapshotSettlement', 'Money', 'CreditMoney']
export const TESTS_OF_GAS = 'FitsATransaction'

const TYPESCRIPT = [
  'offchain/protocol/credits/*.ts',
  'offchain/protocol/receipt/*.ts',
  'offchain/protocol/evidence/*.ts',
  'offchain/protocol/log/*.ts',
  'offchain/protocol/{prices,requestCost}.ts',
  'offchain/chain/audit/feeSplit.ts',
  'offchain/chain/earnings.ts',
  'offchain/issuer/{blanksNeeded,chainReader,clearing,entry,keysetKeys,ledger,witness}.ts',
]

/**
 * Named errors and constants, where nothing decides; and the makers of hints for P-384 with their model, whose word the contract never takes.
 */
const NOT_MUTATED =
  /(\.test\.ts|\.bench\.ts|Error\.ts|\/awsRoot\.ts|\/evidenceCheck\.ts|\/p384\w+\.ts|\/nitroHints\.ts)$/

/** Sources in TypeScript that are mutated, from `root`, sorted. */
export function typescriptSources(root: string): readonly string[] {
  return globSync(TYPESCRIPT, { cwd: root })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => !NOT_MUTATED.test(file))
    .sort()
}

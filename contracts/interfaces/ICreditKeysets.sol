// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EnclaveId, KeysetId, Units} from "../types/Types.sol";

/// @title ICreditKeysets
/// Keysets: the 24 public keys under which one issuer enclave signs credits, one for each power of two from 1 unit to 2^23, and how long they
/// count. Until `signUntil` deposits become credits; until `spendUntil` credits are spent; until `exitUntil` the vault pays them out.
/// Keys are points of G2 of BLS12-381 in the encoding of EIP-2537: x.c0, x.c1, y.c0, y.c1, 64 bytes each.
interface ICreditKeysets {
    /// @param writer The issuer enclave whose clearings count.
    /// @param deposited Units behind the keyset: all deposits less refunds.
    /// @param number Counts keysets from 1.
    struct Keyset {
        EnclaveId writer;
        Units deposited;
        uint16 number;
    }

    /// Times in seconds; each phase ends just before its time.
    struct KeysetTimes {
        uint40 signUntil;
        uint40 spendUntil;
        uint40 exitUntil;
    }

    /// `keys` as they were given: 24 points of 256 bytes.
    event KeysetOpened(
        KeysetId indexed keyset, EnclaveId indexed writer, uint16 number, KeysetTimes times, bytes keys
    );
    event KeysetTakenOver(KeysetId indexed keyset, EnclaveId indexed writer);

    error VaultZeroAddress();
    error VaultTooMany(uint256 max, uint256 actual);
    error VaultBytesLength(uint256 expected, uint256 actual);
    error VaultNotSorted(uint256 index);
    error VaultKeysetExists(KeysetId keyset);
    error VaultKeysetUnknown(KeysetId keyset);
    error VaultKeyIsIdentity(uint256 exponent);
    error VaultKeyRepeated(uint256 exponent);
    error VaultKeyOther(uint256 exponent, bytes32 expected, bytes32 actual);
    error VaultExponentUnknown(uint256 exponent);
    error VaultPhasesOutOfOrder(KeysetTimes times);
    /// The time of the phase that something belongs to is over.
    error VaultPhaseOver(uint40 until);
    error VaultSuccessionNotSigned(EnclaveId expected, address actual);
    error VaultSuccessorUnfit(EnclaveId successor);
    /// Paying would leave less behind the keyset than its clearings claim.
    error VaultKeysetDrained(uint256 left, uint256 amount);

    /// Opens a keyset and names the issuer enclave that writes it. `keys` are its 24 public keys. The owner only: what it opens it cannot
    /// change. The id is `CreditHash.keysetId`.
    function openKeyset(bytes calldata keys, KeysetTimes calldata times, EnclaveId writer) external returns (KeysetId);

    /// Names the issuer that writes a keyset from now on: an active one of the same operator, to which the writer so far has passed its keys
    /// and signed `Succession(bytes32 keyset,address successor)` (EIP-712; compact, EIP-2098). Anyone may call.
    function takeOver(KeysetId keyset, EnclaveId successor, bytes32 r, bytes32 vs) external;

    function keysetOf(KeysetId keyset) external view returns (Keyset memory);
    function keysetTimes(KeysetId keyset) external view returns (KeysetTimes memory);
    /// keccak256 of the key for credits of 2^exponent units; zero for an unknown keyset.
    function keyHashOf(KeysetId keyset, uint256 exponent) external view returns (bytes32);
}

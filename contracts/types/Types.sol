// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// The words of the system as types, so that a root never stands where a leaf belongs.

/// An enclave is named by the address of the secp256k1 key born in it at boot.
type EnclaveId is address;
/// keccak256(0x00 || publicHash || privateHash).
type LeafHash is bytes32;
/// Root of an enclave's receipt log: RFC 9162 tree with keccak-256.
type LogRoot is bytes32;
/// Root over the heads that one `settle` call accepted.
type BatchRoot is bytes32;
/// Counts `settle` calls that stored a root, from 1.
type BatchId is uint64;
/// Digest of one set of reference values: keccak256 of the kind of enclave and its PCR0, PCR1 and PCR2.
type MeasurementId is bytes32;
/// Digest of one set of issuer keys.
type KeysetId is bytes32;
/// What an issuer's signature of one credit covers (CreditHash.creditId).
type CreditId is bytes32;
/// A fee amount: 1 unit = 10^12 base units of OPG.
type Units is uint64;

using {sameEnclave as ==, otherEnclave as !=} for EnclaveId global;
using {sameLogRoot as ==, otherLogRoot as !=} for LogRoot global;
using {sameMeasurement as ==, otherMeasurement as !=} for MeasurementId global;
using {sameBatchRoot as ==} for BatchRoot global;

function sameEnclave(EnclaveId a, EnclaveId b) pure returns (bool) {
    return EnclaveId.unwrap(a) == EnclaveId.unwrap(b);
}

function otherEnclave(EnclaveId a, EnclaveId b) pure returns (bool) {
    return EnclaveId.unwrap(a) != EnclaveId.unwrap(b);
}

function sameLogRoot(LogRoot a, LogRoot b) pure returns (bool) {
    return LogRoot.unwrap(a) == LogRoot.unwrap(b);
}

function otherLogRoot(LogRoot a, LogRoot b) pure returns (bool) {
    return LogRoot.unwrap(a) != LogRoot.unwrap(b);
}

function sameMeasurement(MeasurementId a, MeasurementId b) pure returns (bool) {
    return MeasurementId.unwrap(a) == MeasurementId.unwrap(b);
}

function otherMeasurement(MeasurementId a, MeasurementId b) pure returns (bool) {
    return MeasurementId.unwrap(a) != MeasurementId.unwrap(b);
}

function sameBatchRoot(BatchRoot a, BatchRoot b) pure returns (bool) {
    return BatchRoot.unwrap(a) == BatchRoot.unwrap(b);
}

/// What an enclave may do. `None` was never registered.
enum EnclaveState {
    None,
    Active,
    Retired,
    Closed,
    Compromised
}

/// What an enclave is for. Numbers are part of the signed statement.
enum EnclaveRole {
    None,
    Gateway,
    Issuer
}

/// Who vouches for the model named in a receipt.
enum ClaimSource {
    None,
    /// The model's digest is part of the measured image.
    Measured,
    /// The enclave forwarded the request over TLS to the named origin.
    Proxied,
    /// The operator says so.
    Operator
}

/// How the answer ended.
enum Outcome {
    None,
    /// The model ended it.
    Complete,
    /// A token limit ended it.
    Length,
    /// The model asked for tools to be called.
    ToolCalls,
    /// The client left or the time was over; the output is what had been produced.
    Cut,
    /// A content filter ended it.
    Filtered
}

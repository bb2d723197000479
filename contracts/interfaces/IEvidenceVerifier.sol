// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MeasurementId} from "../types/Types.sol";

/// @title IEvidenceVerifier
/// The boundary to one kind of enclave evidence and one route of verifying it.
/// Safety assumes: an implementation returns only what the evidence proves, and reverts otherwise; it never answers "false".
interface IEvidenceVerifier {
    /// What verified evidence says (RFC 9334: an attestation result).
    /// @param measurement Reference values the enclave runs under.
    /// @param userData What the enclave bound into its evidence; empty for nothing.
    /// @param issuedAt When the evidence was made, in seconds.
    /// @param validUntil When the first certificate of its chain expires, in seconds.
    /// @param certificates Ids, as `isRevoked` takes them, of every certificate between the root and the evidence.
    /// @param development True when the evidence ends in a development root: it proves the format, not an enclave.
    struct AttestationResult {
        MeasurementId measurement;
        bytes userData;
        uint64 issuedAt;
        uint64 validUntil;
        bytes32[] certificates;
        bool development;
    }

    /// Verifies `evidence` with the help of `hints`, which are not trusted. Reverts unless everything holds.
    function verify(bytes calldata evidence, bytes calldata hints) external returns (AttestationResult memory result);

    /// Whether a certificate was revoked; for good, if it was.
    function isRevoked(bytes32 certificate) external view returns (bool);
}

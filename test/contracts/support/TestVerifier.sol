// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEvidenceVerifier} from "../../../contracts/interfaces/IEvidenceVerifier.sol";

/// @title TestVerifier
/// Answers the attestation result that a test puts into the hints: for tests of what the registry does with results. Whole-network tests
/// use NitroVerifier.
contract TestVerifier is IEvidenceVerifier {
    /// @inheritdoc IEvidenceVerifier
    mapping(bytes32 certificate => bool) public isRevoked;

    function revoke(bytes32 certificate) external {
        isRevoked[certificate] = true;
    }

    function hintsFor(AttestationResult calldata result) external pure returns (bytes memory) {
        return abi.encode(result);
    }

    function verify(bytes calldata, bytes calldata hints) external pure returns (AttestationResult memory) {
        return abi.decode(hints, (AttestationResult));
    }
}

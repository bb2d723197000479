// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IEvidenceVerifier} from "../interfaces/IEvidenceVerifier.sol";

/// @title AppointedVerifier
/// Accepts an attestation result that an appointed verifier signed after it verified the document off-chain.
/// Weaker than verification on chain: whoever holds the appointed key can vouch for anything. The registry's views show which
/// verifier it uses.
contract AppointedVerifier is IEvidenceVerifier, EIP712 {
    bytes32 private constant RESULT_TYPEHASH = keccak256(
        "AttestationResult(bytes32 document,bytes32 measurement,bytes32 userData,uint64 issuedAt,uint64 validUntil,bool development)"
    );

    /// Whose signature counts.
    address public immutable APPOINTED;

    error AppointedVerifierZeroAddress();
    error AppointedVerifierNotSigned(address expected, address actual);

    constructor(address appointed) EIP712("Sealpath AppointedVerifier", "1") {
        require(appointed != address(0), AppointedVerifierZeroAddress());
        APPOINTED = appointed;
    }

    /// `evidence` is the document itself; `hints` is abi.encode(AttestationResult, signature of 65 bytes).
    /// @inheritdoc IEvidenceVerifier
    function verify(bytes calldata evidence, bytes calldata hints) external view returns (AttestationResult memory result) {
        bytes memory signature;
        (result, signature) = abi.decode(hints, (AttestationResult, bytes));
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(RESULT_TYPEHASH, keccak256(evidence), result)));
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        require(signer == APPOINTED, AppointedVerifierNotSigned(APPOINTED, signer));
    }
}

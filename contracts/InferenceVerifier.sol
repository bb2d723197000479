// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "./interfaces/IReceiptSettlement.sol";
import {InferenceProofs} from "./libraries/InferenceProofs.sol";
import {AttestedProof, SettledProof} from "./types/Receipt.sol";

/// @title InferenceVerifier
/// InferenceProofs behind an address: for wallets, pages and scripts that ask by `eth_call`. Contracts import the library instead.
/// Holds nothing, owns nothing.
contract InferenceVerifier {
    IReceiptSettlement public immutable SETTLEMENT;
    IEnclaveRegistry public immutable REGISTRY;

    constructor(IReceiptSettlement settlement, IEnclaveRegistry registry) {
        SETTLEMENT = settlement;
        REGISTRY = registry;
    }

    /// Whether the receipt is part of a settled batch. A proof that leads nowhere is no error, and proves nothing.
    function settled(SettledProof calldata proof) external view returns (InferenceProofs.Status memory) {
        return InferenceProofs.settled(SETTLEMENT, REGISTRY, proof);
    }

    /// Whether the enclave signed a head over the receipt and may still settle it: an answer before settlement.
    function attested(AttestedProof calldata proof) external view returns (InferenceProofs.Status memory) {
        return InferenceProofs.attested(SETTLEMENT, REGISTRY, proof);
    }

    /// Reverts with what is missing; answers the output.
    function requireOutput(
        SettledProof calldata proof,
        InferenceProofs.Opening calldata opening,
        InferenceProofs.Demand calldata demand
    ) external view returns (bytes memory) {
        return InferenceProofs.requireOutput(SETTLEMENT, REGISTRY, proof, opening, demand);
    }
}

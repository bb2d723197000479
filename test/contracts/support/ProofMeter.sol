// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEnclaveRegistry} from "../../../contracts/interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../../../contracts/interfaces/IReceiptSettlement.sol";
import {InferenceProofs} from "../../../contracts/libraries/InferenceProofs.sol";
import {SettledProof} from "../../../contracts/types/Receipt.sol";

/// @title ProofMeter
/// What a contract that imports InferenceProofs pays to check one proof: both contracts it asks are cold.
contract ProofMeter {
    function measure(IReceiptSettlement settlement, IEnclaveRegistry registry, SettledProof calldata proof)
        external
        view
        returns (uint256 gas, InferenceProofs.Finality finality)
    {
        uint256 before = gasleft();
        InferenceProofs.Status memory status = InferenceProofs.settled(settlement, registry, proof);
        return (before - gasleft(), status.finality);
    }
}

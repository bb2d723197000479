// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEnclaveRegistry} from "../interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../interfaces/IReceiptSettlement.sol";
import {InferenceProofs} from "../libraries/InferenceProofs.sol";
import {ReceiptHash} from "../libraries/ReceiptHash.sol";
import {SettledProof} from "../types/Receipt.sol";
import {ClaimSource, EnclaveRole, LeafHash, MeasurementId, Outcome} from "../types/Types.sol";
import {IValidationRegistry} from "./IValidationRegistry.sol";

/// @title SettledValidator
/// An ERC-8004 validator that believes nobody: it answers for an agent's work with what settled proofs show, whoever brings them.
///
/// An agent asks an enclave with `nonceFor(agentId)` as its nonce, and names this contract as validator of `requestHashOf` the
/// receipt's leaf. Response 100 says: a settled log of a measured gateway has this leaf, its answer is whole, the model was part of what
/// was measured, the measurement is approved today, and whoever asked named this agent. It says nothing of whether the answer is right,
/// and shows neither request nor answer: who holds the receipt's openings checks them against the leaf, which is the response's hash.
/// Response 0 says: the enclave has been proven broken since. Anyone may call again to have that said.
/// Safety assumes: the validation registry lets only the validator that was asked answer.
/// Liveness assumes: the agent has asked the validation registry; another salt serves when somebody took its hash before it.
contract SettledValidator {
    uint8 public constant PASSED = 100;
    uint8 public constant FAILED = 0;

    IReceiptSettlement public immutable SETTLEMENT;
    IEnclaveRegistry public immutable REGISTRY;
    IValidationRegistry public immutable VALIDATIONS;

    /// One piece of an agent's work.
    /// @param salt Any; part of the request's hash.
    /// @param nonceSalt Opens the receipt's commitment to the nonce.
    struct Work {
        uint256 agentId;
        bytes32 salt;
        bytes32 nonceSalt;
        SettledProof proof;
    }

    event WorkValidated(uint256 indexed agentId, bytes32 indexed requestHash, LeafHash leaf, uint8 response);

    error ValidatorOtherAgent(uint256 expected, uint256 actual);
    error ValidatorNotAsked(bytes32 requestHash, address validator);
    error ValidatorMeasurementNotApproved(MeasurementId measurement);

    constructor(IReceiptSettlement settlement, IEnclaveRegistry registry, IValidationRegistry validations) {
        SETTLEMENT = settlement;
        REGISTRY = registry;
        VALIDATIONS = validations;
    }

    /// Publishes what the proofs show: of one settled batch or of several, for one agent or for many. Reverts with what is missing from
    /// any of them.
    function publish(Work[] calldata works) external {
        for (uint256 i = 0; i < works.length; i++) {
            _publish(works[i]);
        }
    }

    /// What the agent asks the validation registry to have validated.
    function requestHashOf(uint256 agentId, LeafHash leaf, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), agentId, leaf, salt));
    }

    /// The nonce with which an agent asks an enclave: receipts without it are somebody else's.
    function nonceFor(uint256 agentId) public view returns (bytes memory) {
        return abi.encode(keccak256(abi.encode(block.chainid, address(VALIDATIONS), agentId)));
    }

    function _publish(Work calldata work) private {
        LeafHash leaf = ReceiptHash.leaf(work.proof.receipt, work.proof.privateHash);
        bytes32 requestHash = requestHashOf(work.agentId, leaf, work.salt);
        (address validator, uint256 agentId,,,,) = VALIDATIONS.getValidationStatus(requestHash);
        require(validator == address(this), ValidatorNotAsked(requestHash, validator));
        // Another agent's owner may have asked about this hash, to be answered for with work that names this one.
        require(agentId == work.agentId, ValidatorOtherAgent(work.agentId, agentId));
        (uint8 response, string memory tag) = _judge(work);
        emit WorkValidated(agentId, requestHash, leaf, response);
        VALIDATIONS.validationResponse(requestHash, response, "", LeafHash.unwrap(leaf), tag);
    }

    function _judge(Work calldata work) private view returns (uint8 response, string memory tag) {
        InferenceProofs.Status memory status = InferenceProofs.settled(SETTLEMENT, REGISTRY, work.proof);
        require(status.finality == InferenceProofs.Finality.Settled, InferenceProofs.ProofNotSettled());
        bytes32 nonce = ReceiptHash.commitment(ReceiptHash.NONCE_TAG, work.nonceSalt, nonceFor(work.agentId));
        require(nonce == work.proof.receipt.nonce, InferenceProofs.ProofNotOpened(ReceiptHash.NONCE_TAG));
        if (status.isCompromised) return (FAILED, "sealpath-compromised");
        ClaimSource source = work.proof.receipt.source;
        require(source == ClaimSource.Measured, InferenceProofs.ProofSourceTooWeak(ClaimSource.Measured, source));
        Outcome outcome = work.proof.receipt.outcome;
        require(outcome == Outcome.Complete, InferenceProofs.ProofOutcomeIncomplete(outcome));
        IEnclaveRegistry.Enclave memory enclave = REGISTRY.enclaveOf(work.proof.receipt.enclave);
        bool isApproved = REGISTRY.isApproved(EnclaveRole.Gateway, enclave.measurement);
        require(isApproved, ValidatorMeasurementNotApproved(enclave.measurement));
        // Evidence under a development root proves no hardware, and whoever reads the tag has to see it.
        return (PASSED, enclave.isDevelopment ? "sealpath-development" : "sealpath-settled");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IEnclaveRegistry} from "../interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../interfaces/IReceiptSettlement.sol";
import {AttestedProof, PublicReceipt, SettledProof} from "../types/Receipt.sol";
import {
    BatchRoot,
    ClaimSource,
    EnclaveId,
    EnclaveRole,
    EnclaveState,
    LeafHash,
    LogRoot,
    MeasurementId,
    Outcome
} from "../types/Types.sol";
import {MerkleLog} from "./MerkleLog.sol";
import {ReceiptHash} from "./ReceiptHash.sol";

/// @title InferenceProofs
/// What a contract calls to learn whether a measured enclave gave an answer.
/// A proof says "an answer", never "the answer": a requester can ask again until it likes what it gets. `requireOutput` therefore
/// asks for the exact request and a job nonce; a contract that pays must fix both, temperature and seed included, before it can
/// be known what they will lead to (examples/FixedPromptBounty.sol).
library InferenceProofs {
    /// How far a proof goes.
    enum Finality {
        /// Proves nothing.
        None,
        /// The enclave signed it and is in good standing; nothing is on chain yet.
        Attested,
        /// Its head is part of a settled batch.
        Settled
    }

    /// @param isCompromised The enclave was later proven broken: the proof holds, but think about what it is worth.
    struct Status {
        Finality finality;
        bool isCompromised;
    }

    /// What an answer must have been given to.
    /// @param requestHash keccak256 of the exact bytes of the inner request's body.
    /// @param nonce The nonce that the client had to send with it.
    /// @param measurements Which measurements are good enough; none is never enough.
    /// @param source The least that must vouch for the model: `Measured` accepts only that, `Operator` anything.
    struct Demand {
        bytes32 requestHash;
        bytes nonce;
        MeasurementId[] measurements;
        ClaimSource source;
    }

    /// Opens the commitments of a public receipt.
    struct Opening {
        bytes request;
        bytes32 requestSalt;
        bytes output;
        bytes32 outputSalt;
        bytes32 nonceSalt;
    }

    error ProofNotSettled();
    error ProofEnclaveCompromised(EnclaveId enclave);
    error ProofMeasurementNotAccepted(MeasurementId measurement);
    error ProofSourceTooWeak(ClaimSource expected, ClaimSource actual);
    error ProofOutcomeIncomplete(Outcome actual);
    error ProofRequestMismatch(bytes32 expected, bytes32 actual);
    error ProofNotOpened(uint8 commitmentTag);

    /// Whether the receipt is part of a settled batch.
    function settled(IReceiptSettlement settlement, IEnclaveRegistry registry, SettledProof calldata proof)
        internal
        view
        returns (Status memory status)
    {
        if (proof.receipt.version != 1 || proof.size == 0 || proof.batchSize == 0) return status;
        (bool ok, bytes32 root) = MerkleLog.rootFromPath(
            MerkleLog.LOG_NODE_TAG,
            LeafHash.unwrap(ReceiptHash.leaf(proof.receipt, proof.privateHash)),
            proof.index,
            proof.size - 1,
            proof.logPath
        );
        if (!ok) return status;
        bytes32 head = ReceiptHash.batchLeaf(proof.receipt.enclave, proof.size, LogRoot.wrap(root));
        (ok, root) = MerkleLog.rootFromPath(
            MerkleLog.BATCH_NODE_TAG, head, proof.batchIndex, proof.batchSize - 1, proof.batchPath
        );
        BatchRoot stored = settlement.batchRoot(proof.batch);
        if (!ok || BatchRoot.unwrap(stored) == 0 || BatchRoot.unwrap(stored) != root) return status;
        return Status(Finality.Settled, registry.stateOf(proof.receipt.enclave) == EnclaveState.Compromised);
    }

    /// Whether the enclave signed a head over the receipt and may still settle it. Needs no settlement and promises none.
    function attested(IReceiptSettlement settlement, IEnclaveRegistry registry, AttestedProof calldata proof)
        internal
        view
        returns (Status memory status)
    {
        if (proof.receipt.version != 1 || proof.head.size == 0 || proof.head.enclave != proof.receipt.enclave) {
            return status;
        }
        (bool ok, bytes32 root) = MerkleLog.rootFromPath(
            MerkleLog.LOG_NODE_TAG,
            LeafHash.unwrap(ReceiptHash.leaf(proof.receipt, proof.privateHash)),
            proof.index,
            proof.head.size - 1,
            proof.logPath
        );
        if (!ok || root != LogRoot.unwrap(proof.head.root)) return status;
        (address signer,,) = ECDSA.tryRecover(settlement.headDigest(proof.head), proof.head.r, proof.head.vs);
        if (signer != EnclaveId.unwrap(proof.head.enclave)) return status;
        (EnclaveState state, EnclaveRole role) = registry.standingOf(proof.head.enclave);
        bool maySettle = state == EnclaveState.Active || state == EnclaveState.Retired;
        if (!maySettle || role != EnclaveRole.Gateway) return status;
        return Status(Finality.Attested, false);
    }

    /// Answers the output that a settled receipt commits to, or reverts with what is missing. The answer must be whole: one
    /// that was cut, ran out of tokens or was filtered is refused.
    function requireOutput(
        IReceiptSettlement settlement,
        IEnclaveRegistry registry,
        SettledProof calldata proof,
        Opening calldata opening,
        Demand memory demand
    ) internal view returns (bytes memory output) {
        Status memory status = settled(settlement, registry, proof);
        require(status.finality == Finality.Settled, ProofNotSettled());
        require(!status.isCompromised, ProofEnclaveCompromised(proof.receipt.enclave));
        _requireMeasurement(registry.measurementOf(proof.receipt.enclave), demand.measurements);
        _requireReceipt(proof.receipt, opening, demand);
        return opening.output;
    }

    function _requireReceipt(PublicReceipt calldata receipt, Opening calldata opening, Demand memory demand)
        private
        pure
    {
        require(
            receipt.source != ClaimSource.None && receipt.source <= demand.source,
            ProofSourceTooWeak(demand.source, receipt.source)
        );
        require(receipt.outcome == Outcome.Complete, ProofOutcomeIncomplete(receipt.outcome));
        bytes32 requestHash = keccak256(opening.request);
        require(requestHash == demand.requestHash, ProofRequestMismatch(demand.requestHash, requestHash));
        _requireOpened(ReceiptHash.REQUEST_TAG, receipt.request, opening.requestSalt, opening.request);
        _requireOpened(ReceiptHash.OUTPUT_TAG, receipt.output, opening.outputSalt, opening.output);
        _requireOpened(ReceiptHash.NONCE_TAG, receipt.nonce, opening.nonceSalt, demand.nonce);
    }

    function _requireOpened(uint8 tag, bytes32 commitment, bytes32 salt, bytes memory data) private pure {
        require(ReceiptHash.commitment(tag, salt, data) == commitment, ProofNotOpened(tag));
    }

    function _requireMeasurement(MeasurementId measurement, MeasurementId[] memory accepted) private pure {
        for (uint256 i = 0; i < accepted.length; i++) {
            if (accepted[i] == measurement) return;
        }
        revert ProofMeasurementNotAccepted(measurement);
    }
}

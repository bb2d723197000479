// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {InferenceProofs} from "../../../contracts/libraries/InferenceProofs.sol";
import {MerkleLog} from "../../../contracts/libraries/MerkleLog.sol";
import {ReceiptHash} from "../../../contracts/libraries/ReceiptHash.sol";
import {AttestedProof, PublicReceipt, SettledProof, SignedClearing, SignedHead} from "../../../contracts/types/Receipt.sol";
import {BatchId, ClaimSource, EnclaveId, Outcome} from "../../../contracts/types/Types.sol";
import {PlainMerkleTree} from "../support/PlainMerkleTree.sol";
import {PlainHash} from "./PlainHash.sol";
import {Stage} from "./Stage.sol";
import {vm} from "./Vm.sol";

/// @title ProofStage
/// Receipts in logs in batches: what tests of proofs start from.
abstract contract ProofStage is Stage {
    uint64 internal constant LOG_SIZE = 11;
    uint64 internal constant INDEX = 5;
    uint64 internal constant BATCH_SIZE = 4;
    uint64 internal constant BATCH_INDEX = 1;
    bytes32 internal constant PRIVATE_HASH = keccak256("private half");

    PlainMerkleTree private tree;

    function setUp() public virtual override {
        super.setUp();
        tree = PlainMerkleTree(_create("test/contracts/support/PlainMerkleTree.sol/PlainMerkleTree", ""));
    }

    /// What an exchange was about; salts follow from `salt`.
    struct Exchange {
        bytes request;
        bytes output;
        bytes nonce;
        bytes32 salt;
    }

    function _opening(Exchange memory exchange) internal pure returns (InferenceProofs.Opening memory) {
        return InferenceProofs.Opening({
            request: exchange.request,
            requestSalt: keccak256(abi.encode(exchange.salt, "request")),
            output: exchange.output,
            outputSalt: keccak256(abi.encode(exchange.salt, "output")),
            nonceSalt: keccak256(abi.encode(exchange.salt, "nonce"))
        });
    }

    /// The receipt that gateway `i` would give for `exchange`.
    function _receiptFor(uint256 i, Exchange memory exchange) internal pure returns (PublicReceipt memory) {
        InferenceProofs.Opening memory opening = _opening(exchange);
        return PublicReceipt({
            version: 1,
            enclave: EnclaveId.wrap(vm.addr(GATEWAY_KEY + i)),
            model: keccak256("test-model"),
            source: ClaimSource.Measured,
            origin: 0,
            request: _commitment(hex"10", opening.requestSalt, exchange.request),
            output: _commitment(hex"11", opening.outputSalt, exchange.output),
            nonce: _commitment(hex"12", opening.nonceSalt, exchange.nonce),
            outcome: Outcome.Complete
        });
    }

    function _commitment(bytes1 tag, bytes32 salt, bytes memory data) internal pure returns (bytes32) {
        return keccak256(bytes.concat(tag, salt, bytes8(uint64(data.length)), data));
    }

    /// A log of LOG_SIZE leaves with the receipt at INDEX.
    function _logWith(PublicReceipt memory receipt) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](LOG_SIZE);
        for (uint256 i = 0; i < LOG_SIZE; i++) {
            leaves[i] = keccak256(abi.encode("neighbour", i));
        }
        leaves[INDEX] = PlainHash.leaf(receipt, PRIVATE_HASH);
    }

    /// Calls of its own to itself: within the tests the compiler has no stack left for these two.
    function _attest(uint256 i, PublicReceipt memory receipt) internal view returns (AttestedProof memory) {
        return this.attest(i, receipt);
    }

    function _settleReceipt(uint256 i, PublicReceipt memory receipt) internal returns (SettledProof memory) {
        return this.settleReceipt(i, receipt);
    }

    function attest(uint256 i, PublicReceipt calldata receipt) external view returns (AttestedProof memory) {
        bytes32[] memory leaves = _logWith(receipt);
        return AttestedProof({
            receipt: receipt,
            privateHash: PRIVATE_HASH,
            index: INDEX,
            logPath: tree.pathOf(MerkleLog.LOG_NODE_TAG, leaves, INDEX),
            head: _logHead(i, LOG_SIZE, tree.rootOf(MerkleLog.LOG_NODE_TAG, leaves))
        });
    }

    /// Settles a batch of BATCH_SIZE heads, that over the receipt's log at BATCH_INDEX; the others are smaller heads of gateway `i`.
    function settleReceipt(uint256 i, PublicReceipt calldata receipt) external returns (SettledProof memory) {
        bytes32[] memory leaves = _logWith(receipt);
        SignedHead[] memory heads = new SignedHead[](BATCH_SIZE);
        bytes32[] memory batchLeaves = new bytes32[](BATCH_SIZE);
        for (uint64 j = 0; j < BATCH_SIZE; j++) {
            uint64 size = j == BATCH_INDEX ? LOG_SIZE : j + 1;
            heads[j] = _logHead(i, size, tree.rootOf(MerkleLog.LOG_NODE_TAG, leaves));
            batchLeaves[j] = ReceiptHash.batchLeaf(heads[j].enclave, size, heads[j].root);
        }
        BatchId batch = settlement.settle(heads, new SignedClearing[](0));
        return SettledProof({
            receipt: receipt,
            privateHash: PRIVATE_HASH,
            index: INDEX,
            size: LOG_SIZE,
            logPath: tree.pathOf(MerkleLog.LOG_NODE_TAG, leaves, INDEX),
            batch: batch,
            batchIndex: BATCH_INDEX,
            batchSize: BATCH_SIZE,
            batchPath: tree.pathOf(MerkleLog.BATCH_NODE_TAG, batchLeaves, BATCH_INDEX)
        });
    }
}

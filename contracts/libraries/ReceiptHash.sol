// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PublicReceipt, SignedClearing, SignedHead, Captured, HeadKind} from "../types/Receipt.sol";
import {EnclaveId, LeafHash, LogRoot} from "../types/Types.sol";

/// @title ReceiptHash
/// Leaves, commitments and the typed data that enclaves sign. Formats: docs/spec.md sections 3 and 4.
/// Twin of offchain/protocol/receipt/; both read test/vectors/receipt.json.
library ReceiptHash {
    uint8 internal constant LEAF_TAG = 0x00;
    uint8 internal constant BATCH_LEAF_TAG = 0x02;

    /// First byte of a commitment: which part of the exchange it is to.
    uint8 internal constant REQUEST_TAG = 0x10;
    uint8 internal constant OUTPUT_TAG = 0x11;
    uint8 internal constant NONCE_TAG = 0x12;

    bytes32 internal constant PUBLIC_RECEIPT_TYPEHASH = keccak256(
        "PublicReceipt(uint16 version,address enclave,bytes32 model,uint8 source,bytes32 origin,bytes32 request,bytes32 output,bytes32 nonce,uint8 outcome)"
    );
    bytes32 internal constant LOG_HEAD_TYPEHASH = keccak256("LogHead(address enclave,uint64 size,bytes32 root)");
    bytes32 internal constant EARNINGS_HEAD_TYPEHASH =
        keccak256("EarningsHead(address enclave,uint64 size,bytes32 root,uint64 fees)");
    bytes32 internal constant CAPTURED_TYPEHASH = keccak256("Captured(address enclave,uint64 captured)");
    bytes32 internal constant CLEARING_TYPEHASH = keccak256(
        "Clearing(bytes32 keyset,uint64 issued,uint64 captured,Captured[] enclaves)Captured(address enclave,uint64 captured)"
    );

    /// keccak256(0x00 || publicHash || privateHash); publicHash is the EIP-712 struct hash of `receipt`.
    function leaf(PublicReceipt calldata receipt, bytes32 privateHash) internal pure returns (LeafHash) {
        return LeafHash.wrap(
            keccak256(
                abi.encodePacked(LEAF_TAG, keccak256(abi.encode(PUBLIC_RECEIPT_TYPEHASH, receipt)), privateHash)
            )
        );
    }

    /// keccak256(tag || salt || length as 8 bytes || data).
    function commitment(uint8 tag, bytes32 salt, bytes memory data) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(tag, salt, uint64(data.length), data));
    }

    /// keccak256(0x02 || enclave || size as 8 bytes || root): what a batch root commits to.
    function batchLeaf(EnclaveId enclave, uint64 size, LogRoot root) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(BATCH_LEAF_TAG, enclave, size, root));
    }

    /// EIP-712 struct hash of the head, by its kind.
    function headHash(SignedHead calldata head) internal pure returns (bytes32) {
        return head.kind == HeadKind.Log
            ? keccak256(abi.encode(LOG_HEAD_TYPEHASH, head.enclave, head.size, head.root))
            : keccak256(abi.encode(EARNINGS_HEAD_TYPEHASH, head.enclave, head.size, head.root, head.fees));
    }

    /// EIP-712 struct hash of the clearing.
    function clearingHash(SignedClearing calldata clearing) internal pure returns (bytes32) {
        Captured[] calldata enclaves = clearing.enclaves;
        bytes32[] memory hashes = new bytes32[](enclaves.length);
        for (uint256 i = 0; i < enclaves.length; i++) {
            hashes[i] = keccak256(abi.encode(CAPTURED_TYPEHASH, enclaves[i].enclave, enclaves[i].captured));
        }
        return keccak256(
            abi.encode(
                CLEARING_TYPEHASH,
                clearing.keyset,
                clearing.issued,
                clearing.captured,
                keccak256(abi.encodePacked(hashes))
            )
        );
    }
}

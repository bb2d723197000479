// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
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
        return LeafHash.wrap(keccak256(abi.encodePacked(LEAF_TAG, publicHash(receipt), privateHash)));
    }

    /// EIP-712 struct hash. Assembly: the struct is nine words of calldata, hashed as they stand. Plain version:
    /// keccak256(abi.encode(PUBLIC_RECEIPT_TYPEHASH, receipt)), which differs only for words with dirty high bits, and those no
    /// enclave has hashed. Compared in test/contracts/ReceiptHash.t.sol; saves about 900 gas (snapshots).
    function publicHash(PublicReceipt calldata receipt) internal pure returns (bytes32 hash) {
        bytes32 typeHash = PUBLIC_RECEIPT_TYPEHASH;
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            mstore(pointer, typeHash)
            calldatacopy(add(pointer, 0x20), receipt, 0x120)
            hash := keccak256(pointer, 0x140)
        }
    }

    /// keccak256(tag || salt || length as 8 bytes || data).
    function commitment(uint8 tag, bytes32 salt, bytes memory data) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(tag, salt, uint64(data.length), data));
    }

    /// keccak256(0x02 || enclave || size as 8 bytes || root): what a batch root commits to.
    function batchLeaf(EnclaveId enclave, uint64 size, LogRoot root) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(BATCH_LEAF_TAG, enclave, size, root));
    }

    /// EIP-712 struct hash of the head, by its kind. Assembly: its fields are hashed as they stand in calldata (enclave, kind, size,
    /// root, fees, …), the kind left out. Plain version: keccak256(abi.encode(typehash, enclave, size, root[, fees])), which differs
    /// only for words with dirty high bits, and those nobody signed. Compared in test/contracts/ReceiptHash.t.sol.
    function headHash(SignedHead calldata head) internal pure returns (bytes32 hash) {
        bool isLog = head.kind == HeadKind.Log;
        bytes32 typeHash = isLog ? LOG_HEAD_TYPEHASH : EARNINGS_HEAD_TYPEHASH;
        // size and root; fees behind them in an earnings head.
        uint256 length = isLog ? 0x40 : 0x60;
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            mstore(pointer, typeHash)
            mstore(add(pointer, 0x20), calldataload(head))
            calldatacopy(add(pointer, 0x40), add(head, 0x40), length)
            hash := keccak256(pointer, add(0x40, length))
        }
    }

    /// Who signed the head; the zero address when nobody did.
    function signerOf(SignedHead calldata head, bytes32 domainSeparator) internal pure returns (address) {
        return recover(MessageHashUtils.toTypedDataHash(domainSeparator, headHash(head)), head.r, head.vs);
    }

    /// Who signed the digest, by a compact signature (EIP-2098); the zero address when nobody did. Its one bit of parity leaves no room
    /// for most high values of s; the rest does no harm, because a signature identifies nothing here.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal pure returns (address) {
        // 27 or 28: the sum cannot overflow.
        return ecrecover(digest, uint8(uint256(vs) >> 255) + 27, r, vs & bytes32(uint256(type(int256).max)));
    }

    /// EIP-712 struct hash of the clearing. Assembly: each line is two words of calldata, hashed as they stand. Plain version:
    /// keccak256(abi.encode(CAPTURED_TYPEHASH, enclave, captured)) for each line. Compared in test/contracts/ReceiptHash.t.sol.
    function clearingHash(SignedClearing calldata clearing) internal pure returns (bytes32) {
        Captured[] calldata lines = clearing.enclaves;
        bytes32[] memory hashes = new bytes32[](lines.length);
        bytes32 typeHash = CAPTURED_TYPEHASH;
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            mstore(pointer, typeHash)
            let target := add(hashes, 0x20)
            let end := add(lines.offset, shl(6, lines.length))
            for { let line := lines.offset } lt(line, end) { line := add(line, 0x40) } {
                calldatacopy(add(pointer, 0x20), line, 0x40)
                mstore(target, keccak256(pointer, 0x60))
                target := add(target, 0x20)
            }
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

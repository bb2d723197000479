// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title MerkleLog
/// The tree of RFC 9162 section 2.1 with keccak-256: a node of n > 1 leaves splits at the largest power of two below n.
/// Leaves and nodes carry different one-byte tags, so neither can pose as the other.
/// Twin of offchain/protocol/log/tree.ts; both read test/vectors/log.json.
library MerkleLog {
    uint8 internal constant LOG_NODE_TAG = 0x01;
    uint8 internal constant BATCH_NODE_TAG = 0x03;

    /// Root that `path` leads to from the node at `index` of a row whose last index is `lastIndex` (RFC 9162 section 2.1.3.2).
    /// On the row of leaves `lastIndex` is size - 1; on the row `level` above it (size - 1) >> level, and the node must be complete.
    /// Says `ok = false` when the path has the wrong length or the index is out of range; the root then means nothing.
    function rootFromPath(uint8 nodeTag, bytes32 node, uint64 index, uint64 lastIndex, bytes32[] calldata path)
        internal
        pure
        returns (bool ok, bytes32 root)
    {
        if (index > lastIndex) return (false, 0);
        uint256 fn = index;
        uint256 sn = lastIndex;
        root = node;
        for (uint256 i = 0; i < path.length; i++) {
            if (sn == 0) return (false, 0);
            if (fn & 1 == 1 || fn == sn) {
                root = hashPair(nodeTag, path[i], root);
                while (fn & 1 == 0 && fn != 0) {
                    fn >>= 1;
                    sn >>= 1;
                }
            } else {
                root = hashPair(nodeTag, root, path[i]);
            }
            fn >>= 1;
            sn >>= 1;
        }
        return (sn == 0, root);
    }

    /// Root over `row`, which is overwritten. Empty rows have no root: the caller never asks.
    function rootOf(uint8 nodeTag, bytes32[] memory row, uint256 count) internal pure returns (bytes32) {
        while (count > 1) {
            uint256 pairs = count >> 1;
            for (uint256 i = 0; i < pairs; i++) {
                row[i] = hashPair(nodeTag, row[2 * i], row[2 * i + 1]);
            }
            // An odd last node moves up as it is: the same shape as splitting at powers of two.
            if (count & 1 == 1) row[pairs] = row[count - 1];
            count = pairs + (count & 1);
        }
        return row[0];
    }

    /// keccak256(tag || left || right). Assembly: 65 bytes are written to scratch space and the first byte of the free memory
    /// pointer's slot, which is restored before anything reads it. Plain version: keccak256(abi.encodePacked(tag, left, right)),
    /// compared in test/contracts/MerkleLog.t.sol; saves about 150 gas a node (snapshots).
    function hashPair(uint8 tag, bytes32 left, bytes32 right) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            mstore8(0x00, tag)
            mstore(0x01, left)
            mstore(0x21, right)
            hash := keccak256(0x00, 0x41)
            mstore(0x40, pointer)
        }
    }
}

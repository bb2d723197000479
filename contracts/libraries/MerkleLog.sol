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
        // The loop of the RFC, word for word. Assembly, because a proof runs it twenty times: the preimage tag || left || right stands in
        // scratch space and the top byte of the free memory pointer, which is put back at the end. The plain version is in
        // test/contracts/support/PlainMerkleLog.sol and compared on every tree of up to 70 leaves; saves about 150 gas a level.
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            let fn := index
            let sn := lastIndex
            let cursor := path.offset
            let end := add(cursor, shl(5, path.length))
            root := node
            mstore8(0x00, nodeTag)
            for {} lt(cursor, end) { cursor := add(cursor, 0x20) } {
                if iszero(sn) { break }
                switch or(and(fn, 1), eq(fn, sn))
                case 0 {
                    mstore(0x01, root)
                    mstore(0x21, calldataload(cursor))
                }
                default {
                    mstore(0x01, calldataload(cursor))
                    mstore(0x21, root)
                    for {} iszero(or(and(fn, 1), iszero(fn))) {} {
                        fn := shr(1, fn)
                        sn := shr(1, sn)
                    }
                }
                root := keccak256(0x00, 0x41)
                fn := shr(1, fn)
                sn := shr(1, sn)
            }
            mstore(0x40, pointer)
            ok := and(eq(cursor, end), iszero(sn))
        }
    }

    /// Root over the first `count` nodes of `row`, which is overwritten. `count` is from 1 to the row's length.
    /// Assembly for the reason above; an odd last node moves up as it is, which is the same shape as splitting at powers of two.
    function rootOf(uint8 nodeTag, bytes32[] memory row, uint256 count) internal pure returns (bytes32 root) {
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            let first := add(row, 0x20)
            mstore8(0x00, nodeTag)
            for {} gt(count, 1) {} {
                let source := first
                let target := first
                for { let end := add(first, shl(6, shr(1, count))) } lt(source, end) { source := add(source, 0x40) } {
                    mstore(0x01, mload(source))
                    mstore(0x21, mload(add(source, 0x20)))
                    mstore(target, keccak256(0x00, 0x41))
                    target := add(target, 0x20)
                }
                if and(count, 1) { mstore(target, mload(source)) }
                count := shr(1, add(count, 1))
            }
            root := mload(first)
            mstore(0x40, pointer)
        }
    }
}

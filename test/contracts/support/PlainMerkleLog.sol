// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title PlainMerkleLog
/// MerkleLog as the RFC says it, without assembly: what the optimised version is compared with.
library PlainMerkleLog {
    function rootFromPath(uint8 nodeTag, bytes32 node, uint64 index, uint64 lastIndex, bytes32[] memory path)
        internal
        pure
        returns (bool ok, bytes32 root)
    {
        if (index > lastIndex) return (false, 0);
        uint256 fn = index;
        uint256 sn = lastIndex;
        root = node;
        for (uint256 i = 0; i < path.length; i++) {
            if (sn == 0) return (false, root);
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

    /// The recursive definition of RFC 9162 section 2.1.1.
    function rootOf(uint8 nodeTag, bytes32[] memory leaves, uint256 start, uint256 end) internal pure returns (bytes32) {
        if (end - start == 1) return leaves[start];
        uint256 split = 1;
        while (split * 2 < end - start) split *= 2;
        return hashPair(
            nodeTag, rootOf(nodeTag, leaves, start, start + split), rootOf(nodeTag, leaves, start + split, end)
        );
    }

    /// The inclusion path of RFC 9162 section 2.1.3.1, lowest sibling first.
    function pathOf(uint8 nodeTag, bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory path) {
        path = new bytes32[](64);
        uint256 length = 0;
        uint256 start = 0;
        uint256 end = leaves.length;
        while (end - start > 1) {
            uint256 split = 1;
            while (split * 2 < end - start) split *= 2;
            if (index < start + split) {
                path[length++] = rootOf(nodeTag, leaves, start + split, end);
                end = start + split;
            } else {
                path[length++] = rootOf(nodeTag, leaves, start, start + split);
                start += split;
            }
        }
        bytes32[] memory lowestFirst = new bytes32[](length);
        for (uint256 i = 0; i < length; i++) {
            lowestFirst[i] = path[length - 1 - i];
        }
        return lowestFirst;
    }

    function hashPair(uint8 tag, bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(tag, left, right));
    }
}

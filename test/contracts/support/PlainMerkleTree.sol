// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PlainMerkleLog} from "./PlainMerkleLog.sol";

/// @title PlainMerkleTree
/// PlainMerkleLog behind an address: its recursion keeps the compiler from moving variables out of the stack of whoever contains it.
contract PlainMerkleTree {
    function rootOf(uint8 nodeTag, bytes32[] calldata leaves) external pure returns (bytes32) {
        return PlainMerkleLog.rootOf(nodeTag, leaves, 0, leaves.length);
    }

    function pathOf(uint8 nodeTag, bytes32[] calldata leaves, uint256 index) external pure returns (bytes32[] memory) {
        return PlainMerkleLog.pathOf(nodeTag, leaves, index);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleLog} from "../../contracts/libraries/MerkleLog.sol";
import {PlainMerkleLog} from "./support/PlainMerkleLog.sol";
import {Check} from "./utils/Check.sol";

/// The optimised tree against the plain one. Each case runs in a call of its own, so that its memory is given back.
contract MerkleLogTest is Check {
    uint8 private constant TAG = MerkleLog.LOG_NODE_TAG;
    uint256 private constant SIZE_MAX = 70;

    // The library behind calls: it takes paths from calldata.

    function fromPath(uint8 tag, bytes32 node, uint64 index, uint64 lastIndex, bytes32[] calldata path)
        external
        pure
        returns (bool ok, bytes32 root)
    {
        uint256 before = _freePointer();
        (ok, root) = MerkleLog.rootFromPath(tag, node, index, lastIndex, path);
        _checkMemory(before);
    }

    function rootOf(uint8 tag, bytes32[] memory row, uint256 count) external pure returns (bytes32 root) {
        uint256 before = _freePointer();
        root = MerkleLog.rootOf(tag, row, count);
        _checkMemory(before);
    }

    function _freePointer() private pure returns (uint256 pointer) {
        assembly ("memory-safe") {
            pointer := mload(0x40)
        }
    }

    /// What is allocated after the assembly stands where it should and is clean; the zero slot still is zero.
    function _checkMemory(uint256 before) private pure {
        assertEq(_freePointer(), before, "free memory pointer");
        bytes memory allocated = new bytes(96);
        assertEq(keccak256(allocated), keccak256(new bytes(96)), "allocated memory is clean");
        bytes memory empty;
        assertEq(empty.length, 0, "the zero slot is zero");
    }

    function _leaves(uint256 size) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; i++) {
            leaves[i] = keccak256(abi.encode("leaf", i));
        }
    }

    function test_rootOf_EqualsThePlainTreeUpTo70Leaves() public view {
        for (uint256 size = 1; size <= SIZE_MAX; size++) {
            bytes32[] memory leaves = _leaves(SIZE_MAX);
            bytes32 plain = PlainMerkleLog.rootOf(TAG, leaves, 0, size);
            assertEq(this.rootOf(TAG, leaves, size), plain, "root");
        }
    }

    function test_rootFromPath_LeadsEveryLeafToTheRootUpTo70Leaves() public view {
        for (uint256 size = 1; size <= SIZE_MAX; size++) {
            for (uint256 index = 0; index < size; index++) {
                this.checkLeaf(size, index);
            }
        }
    }

    function checkLeaf(uint256 size, uint256 index) external view {
        bytes32[] memory leaves = _leaves(size);
        bytes32 root = PlainMerkleLog.rootOf(TAG, leaves, 0, size);
        bytes32[] memory path = PlainMerkleLog.pathOf(TAG, leaves, index);
        uint64 last = uint64(size - 1);
        _assertLeads(leaves[index], uint64(index), last, path, root, true);

        _assertLeads(leaves[index] ^ bytes32(uint256(1)), uint64(index), last, path, root, false);
        for (uint256 i = 0; i < path.length; i++) {
            path[i] ^= bytes32(uint256(1) << (7 * index % 256));
            _assertLeads(leaves[index], uint64(index), last, path, root, false);
            path[i] ^= bytes32(uint256(1) << (7 * index % 256));
        }
        for (uint256 other = 0; other <= size; other++) {
            if (other != index) _assertLeads(leaves[index], uint64(other), last, path, root, false);
        }
        bytes32[] memory longer = new bytes32[](path.length + 1);
        bytes32[] memory shorter = new bytes32[](path.length == 0 ? 0 : path.length - 1);
        for (uint256 i = 0; i < path.length; i++) {
            longer[i] = path[i];
            if (i < shorter.length) shorter[i] = path[i];
        }
        _assertLeads(leaves[index], uint64(index), last, longer, root, false);
        if (path.length != 0) _assertLeads(leaves[index], uint64(index), last, shorter, root, false);
    }

    function _assertLeads(
        bytes32 node,
        uint64 index,
        uint64 last,
        bytes32[] memory path,
        bytes32 root,
        bool expected
    ) private view {
        (bool ok, bytes32 actual) = this.fromPath(TAG, node, index, last, path);
        assertTrue((ok && actual == root) == expected, expected ? "leads to the root" : "does not lead to the root");
    }

    function test_rootFromPath_LeadsEveryCompleteSubtreeToTheRoot() public view {
        for (uint256 size = 1; size <= SIZE_MAX; size++) {
            for (uint256 level = 1; 1 << level <= size; level++) {
                this.checkLevel(size, level);
            }
        }
    }

    function checkLevel(uint256 size, uint256 level) external view {
        bytes32[] memory leaves = _leaves(size);
        bytes32 root = PlainMerkleLog.rootOf(TAG, leaves, 0, size);
        for (uint256 index = 0; (index + 1) << level <= size; index++) {
            bytes32 node = PlainMerkleLog.rootOf(TAG, leaves, index << level, (index + 1) << level);
            bytes32[] memory whole = PlainMerkleLog.pathOf(TAG, leaves, index << level);
            bytes32[] memory path = new bytes32[](whole.length - level);
            for (uint256 i = 0; i < path.length; i++) {
                path[i] = whole[level + i];
            }
            _assertLeads(node, uint64(index), uint64((size - 1) >> level), path, root, true);
            _assertLeads(node, uint64(index), uint64(size - 1), path, root, path.length == 0 && size == 1);
        }
    }

    function test_rootFromPath_RefusesAnIndexBehindTheLast() public view {
        (bool ok,) = this.fromPath(TAG, keccak256("leaf"), 1, 0, new bytes32[](0));
        assertTrue(!ok, "refused");
    }

    function test_rootFromPath_TellsLogAndBatchApart() public view {
        bytes32[] memory leaves = _leaves(2);
        bytes32[] memory path = PlainMerkleLog.pathOf(TAG, leaves, 0);
        (bool ok, bytes32 root) = this.fromPath(MerkleLog.BATCH_NODE_TAG, leaves[0], 0, 1, path);
        assertTrue(ok && root != PlainMerkleLog.rootOf(TAG, leaves, 0, 2), "another tree");
    }

    function testFuzz_rootFromPath_EqualsThePlainLoop(
        uint8 tag,
        bytes32 node,
        uint64 index,
        uint64 last,
        uint8 bits,
        bytes32[] calldata path
    ) public view {
        // Mostly small trees, where the path's length has a chance to fit.
        last = uint64(bound(last, 0, type(uint64).max >> (bits % 64)));
        index = uint64(bound(index, 0, last));
        (bool ok, bytes32 root) = this.fromPath(tag, node, index, last, path);
        (bool plainOk, bytes32 plainRoot) = PlainMerkleLog.rootFromPath(tag, node, index, last, path);
        assertTrue(ok == plainOk, "ok");
        if (ok) assertEq(root, plainRoot, "root");
    }

    function testFuzz_rootOf_EqualsThePlainTree(uint8 tag, bytes32[] calldata leaves) public view {
        if (leaves.length == 0) return;
        bytes32 plain = PlainMerkleLog.rootOf(tag, leaves, 0, leaves.length);
        assertEq(this.rootOf(tag, leaves, leaves.length), plain, "root");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {MerkleLog} from "../../contracts/libraries/MerkleLog.sol";
import {HeadKind, SignedHead} from "../../contracts/types/Receipt.sol";
import {EnclaveId, EnclaveState} from "../../contracts/types/Types.sol";
import {PlainMerkleLog} from "./support/PlainMerkleLog.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

contract EquivocationTest is Stage {
    uint8 private constant TAG = MerkleLog.LOG_NODE_TAG;
    bytes32 private constant ROOT = keccak256("root");
    bytes32 private constant OTHER_ROOT = keccak256("other root");
    EnclaveId private gateway;

    function setUp() public override {
        super.setUp();
        gateway = _gateway(0);
    }

    function _assertEnds(SignedHead memory a, SignedHead memory b) private {
        uint256 snapshot = vm.snapshotState();
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.EquivocationProven(gateway, STRANGER);
        vm.prank(STRANGER);
        settlement.reportContradiction(a, b);
        assertEq(uint256(registry.stateOf(gateway)), uint256(EnclaveState.Compromised), "ended");
        vm.revertToState(snapshot);
        settlement.reportContradiction(b, a);
        assertEq(uint256(registry.stateOf(gateway)), uint256(EnclaveState.Compromised), "either way round");
        vm.revertToState(snapshot);
    }

    function _assertConsistent(SignedHead memory a, SignedHead memory b) private {
        vm.expectRevert(IReceiptSettlement.SettlementNoContradiction.selector);
        settlement.reportContradiction(a, b);
        vm.expectRevert(IReceiptSettlement.SettlementNoContradiction.selector);
        settlement.reportContradiction(b, a);
    }

    // Contradictions

    function test_reportContradiction_EndsWhen_OneSizeHasTwoRoots() public {
        _assertEnds(_logHead(0, 5, ROOT), _logHead(0, 5, OTHER_ROOT));
        _assertEnds(_earningsHead(0, 5, ROOT, 9), _earningsHead(0, 5, OTHER_ROOT, 9));
        _assertEnds(_logHead(0, 5, ROOT), _earningsHead(0, 5, OTHER_ROOT, 9));
    }

    function test_reportContradiction_EndsWhen_OneSizeHasTwoFees() public {
        _assertEnds(_earningsHead(0, 5, ROOT, 9), _earningsHead(0, 5, ROOT, 10));
    }

    function test_reportContradiction_EndsWhen_ALargerLogEarnedLess() public {
        _assertEnds(_earningsHead(0, 5, ROOT, 9), _earningsHead(0, 6, OTHER_ROOT, 8));
    }

    function test_reportContradiction_RefusesWhatCanBothBeTrue() public {
        _assertConsistent(_logHead(0, 5, ROOT), _logHead(0, 5, ROOT));
        _assertConsistent(_logHead(0, 5, ROOT), _logHead(0, 6, OTHER_ROOT));
        _assertConsistent(_logHead(0, 5, ROOT), _earningsHead(0, 5, ROOT, 9));
        _assertConsistent(_earningsHead(0, 5, ROOT, 9), _earningsHead(0, 6, OTHER_ROOT, 9));
        _assertConsistent(_earningsHead(0, 5, ROOT, 9), _earningsHead(0, 6, OTHER_ROOT, 10));
    }

    function test_reportContradiction_IgnoresTheUnsignedFeesOfALogHead() public {
        SignedHead memory log = _logHead(0, 6, ROOT);
        _assertConsistent(_earningsHead(0, 5, ROOT, 9), log);
        _assertConsistent(_earningsHead(0, 6, ROOT, 9), log);
    }

    function test_reportContradiction_RefusesHeadsOfTwoEnclaves() public {
        _gateway(1);
        _assertConsistent(_logHead(0, 5, ROOT), _logHead(1, 5, OTHER_ROOT));
    }

    function test_reportContradiction_RefusesAForeignSignature() public {
        SignedHead memory good = _logHead(0, 5, ROOT);
        SignedHead memory forged = _sign(GATEWAY_KEY + 1, _head(0, HeadKind.Log, 5, OTHER_ROOT, 0));
        bytes memory refusal = abi.encodeWithSelector(
            IReceiptSettlement.SettlementHeadNotSigned.selector, gateway, vm.addr(GATEWAY_KEY + 1)
        );
        vm.expectRevert(refusal);
        settlement.reportContradiction(good, forged);
        vm.expectRevert(refusal);
        settlement.reportContradiction(forged, good);
    }

    function test_reportContradiction_RefusesASignatureForAnotherChainOrContract() public {
        SignedHead memory good = _logHead(0, 5, ROOT);
        SignedHead memory foreign = _head(0, HeadKind.Log, 5, OTHER_ROOT, 0);
        bytes32[2] memory domains = [
            PlainHash.domain("Sealpath", block.chainid + 1, address(settlement)),
            PlainHash.domain("Sealpath", block.chainid, address(vault))
        ];
        for (uint256 i = 0; i < 2; i++) {
            bytes32 digest = PlainHash.digest(domains[i], PlainHash.headHash(foreign));
            (foreign.r, foreign.vs) = vm.signCompact(GATEWAY_KEY, digest);
            vm.expectPartialRevert(IReceiptSettlement.SettlementHeadNotSigned.selector);
            settlement.reportContradiction(good, foreign);
        }
    }

    function test_reportContradiction_RefusesAnEnclaveThatNeverRegistered() public {
        SignedHead memory a = _logHead(7, 5, ROOT);
        SignedHead memory b = _logHead(7, 5, OTHER_ROOT);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryEnclaveUnknown.selector, a.enclave));
        settlement.reportContradiction(a, b);
        _gateway(7);
        settlement.reportContradiction(a, b);
        assertEq(uint256(registry.stateOf(a.enclave)), uint256(EnclaveState.Compromised), "but ends it later");
    }

    function test_reportContradiction_RefusesUnsignedHeadsOfTheZeroAddress() public {
        SignedHead memory a = _head(0, HeadKind.Log, 5, ROOT, 0);
        SignedHead memory b = _head(0, HeadKind.Log, 5, OTHER_ROOT, 0);
        a.enclave = b.enclave = EnclaveId.wrap(address(0));
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryEnclaveUnknown.selector, a.enclave));
        settlement.reportContradiction(a, b);
    }

    // Forks: logs of two sizes that differ somewhere below the smaller one's end

    struct Fork {
        bytes32[] a;
        bytes32[] b;
    }

    /// Two logs of `sizeA` and `sizeB` leaves that are the same up to `from`, and differ there.
    function _fork(uint256 sizeA, uint256 sizeB, uint256 from) private pure returns (Fork memory fork) {
        fork.a = new bytes32[](sizeA);
        fork.b = new bytes32[](sizeB);
        for (uint256 i = 0; i < sizeA; i++) {
            fork.a[i] = keccak256(abi.encode("leaf", i));
        }
        for (uint256 i = 0; i < sizeB; i++) {
            fork.b[i] = keccak256(abi.encode(i < from ? "leaf" : "other leaf", i));
        }
    }

    function _headOf(bytes32[] memory leaves) private view returns (SignedHead memory) {
        return _logHead(0, uint64(leaves.length), PlainMerkleLog.rootOf(TAG, leaves, 0, leaves.length));
    }

    function _node(bytes32[] memory leaves, uint8 level, uint256 index) private pure returns (bytes32) {
        return PlainMerkleLog.rootOf(TAG, leaves, index << level, (index + 1) << level);
    }

    function _path(bytes32[] memory leaves, uint8 level, uint256 index) private pure returns (bytes32[] memory path) {
        bytes32[] memory whole = PlainMerkleLog.pathOf(TAG, leaves, index << level);
        path = new bytes32[](whole.length - level);
        for (uint256 i = 0; i < path.length; i++) {
            path[i] = whole[level + i];
        }
    }

    function _reportFork(Fork memory fork, uint8 level, uint64 index) private {
        settlement.reportFork(
            _headOf(fork.a),
            _headOf(fork.b),
            level,
            index,
            [_node(fork.a, level, index), _node(fork.b, level, index)],
            [_path(fork.a, level, index), _path(fork.b, level, index)]
        );
    }

    function test_reportFork_EndsWhen_OneLeafDiffers() public {
        _reportFork(_fork(5, 9, 4), 0, 4);
        assertEq(uint256(registry.stateOf(gateway)), uint256(EnclaveState.Compromised), "ended");
    }

    function test_reportFork_EndsWhen_ACompleteSubtreeDiffers() public {
        _reportFork(_fork(12, 21, 7), 2, 1);
        assertEq(uint256(registry.stateOf(gateway)), uint256(EnclaveState.Compromised), "ended");
    }

    function testFuzz_reportFork_EndsAtEveryPlaceThatDiffers(uint8 sizeA, uint8 sizeB, uint8 from, uint8 level) public {
        sizeA = uint8(bound(sizeA, 1, 40));
        sizeB = uint8(bound(sizeB, 1, 40));
        uint256 smaller = sizeA < sizeB ? sizeA : sizeB;
        from = uint8(bound(from, 0, smaller - 1));
        Fork memory fork = _fork(sizeA, sizeB, from);
        level = uint8(bound(level, 0, 5));
        uint256 index = uint256(from) >> level;
        if ((index + 1) << level > smaller) (level, index) = (0, from);
        _reportFork(fork, level, uint64(index));
        assertEq(uint256(registry.stateOf(gateway)), uint256(EnclaveState.Compromised), "ended");
    }

    function test_reportFork_RefusesEqualNodes() public {
        Fork memory fork = _fork(5, 9, 4);
        SignedHead memory a = _headOf(fork.a);
        SignedHead memory b = _headOf(fork.b);
        bytes32[2] memory nodes = [fork.a[3], fork.b[3]];
        bytes32[][2] memory paths = [_path(fork.a, 0, 3), _path(fork.b, 0, 3)];
        vm.expectRevert(IReceiptSettlement.SettlementNoContradiction.selector);
        settlement.reportFork(a, b, 0, 3, nodes, paths);
    }

    function test_reportFork_RefusesANodeThatIsNotThere() public {
        Fork memory fork = _fork(5, 9, 9);
        SignedHead memory a = _headOf(fork.a);
        SignedHead memory b = _headOf(fork.b);
        bytes32[2] memory nodes = [fork.a[3], keccak256("invented")];
        bytes32[][2] memory paths = [_path(fork.a, 0, 3), _path(fork.b, 0, 3)];
        vm.expectPartialRevert(IReceiptSettlement.SettlementPathMismatch.selector);
        settlement.reportFork(a, b, 0, 3, nodes, paths);
    }

    /// An honest log grows: a node over its then incomplete end must not be taken for evidence.
    function test_reportFork_RefusesANodeThatWasStillGrowing() public {
        Fork memory fork = _fork(5, 6, 6);
        SignedHead memory a = _headOf(fork.a);
        SignedHead memory b = _headOf(fork.b);
        // Row 1 of the log of 5 ends with leaf 4 alone; of the log of 6 with the pair of 4 and 5.
        bytes32[2] memory nodes = [fork.a[4], _node(fork.b, 1, 2)];
        bytes32[][2] memory paths = [_path(fork.a, 0, 4), _path(fork.b, 1, 2)];
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementNodeIncomplete.selector, 5, uint8(1), uint64(2))
        );
        settlement.reportFork(a, b, 1, 2, nodes, paths);
    }

    function test_reportFork_RefusesLevelsAndIndicesBeyondTheLog() public {
        Fork memory fork = _fork(5, 9, 4);
        SignedHead memory a = _headOf(fork.a);
        SignedHead memory b = _headOf(fork.b);
        bytes32[2] memory nodes = [fork.a[4], fork.b[4]];
        bytes32[][2] memory paths = [_path(fork.a, 0, 4), _path(fork.b, 0, 4)];
        uint8[4] memory levels = [63, 255, 0, 62];
        uint64[4] memory indices = [0, 0, type(uint64).max, type(uint64).max];
        for (uint256 i = 0; i < 4; i++) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IReceiptSettlement.SettlementNodeIncomplete.selector, 5, levels[i], indices[i]
                )
            );
            settlement.reportFork(a, b, levels[i], indices[i], nodes, paths);
        }
    }

    /// A log that is said to be larger than any can be: its whole left half is no node, and the half of that is.
    function test_reportFork_RefusesLevelsThatNoLogHas() public {
        uint64 size = 1 << 63;
        SignedHead memory a = _logHead(0, size, ROOT);
        SignedHead memory b = _logHead(0, 2, OTHER_ROOT);
        bytes32[2] memory nodes = [ROOT, OTHER_ROOT];
        bytes32[][2] memory paths;
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementNodeIncomplete.selector, size, uint8(63), uint64(0))
        );
        settlement.reportFork(a, b, 63, 0, nodes, paths);
        vm.expectPartialRevert(IReceiptSettlement.SettlementPathMismatch.selector);
        settlement.reportFork(a, b, 62, 0, nodes, paths);
    }

    function test_reportFork_RefusesAnEmptyLog() public {
        SignedHead memory a = _logHead(0, 0, ROOT);
        SignedHead memory b = _logHead(0, 1, OTHER_ROOT);
        bytes32[][2] memory paths;
        paths[0] = paths[1] = new bytes32[](0);
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementNodeIncomplete.selector, 0, uint8(0), uint64(0))
        );
        settlement.reportFork(a, b, 0, 0, [ROOT, OTHER_ROOT], paths);
    }

    function test_reportFork_RefusesAForeignSignature() public {
        Fork memory fork = _fork(5, 9, 4);
        SignedHead memory a = _headOf(fork.a);
        SignedHead memory b = _sign(GATEWAY_KEY + 1, _headOf(fork.b));
        bytes32[2] memory nodes = [fork.a[4], fork.b[4]];
        bytes32[][2] memory paths = [_path(fork.a, 0, 4), _path(fork.b, 0, 4)];
        vm.expectPartialRevert(IReceiptSettlement.SettlementHeadNotSigned.selector);
        settlement.reportFork(a, b, 0, 4, nodes, paths);
    }

    /// Whatever two heads of one honest, growing log are shown, nothing proves a fork.
    function testFuzz_reportFork_NeverEndsAnHonestEnclave(uint256 seed) public {
        uint8 sizeA = uint8(bound(seed, 1, 24));
        uint8 sizeB = uint8(bound(seed >> 8, 1, 24));
        Fork memory fork = _fork(sizeA, sizeB, type(uint8).max);
        uint8 level = uint8(seed >> 16 & 3);
        uint256 indexA = bound(seed >> 24, 0, sizeA - 1) >> level;
        uint256 indexB = bound(seed >> 32, 0, sizeB - 1) >> level;
        // Nodes and paths of rows and places that need not fit each other.
        uint8 otherLevel = uint8(seed >> 40 & 3);
        bytes32[2] memory nodes = [_clippedNode(fork.a, level, indexA), _clippedNode(fork.b, otherLevel, indexB)];
        bytes32[][2] memory paths = [_clippedPath(fork.a, level, indexA), _clippedPath(fork.b, otherLevel, indexB)];
        SignedHead memory a = _headOf(fork.a);
        SignedHead memory b = _headOf(fork.b);
        try settlement.reportFork(a, b, level, uint64(indexA), nodes, paths) {
            assertTrue(false, "an honest enclave was ended");
        } catch {}
    }

    function _clippedNode(bytes32[] memory leaves, uint8 level, uint256 index) private pure returns (bytes32) {
        uint256 start = index << level < leaves.length ? index << level : leaves.length - 1;
        uint256 end = start + (1 << level) < leaves.length ? start + (1 << level) : leaves.length;
        return PlainMerkleLog.rootOf(TAG, leaves, start, end);
    }

    function _clippedPath(bytes32[] memory leaves, uint8 level, uint256 index)
        private
        pure
        returns (bytes32[] memory path)
    {
        uint256 start = index << level < leaves.length ? index << level : leaves.length - 1;
        bytes32[] memory whole = PlainMerkleLog.pathOf(TAG, leaves, start);
        path = new bytes32[](whole.length > level ? whole.length - level : 0);
        for (uint256 i = 0; i < path.length; i++) {
            path[i] = whole[whole.length - path.length + i];
        }
    }
}

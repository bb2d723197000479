// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleLog} from "../../contracts/libraries/MerkleLog.sol";
import {ReceiptHash} from "../../contracts/libraries/ReceiptHash.sol";
import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {HeadKind, SignedClearing, SignedHead} from "../../contracts/types/Receipt.sol";
import {BatchId, BatchRoot, EnclaveId, EnclaveRole, LogRoot, Units} from "../../contracts/types/Types.sol";
import {PlainMerkleLog} from "./support/PlainMerkleLog.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

contract SettleHeadsTest is Stage {
    bytes32 private constant ROOT = keccak256("root");

    function _batchRootOver(SignedHead[] memory heads) private pure returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](heads.length);
        for (uint256 i = 0; i < heads.length; i++) {
            leaves[i] = ReceiptHash.batchLeaf(heads[i].enclave, heads[i].size, heads[i].root);
        }
        return PlainMerkleLog.rootOf(MerkleLog.BATCH_NODE_TAG, leaves, 0, leaves.length);
    }

    function _assertBatch(uint64 batch, SignedHead[] memory heads) private view {
        assertEq(
            BatchRoot.unwrap(settlement.batchRoot(BatchId.wrap(batch))), _batchRootOver(heads), "batch root"
        );
    }

    function _assertBatch(uint64 batch, SignedHead memory head) private view {
        SignedHead[] memory heads = new SignedHead[](1);
        heads[0] = head;
        _assertBatch(batch, heads);
    }

    /// Settles `head`, expects that it is skipped for `reason` and that not one storage word is written.
    function _assertSkipped(SignedHead memory head, IReceiptSettlement.HeadRefusal reason) private {
        uint64 batches = settlement.batchCount();
        _expectHeadSkipped(head, reason);
        vm.record();
        BatchId batch = _settle(head);
        (, bytes32[] memory writes) = vm.accesses(address(settlement));
        assertEq(writes.length, 0, "words written");
        assertEq(BatchId.unwrap(batch), 0, "no batch");
        assertEq(settlement.batchCount(), batches, "no batch counted");
    }

    // What is accepted

    function test_settle_StoresOneRootOverAllValidHeads() public {
        SignedHead[] memory heads = new SignedHead[](3);
        for (uint256 i = 0; i < 3; i++) {
            _gateway(i);
            heads[i] = i == 1 ? _logHead(i, 7, ROOT) : _earningsHead(i, uint64(10 + i), keccak256(abi.encode(i)), 5);
        }
        BatchRoot root = BatchRoot.wrap(_batchRootOver(heads));
        for (uint256 i = 0; i < 3; i++) {
            vm.expectEmit(address(settlement));
            emit IReceiptSettlement.HeadSettled(
                heads[i].enclave, BatchId.wrap(1), heads[i].size, heads[i].root, heads[i].fees
            );
        }
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.BatchSettled(BatchId.wrap(1), root, 3, SETTLER);
        vm.prank(SETTLER);
        BatchId batch = settlement.settle(heads, new SignedClearing[](0));
        assertEq(BatchId.unwrap(batch), 1, "batches count from 1");
        _assertBatch(1, heads);
        assertEq(_earned(heads[0].enclave), 5, "an earnings head moves money");
        assertEq(settlement.accountOf(heads[0].enclave).size, 10, "size");
        assertEq(_earned(heads[1].enclave), 0, "a log head moves none");
        assertEq(settlement.accountOf(heads[1].enclave).size, 0, "nor the size that money goes by");
    }

    function test_settle_IgnoresTheUnsignedFeesOfALogHead() public {
        EnclaveId enclave = _gateway(0);
        SignedHead memory head = _logHead(0, 3, ROOT);
        head.fees = Units.wrap(1_000);
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.HeadSettled(enclave, BatchId.wrap(1), 3, LogRoot.wrap(ROOT), Units.wrap(0));
        _settle(head);
        assertEq(_earned(enclave), 0, "earned");
    }

    function test_settle_StoresAnOlderEarningsHeadWithoutMoney() public {
        EnclaveId enclave = _gateway(0);
        SignedHead memory older = _earningsHead(0, 5, ROOT, 50);
        _settle(_earningsHead(0, 9, keccak256("newer"), 90));
        assertEq(BatchId.unwrap(_settle(older)), 2, "stored");
        _assertBatch(2, older);
        assertEq(_earned(enclave), 90, "earned stays");
        assertEq(settlement.accountOf(enclave).size, 9, "size stays");
    }

    function test_settle_StoresALogHeadOfAnySizeAgain() public {
        _gateway(0);
        _settle(_earningsHead(0, 9, ROOT, 90));
        SignedHead memory head = _logHead(0, 9, ROOT);
        assertEq(BatchId.unwrap(_settle(head)), 2, "of the settled size");
        assertEq(BatchId.unwrap(_settle(head)), 3, "and once more: a client's own head always settles");
        _assertBatch(3, head);
    }

    function test_settle_AcceptsARetiredEnclaveInItsGracePeriod() public {
        EnclaveId enclave = _gateway(0);
        SignedHead memory head = _earningsHead(0, 9, ROOT, 90);
        vm.warp(START + registry.LIFETIME() + registry.GRACE_PERIOD() - 1);
        _settle(head);
        assertEq(_earned(enclave), 90, "earned");
    }

    // What is skipped

    function test_settle_SkipsWhen_SignatureIsAnothers() public {
        _gateway(0);
        _gateway(1);
        SignedHead memory head = _sign(GATEWAY_KEY + 1, _head(0, HeadKind.Earnings, 3, ROOT, 3));
        _assertSkipped(head, IReceiptSettlement.HeadRefusal.BadSignature);
    }

    function test_settle_SkipsWhen_SignatureIsForTheOtherKind() public {
        _gateway(0);
        SignedHead memory head = _logHead(0, 3, ROOT);
        head.kind = HeadKind.Earnings;
        _assertSkipped(head, IReceiptSettlement.HeadRefusal.BadSignature);
    }

    function test_settle_SkipsWhen_SignatureIsForAnotherChainOrContract() public {
        _gateway(0);
        SignedHead memory head = _head(0, HeadKind.Earnings, 3, ROOT, 3);
        bytes32[2] memory domains = [
            PlainHash.domain("Sealpath", block.chainid + 1, address(settlement)),
            PlainHash.domain("Sealpath", block.chainid, address(registry))
        ];
        for (uint256 i = 0; i < 2; i++) {
            (head.r, head.vs) = vm.signCompact(GATEWAY_KEY, PlainHash.digest(domains[i], PlainHash.headHash(head)));
            _assertSkipped(head, IReceiptSettlement.HeadRefusal.BadSignature);
        }
    }

    function test_settle_SkipsWhen_ChainForked() public {
        _gateway(0);
        SignedHead memory head = _earningsHead(0, 3, ROOT, 3);
        vm.chainId(block.chainid + 1);
        _assertSkipped(head, IReceiptSettlement.HeadRefusal.BadSignature);
    }

    function test_settle_SkipsWhen_EnclaveIsUnknown() public {
        _assertSkipped(_earningsHead(0, 3, ROOT, 3), IReceiptSettlement.HeadRefusal.UnknownEnclave);
    }

    function test_settle_SkipsWhen_EnclaveIsTheZeroAddress() public {
        SignedHead memory head = _head(0, HeadKind.Log, 3, ROOT, 0);
        head.enclave = EnclaveId.wrap(address(0));
        _assertSkipped(head, IReceiptSettlement.HeadRefusal.UnknownEnclave);
    }

    function test_settle_SkipsWhen_EnclaveIsAnIssuer() public {
        EnclaveId issuer = _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        SignedHead memory head = _head(0, HeadKind.Earnings, 3, ROOT, 3);
        head.enclave = issuer;
        _assertSkipped(_sign(ISSUER_KEY, head), IReceiptSettlement.HeadRefusal.UnknownEnclave);
    }

    function test_settle_SkipsWhen_EnclaveIsClosed() public {
        _gateway(0);
        SignedHead memory head = _earningsHead(0, 3, ROOT, 3);
        _closeAll();
        _assertSkipped(head, IReceiptSettlement.HeadRefusal.EnclaveEnded);
    }

    function test_settle_SkipsWhen_EnclaveIsCompromised() public {
        _gateway(0);
        _compromise(0);
        _assertSkipped(_earningsHead(0, 3, ROOT, 3), IReceiptSettlement.HeadRefusal.EnclaveEnded);
        _assertSkipped(_logHead(0, 3, ROOT), IReceiptSettlement.HeadRefusal.EnclaveEnded);
    }

    function test_settle_SkipsWhen_SizeIsOutOfRange() public {
        EnclaveId enclave = _gateway(0);
        _assertSkipped(_logHead(0, 0, ROOT), IReceiptSettlement.HeadRefusal.SizeOutOfRange);
        _assertSkipped(_earningsHead(0, 1 << 40, ROOT, 3), IReceiptSettlement.HeadRefusal.SizeOutOfRange);
        _settle(_earningsHead(0, (1 << 40) - 1, ROOT, 3));
        assertEq(settlement.accountOf(enclave).size, (1 << 40) - 1, "the largest size");
    }

    function test_settle_SkipsWhen_HeadIsSettledAlready() public {
        _gateway(0);
        SignedHead memory head = _earningsHead(0, 3, ROOT, 3);
        _settle(head);
        _assertSkipped(head, IReceiptSettlement.HeadRefusal.Duplicate);
    }

    function test_settle_SkipsWhen_FeesContradictWhatIsSettled() public {
        EnclaveId enclave = _gateway(0);
        _settle(_earningsHead(0, 5, ROOT, 50));
        _assertSkipped(_earningsHead(0, 5, ROOT, 51), IReceiptSettlement.HeadRefusal.Contradiction);
        _assertSkipped(_earningsHead(0, 4, ROOT, 51), IReceiptSettlement.HeadRefusal.Contradiction);
        _assertSkipped(_earningsHead(0, 6, ROOT, 49), IReceiptSettlement.HeadRefusal.Contradiction);
        _settle(_earningsHead(0, 6, ROOT, 50));
        assertEq(_earned(enclave), 50, "a larger log may earn as much");
    }

    function test_settle_StoresTheRootOnlyWhen_SettlerIsExclusive() public {
        EnclaveId enclave = _gateway(0);
        vm.prank(OPERATOR);
        settlement.nameSettler(enclave, SETTLER, 600);
        SignedHead memory head = _earningsHead(0, 5, ROOT, 50);
        _expectHeadSkipped(head, IReceiptSettlement.HeadRefusal.SettlerExclusive);
        vm.prank(STRANGER);
        assertEq(BatchId.unwrap(_settle(head)), 1, "the proof never waits");
        _assertBatch(1, head);
        assertEq(_earned(enclave), 0, "the money does");
        vm.warp(START + 600);
        vm.prank(STRANGER);
        _settle(head);
        assertEq(_earned(enclave), 50, "but not for ever");
    }

    function test_settle_AcceptsTheRestWhen_OneIsSkipped() public {
        _gateway(0);
        SignedHead[] memory heads = new SignedHead[](3);
        heads[0] = _earningsHead(0, 5, ROOT, 50);
        heads[1] = _earningsHead(1, 5, ROOT, 50);
        heads[2] = _logHead(0, 6, keccak256("six"));
        assertEq(BatchId.unwrap(settlement.settle(heads, new SignedClearing[](0))), 1, "stored");
        SignedHead[] memory accepted = new SignedHead[](2);
        (accepted[0], accepted[1]) = (heads[0], heads[2]);
        _assertBatch(1, accepted);
    }

    function test_settle_SkipsADuplicateInOneCall() public {
        EnclaveId enclave = _gateway(0);
        SignedHead memory head = _earningsHead(0, 5, ROOT, 50);
        _expectHeadSkipped(head, IReceiptSettlement.HeadRefusal.Duplicate);
        _settle(head, head);
        _assertBatch(1, head);
        assertEq(_earned(enclave), 50, "once");
    }

    function test_settle_DoesNothingWithNothing() public {
        BatchId batch = settlement.settle(new SignedHead[](0), new SignedClearing[](0));
        assertEq(BatchId.unwrap(batch), 0, "no batch");
    }

    // Whatever comes, in whatever order

    function testFuzz_settle_NeverRevertsForContent(uint256 seed, bytes32 r, bytes32 vs) public {
        _gateway(0);
        _settle(_earningsHead(0, 5, ROOT, 50));
        SignedHead memory head =
            _head(seed % 2, HeadKind(seed >> 1 & 1), uint64(seed >> 8), bytes32(seed), uint64(seed >> 128));
        (head.r, head.vs) = (r, vs);
        if (seed >> 2 & 1 == 1) _sign(GATEWAY_KEY + seed % 2, head);
        _settle(head);
    }

    function testFuzz_settle_ComesToTheSameInAnyOrder(uint256 seed, uint8 first, uint8 second) public {
        EnclaveId enclave = _gateway(0);
        SignedHead[] memory heads = new SignedHead[](4);
        for (uint256 i = 0; i < 4; i++) {
            heads[i] = _earningsHead(0, uint64(10 * (i + 1)), keccak256(abi.encode(i)), uint64(7 * (i + 1)));
        }
        for (uint256 i = 0; i < 4; i++) {
            uint256 j = uint256(keccak256(abi.encode(seed, i))) % 4;
            (heads[i], heads[j]) = (heads[j], heads[i]);
        }
        SignedHead[] memory later = new SignedHead[](2);
        later[0] = heads[first % 4];
        later[1] = heads[second % 4];
        settlement.settle(later, new SignedClearing[](0));
        settlement.settle(heads, new SignedClearing[](0));
        IReceiptSettlement.Account memory account = settlement.accountOf(enclave);
        assertEq(account.size, 40, "size");
        assertEq(account.earned, 28, "earned");
    }

    // How much at once

    function test_settle_RefusesTooMany() public {
        vm.expectRevert(abi.encodeWithSelector(IReceiptSettlement.SettlementTooMany.selector, 256, 257));
        settlement.settle(new SignedHead[](257), new SignedClearing[](0));
        vm.expectRevert(abi.encodeWithSelector(IReceiptSettlement.SettlementTooMany.selector, 16, 17));
        settlement.settle(new SignedHead[](0), new SignedClearing[](17));
    }

    function test_settle_Of256HeadsFitsATransactionWell() public {
        SignedHead[] memory heads = new SignedHead[](256);
        for (uint256 i = 0; i < 256; i++) {
            _gateway(i);
            heads[i] = _earningsHead(i, 1_000_000, keccak256(abi.encode(i)), 1_000_000);
        }
        uint256 before = gasleft();
        settlement.settle(heads, new SignedClearing[](0));
        uint256 used = before - gasleft();
        // Calldata and the first touch of each enclave's word in the registry come on top.
        uint256 calldataGas = 16 * abi.encode(heads).length;
        assertLe(used + calldataGas + 256 * 2_100 + 21_000, 12_000_000, "gas of 256 first heads");
        _assertBatch(1, heads);
    }
}

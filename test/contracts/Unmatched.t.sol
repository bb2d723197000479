// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {EnclaveId, Units} from "../../contracts/types/Types.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

/// What was cleared for an enclave and never earned: the insurance takes it.
contract UnmatchedTest is Stage {
    bytes32 private constant ROOT = keccak256("root");
    EnclaveId private gateway;

    function setUp() public override {
        super.setUp();
        gateway = _gateway(0);
    }

    function _expectSwept(uint64 unmatched, uint64 forfeited) private {
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.UnmatchedSwept(gateway, Units.wrap(unmatched), Units.wrap(forfeited));
    }

    function _expectNotEnded() private {
        vm.expectRevert(abi.encodeWithSelector(IReceiptSettlement.SettlementEnclaveNotEnded.selector, gateway));
    }

    function test_sweepUnmatched_RefusesAnEnclaveThatMayStillEarn() public {
        _expectNotEnded();
        settlement.sweepUnmatched(gateway);
        vm.warp(START + registry.LIFETIME());
        _expectNotEnded();
        settlement.sweepUnmatched(gateway);
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementEnclaveNotEnded.selector, EnclaveId.wrap(STRANGER))
        );
        settlement.sweepUnmatched(EnclaveId.wrap(STRANGER));
    }

    function test_sweepUnmatched_GivesToTheInsuranceWhatWasNotEarned() public {
        _clear(gateway, 500);
        _settle(_earningsHead(0, 1, ROOT, 200));
        _closeAll();
        _expectSwept(300, 0);
        settlement.sweepUnmatched(gateway);
        assertEq(settlement.insurance(), 300, "insurance");
        _expectSwept(0, 0);
        settlement.sweepUnmatched(gateway);
        assertEq(settlement.insurance(), 300, "once");
    }

    function test_sweepUnmatched_LeavesTheOperatorWhatWasAgreedButNotCredited() public {
        _settle(_earningsHead(0, 1, ROOT, 200));
        _clear(gateway, 300);
        _closeAll();
        _expectSwept(100, 0);
        settlement.sweepUnmatched(gateway);
        assertEq(_credited(gateway), 200, "credited");
        settlement.thaw(gateway);
        vm.warp(_now() + 24 hours);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 188, "paid");
    }

    function test_sweepUnmatched_TakesWhatIsClearedAfterTheEnd() public {
        _issuer(ISSUER_KEY, KEYSET, 1_000);
        _settle(_earningsHead(0, 1, ROOT, 200), _clearing(1_000, 500, gateway, 150));
        vm.prank(OPERATOR);
        registry.retire(gateway);
        vm.warp(START + registry.GRACE_PERIOD());
        _expectSwept(0, 0);
        settlement.sweepUnmatched(gateway);
        _settle(_clearing(1_000, 500, gateway, 260));
        _expectSwept(60, 0);
        settlement.sweepUnmatched(gateway);
        assertEq(_credited(gateway), 200, "what it had earned is still its own");
    }

    function test_sweepUnmatched_TakesWhatACompromisedEnclavesOperatorHasNotDrawn() public {
        _clear(gateway, 1_500);
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        settlement.thaw(gateway);
        vm.warp(START + 24 hours);
        settlement.withdraw(gateway);
        _settle(_earningsHead(0, 2, ROOT, 1_200));
        settlement.thaw(gateway);
        _compromise(0);
        uint64 forfeited = Units.unwrap(settlement.operatorShareOf(gateway)) - 940;
        _expectSwept(300, forfeited);
        settlement.sweepUnmatched(gateway);
        assertEq(settlement.insurance(), 300 + forfeited, "insurance");
        assertEq(settlement.operatorPayoutOf(gateway).thawing, 0, "nothing thaws any more");
        _expectSwept(0, 0);
        settlement.sweepUnmatched(gateway);
    }

    function test_sweepUnmatched_TakesTheOperatorsShareWhenAClosedEnclaveIsFoundCompromised() public {
        _clear(gateway, 1_000);
        _settle(_earningsHead(0, 1, ROOT, 600));
        _closeAll();
        settlement.sweepUnmatched(gateway);
        _compromise(0);
        _expectSwept(0, 564);
        settlement.sweepUnmatched(gateway);
    }
}

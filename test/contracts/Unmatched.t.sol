// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditVault} from "../../contracts/interfaces/ICreditVault.sol";
import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {SignedClearing} from "../../contracts/types/Receipt.sol";
import {EnclaveId, EnclaveRole, Units} from "../../contracts/types/Types.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

/// What was paid in for an enclave and never earned: sponsors first, then the insurance.
contract UnmatchedTest is Stage {
    bytes32 private constant ROOT = keccak256("root");
    EnclaveId private gateway;

    function setUp() public override {
        super.setUp();
        gateway = _gateway(0);
    }

    function _expectSwept(uint64 toSponsors, uint64 toInsurance) private {
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.UnmatchedSwept(gateway, Units.wrap(toSponsors), Units.wrap(toInsurance));
    }

    function _expectNotEnded() private {
        vm.expectRevert(abi.encodeWithSelector(IReceiptSettlement.SettlementEnclaveNotEnded.selector, gateway));
    }

    function test_bookSponsorship_IsTheVaultsAlone() public {
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementNotVault.selector, address(vault), address(this))
        );
        settlement.bookSponsorship(gateway, Units.wrap(1));
    }

    function test_sponsorEnclave_RefusesWhatCannotEarn() public {
        EnclaveId issuer = _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        EnclaveId[3] memory enclaves = [issuer, EnclaveId.wrap(STRANGER), gateway];
        vm.prank(OPERATOR);
        registry.retire(gateway);
        _fund(SPONSOR, 10);
        for (uint256 i = 0; i < 3; i++) {
            vm.expectRevert(
                abi.encodeWithSelector(IReceiptSettlement.SettlementEnclaveCannotEarn.selector, enclaves[i])
            );
            vm.prank(SPONSOR);
            vault.sponsorEnclave(enclaves[i], Units.wrap(10));
        }
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

    function test_sweepUnmatched_GivesSponsorsBackWhatWasNotEarned() public {
        _sponsor(SPONSOR, gateway, 300);
        _sponsor(STRANGER, gateway, 100);
        _settle(_earningsHead(0, 1, ROOT, 200));
        _closeAll();
        _expectSwept(200, 0);
        settlement.sweepUnmatched(gateway);
        vm.prank(SPONSOR);
        vault.reclaim(gateway);
        vm.prank(STRANGER);
        vault.reclaim(gateway);
        assertEq(_one(SPONSOR), 150, "three quarters");
        assertEq(_one(STRANGER), 50, "one quarter");
        vm.expectRevert(ICreditVault.VaultNothingToReclaim.selector);
        vm.prank(SPONSOR);
        vault.reclaim(gateway);
    }

    function test_sweepUnmatched_GivesTheRestToTheInsurance() public {
        _issuer(ISSUER_KEY, KEYSET, 1_000);
        _sponsor(gateway, 100);
        _settle(_earningsHead(0, 1, ROOT, 200), _clearing(1_000, 500, gateway, 500));
        _closeAll();
        _expectSwept(100, 300);
        settlement.sweepUnmatched(gateway);
        assertEq(settlement.insurance(), 300, "insurance");
        _expectSwept(0, 0);
        settlement.sweepUnmatched(gateway);
        assertEq(settlement.insurance(), 300, "once");
    }

    /// Once, so that the shares of those who drew already stay exact.
    function test_sweepUnmatched_SetsAsideForSponsorsOnce() public {
        _issuer(ISSUER_KEY, KEYSET, 1_000);
        _sponsor(gateway, 100);
        SignedClearing memory late = _clearing(1_000, 500, gateway, 60);
        vm.prank(OPERATOR);
        registry.retire(gateway);
        vm.warp(START + registry.GRACE_PERIOD());
        _expectSwept(100, 0);
        settlement.sweepUnmatched(gateway);
        _settle(late);
        _expectSwept(0, 60);
        settlement.sweepUnmatched(gateway);
        vm.prank(SPONSOR);
        vault.reclaim(gateway);
        assertEq(_one(SPONSOR), 100, "what it had paid");
        assertEq(settlement.insurance(), 60, "insurance");
    }

    function test_sweepUnmatched_LeavesTheOperatorWhatWasAgreedButNotCredited() public {
        _settle(_earningsHead(0, 1, ROOT, 200));
        _sponsor(gateway, 300);
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
        _expectSwept(0, 60);
        settlement.sweepUnmatched(gateway);
        assertEq(_credited(gateway), 200, "what it had earned is still its own");
    }

    function test_sweepUnmatched_TakesWhatACompromisedEnclavesOperatorHasNotDrawn() public {
        _sponsor(gateway, 1_500);
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
        assertEq(settlement.insurance(), forfeited, "insurance");
        assertEq(settlement.operatorPayoutOf(gateway).thawing, 0, "nothing thaws any more");
        _expectSwept(0, 0);
        settlement.sweepUnmatched(gateway);
        vm.prank(SPONSOR);
        vault.reclaim(gateway);
        assertEq(_one(SPONSOR), 300, "sponsors get what was not earned");
    }

    function test_sweepUnmatched_TakesTheOperatorsShareWhenAClosedEnclaveIsFoundCompromised() public {
        _sponsor(gateway, 1_000);
        _settle(_earningsHead(0, 1, ROOT, 600));
        _closeAll();
        settlement.sweepUnmatched(gateway);
        _compromise(0);
        _expectSwept(0, 564);
        settlement.sweepUnmatched(gateway);
    }

    /// Sponsors together never draw more than was set aside, and rounding keeps less than a unit of each.
    function testFuzz_reclaim_SharesNeverExceedWhatWasSetAside(uint64[5] memory deposits, uint64 earned) public {
        uint64 total = 0;
        for (uint256 i = 0; i < 5; i++) {
            deposits[i] = uint64(bound(deposits[i], 1, 1_000_000));
            _sponsor(address(uint160(0xF000 + i)), gateway, deposits[i]);
            total += deposits[i];
        }
        earned = uint64(bound(earned, 0, total));
        _settle(_earningsHead(0, 1, ROOT, earned));
        _closeAll();
        settlement.sweepUnmatched(gateway);
        uint256 drawn = 0;
        for (uint256 i = 0; i < 5; i++) {
            address sponsor = address(uint160(0xF000 + i));
            vm.prank(sponsor);
            try vault.reclaim(gateway) {} catch {}
            drawn += _one(sponsor);
        }
        assertLe(drawn, total - earned, "set aside");
        assertLe(total - earned, drawn + 4, "rounding");
    }
}

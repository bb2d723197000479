// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {ICreditVault} from "../../contracts/interfaces/ICreditVault.sol";
import {SignedHead} from "../../contracts/types/Receipt.sol";
import {EnclaveId, EnclaveRole, Units} from "../../contracts/types/Types.sol";
import {DeployedSettlement} from "./utils/Deployed.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

/// Who is paid how much, and when.
contract PayoutsTest is Stage {
    bytes32 private constant ROOT = keccak256("root");
    EnclaveId private gateway;

    function setUp() public override {
        super.setUp();
        gateway = _gateway(0);
    }

    /// The gateway is cleared for and earns `units` in all, settled by SETTLER.
    function _earn(uint64 units) private {
        uint64 more = units - _cleared(gateway);
        if (more != 0) _clear(gateway, more);
        SignedHead memory head = _earningsHead(0, settlement.accountOf(gateway).size + 1, ROOT, units);
        vm.prank(SETTLER);
        _settle(head);
    }

    function _stillThawing(uint256 readyAt) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IReceiptSettlement.SettlementStillThawing.selector, uint40(readyAt));
    }

    // Deployment

    function _deployWith(IEnclaveRegistry registry_, ICreditVault vault_, address protocol, uint16 a, uint16 b) private {
        _deployWith(abi.encode(registry_, vault_, protocol, a, b, THAW_SECONDS));
    }

    function _deployWith(bytes memory arguments) private {
        _create("contracts/ReceiptSettlement.sol/ReceiptSettlement", arguments);
    }

    function test_constructor_RefusesAThawOfMoreThanAMonth() public {
        _deployWith(abi.encode(registry, vault, PROTOCOL, 500, 100, 30 days));
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementThawTooLong.selector, 30 days, 30 days + 1)
        );
        _deployWith(abi.encode(registry, vault, PROTOCOL, 500, 100, 30 days + 1));
    }

    function test_withdraw_WaitsForNothingWhereTheThawIsNone() public {
        _newVault();
        settlement = DeployedSettlement(
            _create(
                "contracts/ReceiptSettlement.sol/ReceiptSettlement",
                abi.encode(registry, vault, PROTOCOL, PROTOCOL_BPS, SETTLER_BPS, 0)
            )
        );
        vault.bindSettlement(settlement);
        _clear(gateway, 1_000);
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        settlement.thaw(gateway);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 940, "at once");
    }

    function test_constructor_RefusesZeroAddresses() public {
        vm.expectRevert(IReceiptSettlement.SettlementZeroAddress.selector);
        _deployWith(IEnclaveRegistry(address(0)), vault, PROTOCOL, 500, 100);
        vm.expectRevert(IReceiptSettlement.SettlementZeroAddress.selector);
        _deployWith(registry, ICreditVault(address(0)), PROTOCOL, 500, 100);
        vm.expectRevert(IReceiptSettlement.SettlementZeroAddress.selector);
        _deployWith(registry, vault, address(0), 500, 100);
    }

    function test_constructor_RefusesSharesAboveATenth() public {
        _deployWith(registry, vault, PROTOCOL, 900, 100);
        vm.expectRevert(abi.encodeWithSelector(IReceiptSettlement.SettlementShareTooLarge.selector, 1_000, 1_001));
        _deployWith(registry, vault, PROTOCOL, 900, 101);
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementShareTooLarge.selector, 1_000, 2 * 65_535)
        );
        _deployWith(registry, vault, PROTOCOL, 65_535, 65_535);
    }

    // Shares

    function test_settle_SplitsWhatIsCreditedExactly() public {
        _earn(10_000);
        assertEq(settlement.protocolEarned(), 500, "protocol");
        assertEq(settlement.settlerEarned(SETTLER), 100, "settler");
        assertEq(settlement.operatorShareOf(gateway), 9_400, "operator");
    }

    function test_settle_GivesTheProtocolTheFirstUnit() public {
        _earn(1);
        assertEq(settlement.protocolEarned(), 1, "protocol");
        assertEq(settlement.operatorShareOf(gateway), 0, "operator");
        vm.expectRevert(IReceiptSettlement.SettlementNothingToThaw.selector);
        settlement.thaw(gateway);
    }

    /// Whoever settles in many small steps gets what one large step gives.
    function testFuzz_settle_SplitsTheSameOnEveryWay(uint256 seed, uint256 protocolBps, uint256 settlerBps) public {
        protocolBps = bound(protocolBps, 0, 1_000);
        settlerBps = bound(settlerBps, 0, 1_000 - protocolBps);
        _deploy(uint16(protocolBps), uint16(settlerBps));
        EnclaveId once = _gateway(0);
        EnclaveId often = _gateway(1);
        _clear(once, 1_000);
        _clear(often, 1_000);
        uint64 fees = 0;
        for (uint64 size = 1; size <= 8; size++) {
            fees += uint64(uint256(keccak256(abi.encode(seed, size))) % 120);
            vm.prank(SETTLER);
            _settle(_earningsHead(1, size, ROOT, fees));
        }
        uint64 protocol = Units.unwrap(settlement.protocolEarned());
        uint64 settler = Units.unwrap(settlement.settlerEarned(SETTLER));
        vm.prank(SETTLER);
        _settle(_earningsHead(0, 8, ROOT, fees));
        assertEq(settlement.protocolEarned(), 2 * protocol, "protocol");
        assertEq(settlement.settlerEarned(SETTLER), 2 * settler, "settler");
        assertEq(
            settlement.operatorShareOf(once), Units.unwrap(settlement.operatorShareOf(often)), "operator"
        );
        assertEq(protocol + settler + Units.unwrap(settlement.operatorShareOf(often)), fees, "exactly");
    }

    /// Of two shares of 3 % rounded apart, both grow at the 34th unit: what the operator drew at 33 would not be covered any more.
    function test_thaw_SurvivesAnyUnitAfterADraw() public {
        _deploy(300, 300);
        gateway = _gateway(0);
        for (uint64 units = 32; units <= 120; units++) {
            _earn(units);
            try settlement.thaw(gateway) {
                vm.warp(_now() + settlement.THAW_SECONDS());
                settlement.withdraw(gateway);
            } catch (bytes memory reason) {
                // The one unit that came may be the others'.
                bytes memory nothing = abi.encodeWithSelector(IReceiptSettlement.SettlementNothingToThaw.selector);
                assertEq(reason, nothing, "the only reason");
            }
            // Days pass: the enclaves attest again.
            _gateway(0);
            _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        }
        _compromise(0);
        settlement.sweepUnmatched(gateway);
        assertEq(_one(OPERATOR), Units.unwrap(settlement.operatorShareOf(gateway)), "paid exactly");
    }

    // The operator

    function test_withdraw_PaysTheOperatorAfterTheThaw() public {
        _earn(10_000);
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.ThawStarted(OPERATOR, gateway, Units.wrap(9_400), uint40(START + 24 hours));
        vm.prank(STRANGER);
        settlement.thaw(gateway);
        vm.warp(START + 24 hours - 1);
        vm.expectRevert(_stillThawing(START + 24 hours));
        settlement.withdraw(gateway);
        vm.warp(START + 24 hours);
        vm.prank(STRANGER);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 9_400, "the operator, whoever calls");
        vm.expectRevert(IReceiptSettlement.SettlementNothingToThaw.selector);
        settlement.withdraw(gateway);
        vm.expectRevert(IReceiptSettlement.SettlementNothingToThaw.selector);
        settlement.thaw(gateway);
    }

    function test_thaw_TakesWhatCameLaterInItsNextRound() public {
        _earn(1_000);
        settlement.thaw(gateway);
        _earn(2_000);
        vm.expectRevert(_stillThawing(START + 24 hours));
        settlement.thaw(gateway);
        vm.warp(START + 24 hours);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 940, "what was thawing");
        settlement.thaw(gateway);
        vm.warp(START + 48 hours);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 1_880, "the rest");
    }

    function test_thaw_CreditsFirst() public {
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        _clear(gateway, 600);
        settlement.thaw(gateway);
        assertEq(_credited(gateway), 600, "credited");
        assertEq(settlement.operatorPayoutOf(gateway).thawing, 564, "thawing");
    }

    function test_thaw_CreditsAClosedEnclaveWhatBothSidesAgreedOn() public {
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        _clear(gateway, 600);
        _closeAll();
        settlement.thaw(gateway);
        vm.warp(_now() + 24 hours);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 564, "an operator who comes late loses nothing");
    }

    function test_compromise_StopsThePayout() public {
        _earn(1_000);
        // It says it earned more than is cleared: with a further clearing that would be credited.
        _settle(_earningsHead(0, 2, ROOT, 1_050));
        settlement.thaw(gateway);
        vm.warp(START + 24 hours);
        _compromise(0);
        bytes memory refusal =
            abi.encodeWithSelector(IReceiptSettlement.SettlementEnclaveCompromised.selector, gateway);
        vm.expectRevert(refusal);
        settlement.withdraw(gateway);
        vm.expectRevert(refusal);
        settlement.thaw(gateway);
        _clear(gateway, 100);
        settlement.credit(gateway);
        assertEq(_credited(gateway), 1_000, "and what is credited");
    }

    // The settler and the protocol

    function test_withdrawSettler_PaysTheCallerAfterTheThaw() public {
        _earn(10_000);
        vm.startPrank(STRANGER);
        vm.expectRevert(IReceiptSettlement.SettlementNothingToThaw.selector);
        settlement.thawSettler();
        vm.expectRevert(IReceiptSettlement.SettlementNothingToThaw.selector);
        settlement.withdrawSettler();
        vm.stopPrank();
        vm.startPrank(SETTLER);
        settlement.thawSettler();
        vm.expectRevert(_stillThawing(START + 24 hours));
        settlement.withdrawSettler();
        vm.warp(START + 24 hours);
        settlement.withdrawSettler();
        vm.stopPrank();
        assertEq(_one(SETTLER), 100, "settler");
        assertEq(settlement.settlerPayoutOf(SETTLER).drawn, 100, "drawn");
    }

    function test_withdrawProtocol_PaysTheProtocolWhoeverCalls() public {
        _earn(10_000);
        vm.startPrank(STRANGER);
        settlement.thawProtocol();
        vm.expectRevert(_stillThawing(START + 24 hours));
        settlement.withdrawProtocol();
        vm.warp(START + 24 hours);
        settlement.withdrawProtocol();
        vm.stopPrank();
        assertEq(_one(PROTOCOL), 500, "protocol");
    }

    // A settler of the operator's choice

    function test_nameSettler_IsTheOperatorsAlone() public {
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementNotOperator.selector, OPERATOR, STRANGER)
        );
        vm.prank(STRANGER);
        settlement.nameSettler(gateway, SETTLER, 60);
    }

    function test_nameSettler_RefusesMoreThanHalfAnHour() public {
        vm.startPrank(OPERATOR);
        settlement.nameSettler(gateway, SETTLER, 1_800);
        vm.expectRevert(
            abi.encodeWithSelector(IReceiptSettlement.SettlementExclusiveTooLong.selector, 1_800, 1_801)
        );
        settlement.nameSettler(gateway, SETTLER, 1_801);
        vm.stopPrank();
    }

    function test_nameSettler_TakesItBackWithTheZeroAddress() public {
        vm.startPrank(OPERATOR);
        settlement.nameSettler(gateway, SETTLER, 600);
        assertTrue(settlement.accountOf(gateway).hasSettlerTerms, "named");
        settlement.nameSettler(gateway, address(0), 0);
        vm.stopPrank();
        assertTrue(!settlement.accountOf(gateway).hasSettlerTerms, "taken back");
        _settle(_earningsHead(0, 1, ROOT, 5));
        assertEq(_earned(gateway), 5, "anyone settles");
    }

    function test_settle_PaysTheNamedSettlerAtAnyTimeAndOthersAfterwards() public {
        _clear(gateway, 10_000);
        vm.prank(OPERATOR);
        settlement.nameSettler(gateway, SETTLER, 600);
        vm.warp(START + 500);
        vm.prank(SETTLER);
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        assertEq(settlement.settlerTermsOf(gateway).lastPaidAt, START + 500, "its time starts anew");
        SignedHead memory next = _earningsHead(0, 2, ROOT, 3_000);
        vm.warp(START + 1_099);
        vm.prank(STRANGER);
        _settle(next);
        assertEq(settlement.settlerEarned(STRANGER), 0, "too early");
        vm.warp(START + 1_100);
        vm.prank(STRANGER);
        _settle(next);
        assertEq(settlement.settlerEarned(STRANGER), 20, "after the exclusive time");
        assertEq(settlement.settlerEarned(SETTLER), 10, "the named settler");
    }

    function test_credit_PaysTheNamedSettlerWithinItsTime() public {
        vm.prank(OPERATOR);
        settlement.nameSettler(gateway, SETTLER, 600);
        vm.prank(SETTLER);
        _settle(_earningsHead(0, 1, ROOT, 10_000));
        _clear(gateway, 5_000);
        vm.prank(STRANGER);
        settlement.credit(gateway);
        assertEq(settlement.settlerEarned(STRANGER), 0, "nobody settles around it");
        assertEq(settlement.settlerEarned(SETTLER), 50, "the named settler");
        _clear(gateway, 5_000);
        vm.warp(START + 600);
        vm.prank(STRANGER);
        settlement.credit(gateway);
        assertEq(settlement.settlerEarned(STRANGER), 50, "after the exclusive time");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {OpgTransfer} from "../../contracts/libraries/OpgTransfer.sol";
import {ICreditKeysets} from "../../contracts/interfaces/ICreditKeysets.sol";
import {ICreditVault} from "../../contracts/interfaces/ICreditVault.sol";
import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {EnclaveId, EnclaveRole, Units} from "../../contracts/types/Types.sol";
import {BlocklistToken, ReentrantToken} from "./support/OddTokens.sol";
import {TestOPG} from "./support/TestOPG.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

contract CreditVaultTest is Stage {
    EnclaveId private constant WRITER = EnclaveId.wrap(address(0x3417E5));
    bytes32 private constant ROOT = keccak256("root");

    /// Everything anew over another token, with one gateway registered.
    function _deployOver(string memory oddToken) private returns (EnclaveId gateway) {
        _deploy(PROTOCOL_BPS, SETTLER_BPS);
        registry = _newRegistry(0, true);
        registry.approveMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        // Its bond is in a token that can be had.
        gateway = _gateway(0);
        token = TestOPG(_create(string.concat("test/contracts/support/OddTokens.sol/", oddToken), ""));
        _newVault();
        _bindSettlement();
        _openKeyset(KEYSET, WRITER);
    }

    function _bindSettlement() private {
        settlement = _newSettlement(PROTOCOL_BPS, SETTLER_BPS);
        _bindAndApprove();
    }

    // Deployment

    function test_constructor_RefusesZeroAddresses() public {
        bytes[3] memory arguments = [
            abi.encode(this, address(0), registry, token),
            abi.encode(this, GUARDIAN, address(0), token),
            abi.encode(this, GUARDIAN, registry, address(0))
        ];
        for (uint256 i = 0; i < 3; i++) {
            vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
            _create("contracts/CreditVault.sol/CreditVault", arguments[i]);
        }
    }

    function test_bindSettlement_BindsOnce() public {
        vm.expectRevert(abi.encodeWithSelector(ICreditVault.VaultAlreadyBound.selector, address(settlement)));
        vault.bindSettlement(settlement);
    }

    function test_bindSettlement_RefusesZeroAddress() public {
        _newVault();
        vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
        vault.bindSettlement(IReceiptSettlement(address(0)));
    }

    function test_bindSettlement_IsTheDeployersAlone() public {
        _newVault();
        vm.expectRevert(abi.encodeWithSelector(ICreditVault.VaultNotDeployer.selector, address(this), STRANGER));
        vm.prank(STRANGER);
        vault.bindSettlement(settlement);
    }

    // Sponsors

    function test_sponsorKeyset_TakesTheDeposit() public {
        _openKeyset(KEYSET, WRITER);
        _fund(SPONSOR, 30);
        vm.expectEmit(address(vault));
        emit ICreditVault.KeysetSponsored(KEYSET, SPONSOR, Units.wrap(30));
        vm.prank(SPONSOR);
        vault.sponsorKeyset(KEYSET, Units.wrap(30));
        assertEq(vault.keysetOf(KEYSET).deposited, 30, "deposited");
        assertEq(_one(address(vault)), 30, "held");
    }

    function test_sponsorKeyset_RefusesAnUnknownKeyset() public {
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetUnknown.selector, KEYSET));
        vault.sponsorKeyset(KEYSET, Units.wrap(1));
    }

    function test_sponsorEnclave_TakesTheDeposit() public {
        EnclaveId gateway = _gateway(0);
        _sponsor(SPONSOR, gateway, 30);
        _sponsor(STRANGER, gateway, 12);
        assertEq(vault.sponsoredFor(gateway), 42, "in all");
        assertEq(vault.sponsoredBy(gateway, SPONSOR), 30, "by one");
        assertEq(_cleared(gateway), 42, "cleared");
        assertEq(_one(address(vault)), 42, "held");
    }

    function test_deposits_RefuseNothing() public {
        EnclaveId gateway = _gateway(0);
        _openKeyset(KEYSET, WRITER);
        vm.expectRevert(OpgTransfer.OpgZeroAmount.selector);
        vault.sponsorEnclave(gateway, Units.wrap(0));
        vm.expectRevert(OpgTransfer.OpgZeroAmount.selector);
        vault.sponsorKeyset(KEYSET, Units.wrap(0));
    }

    function test_deposits_NeverOverflow() public {
        EnclaveId gateway = _gateway(0);
        _sponsor(gateway, type(uint64).max);
        _fund(SPONSOR, 1);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        vm.prank(SPONSOR);
        vault.sponsorEnclave(gateway, Units.wrap(1));
    }

    // Payments

    function test_payments_AreTheSettlementContractsAlone() public {
        bytes memory refusal = abi.encodeWithSelector(
            ICreditVault.VaultNotSettlement.selector, address(settlement), address(this)
        );
        vm.expectRevert(refusal);
        vault.pay(STRANGER, Units.wrap(1));
        vm.expectRevert(refusal);
        vault.openReclaim(EnclaveId.wrap(STRANGER), Units.wrap(1));
    }

    function test_reclaim_RefusesWhereNothingWasSetAside() public {
        EnclaveId gateway = _gateway(0);
        vm.expectRevert(ICreditVault.VaultNothingToReclaim.selector);
        vault.reclaim(gateway);
        _sponsor(gateway, 10);
        vm.expectRevert(ICreditVault.VaultNothingToReclaim.selector);
        vm.prank(SPONSOR);
        vault.reclaim(gateway);
        assertEq(vault.sponsoredBy(gateway, SPONSOR), 10, "the claim is kept");
    }

    // Odd tokens

    function _assertNothingBooked(EnclaveId gateway) private view {
        assertEq(vault.sponsoredFor(gateway), 0, "sponsored");
        assertEq(_cleared(gateway), 0, "cleared");
        assertEq(vault.keysetOf(KEYSET).deposited, 0, "deposited");
        assertEq(token.balanceOf(address(vault)), 0, "held");
    }

    function _assertDepositsRefused(EnclaveId gateway, bytes memory refusal) private {
        _fund(SPONSOR, 200);
        vm.startPrank(SPONSOR);
        vm.expectRevert(refusal);
        vault.sponsorEnclave(gateway, Units.wrap(100));
        vm.expectRevert(refusal);
        vault.sponsorKeyset(KEYSET, Units.wrap(100));
        vm.stopPrank();
        _assertNothingBooked(gateway);
    }

    function test_deposits_RefuseATokenThatKeepsAFee() public {
        EnclaveId gateway = _deployOver("FeeOnTransferToken");
        bytes memory refusal = abi.encodeWithSelector(
            OpgTransfer.OpgMovedOtherAmount.selector, 100 * UNIT, 99 * UNIT
        );
        _assertDepositsRefused(gateway, refusal);
    }

    function test_deposits_RefuseATokenThatGivesTooMuch() public {
        EnclaveId gateway = _deployOver("GenerousToken");
        bytes memory refusal = abi.encodeWithSelector(
            OpgTransfer.OpgMovedOtherAmount.selector, 100 * UNIT, 100 * UNIT + 1
        );
        _assertDepositsRefused(gateway, refusal);
    }

    function test_deposits_RefuseATokenThatAnswersFalse() public {
        EnclaveId gateway = _deployOver("FalseReturnToken");
        _assertDepositsRefused(
            gateway, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token))
        );
    }

    function test_vault_WorksWithATokenThatAnswersNothing() public {
        EnclaveId gateway = _deployOver("NoReturnToken");
        token.mint(SPONSOR, 1_000 * UNIT);
        vm.startPrank(SPONSOR);
        // The test token's `approve` answers; this one's does not.
        (bool ok,) = address(token).call(abi.encodeCall(token.approve, (address(vault), 1_000 * UNIT)));
        assertTrue(ok, "approved");
        vault.sponsorEnclave(gateway, Units.wrap(1_000));
        vm.stopPrank();
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        settlement.thaw(gateway);
        vm.warp(_now() + 24 hours);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 940, "paid");
    }

    function test_withdraw_LosesNothingWhile_TheTokenRefusesTheOperator() public {
        EnclaveId gateway = _deployOver("BlocklistToken");
        _sponsor(gateway, 1_000);
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        settlement.thaw(gateway);
        settlement.thawProtocol();
        vm.warp(_now() + 24 hours);
        BlocklistToken(address(token)).setBlocked(OPERATOR, true);
        vm.expectRevert(abi.encodeWithSelector(BlocklistToken.BlocklistTokenBlocked.selector, OPERATOR));
        settlement.withdraw(gateway);
        settlement.withdrawProtocol();
        assertEq(_one(PROTOCOL), 50, "others are paid");
        BlocklistToken(address(token)).setBlocked(OPERATOR, false);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 940, "and it is, later");
    }

    function test_deposits_CannotBeReentered() public {
        EnclaveId gateway = _deployOver("ReentrantToken");
        ReentrantToken odd = ReentrantToken(address(token));
        bytes[3] memory attacks = [
            abi.encodeCall(vault.sponsorEnclave, (gateway, Units.wrap(1))),
            abi.encodeCall(vault.sponsorKeyset, (KEYSET, Units.wrap(1))),
            abi.encodeCall(vault.reclaim, (gateway))
        ];
        for (uint256 i = 0; i < 3; i++) {
            _fund(SPONSOR, 10);
            odd.arm(address(vault), attacks[i]);
            vm.prank(SPONSOR);
            vault.sponsorEnclave(gateway, Units.wrap(10));
            assertEq(odd.calls(), i + 1, "attacked");
            assertEq(
                odd.lastRevert(),
                abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
                "refused"
            );
        }
        assertEq(_cleared(gateway), 30, "what was paid");
        assertEq(_one(address(vault)), 30, "is held");
    }

    function test_withdraw_CannotBeReentered() public {
        EnclaveId gateway = _deployOver("ReentrantToken");
        ReentrantToken odd = ReentrantToken(address(token));
        _sponsor(gateway, 1_000);
        _settle(_earningsHead(0, 1, ROOT, 500));
        settlement.thaw(gateway);
        vm.warp(_now() + 24 hours);
        odd.arm(address(settlement), abi.encodeCall(settlement.withdraw, (gateway)));
        settlement.withdraw(gateway);
        assertEq(odd.calls(), 1, "attacked");
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "refused"
        );
        assertEq(_one(OPERATOR), 470, "once");
        _assertVaultIsLockedDuringWithdrawal(gateway, odd);
        // `thaw` moves no token: it may run in there and finds nothing left.
        _settle(_earningsHead(0, 3, ROOT, 1_000));
        settlement.thaw(gateway);
        vm.warp(_now() + 24 hours);
        odd.arm(address(settlement), abi.encodeCall(settlement.thaw, (gateway)));
        settlement.withdraw(gateway);
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(IReceiptSettlement.SettlementNothingToThaw.selector),
            "nothing left"
        );
        assertEq(_one(OPERATOR), 940, "paid exactly");
    }

    function _assertVaultIsLockedDuringWithdrawal(EnclaveId gateway, ReentrantToken odd) private {
        _settle(_earningsHead(0, 2, ROOT, 700));
        settlement.thaw(gateway);
        vm.warp(_now() + 24 hours);
        odd.arm(address(vault), abi.encodeCall(vault.reclaim, (gateway)));
        settlement.withdraw(gateway);
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "the vault is locked too"
        );
    }
}

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
    bytes32 private constant ROOT = keccak256("root");

    /// Everything anew over another token, with one gateway and one issuer registered.
    function _deployOver(string memory oddToken) private returns (EnclaveId gateway) {
        _deploy(PROTOCOL_BPS, SETTLER_BPS);
        registry = _newRegistry(0, true);
        registry.approveMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        registry.approveMeasurement(EnclaveRole.Issuer, MEASUREMENT);
        // Their bonds are in a token that can be had.
        gateway = _gateway(0);
        EnclaveId issuer = _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        token = TestOPG(_create(string.concat("test/contracts/support/OddTokens.sol/", oddToken), ""));
        _newVault();
        _bindSettlement();
        _openKeyset(KEYSET, issuer);
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

    // Payments

    function test_pay_IsTheSettlementContractsAlone() public {
        vm.expectRevert(
            abi.encodeWithSelector(ICreditVault.VaultNotSettlement.selector, address(settlement), address(this))
        );
        vault.pay(STRANGER, Units.wrap(1));
    }

    // The insurance

    function test_insure_RefusesNothing() public {
        vm.expectRevert(OpgTransfer.OpgZeroAmount.selector);
        vault.insure(Units.wrap(0));
    }

    function test_insure_NeverOverflows() public {
        _fund(PAYER, type(uint64).max);
        vm.prank(PAYER);
        vault.insure(Units.wrap(type(uint64).max));
        _fund(PAYER, 1);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        vm.prank(PAYER);
        vault.insure(Units.wrap(1));
    }

    // Odd tokens

    function _assertInsuranceRefused(bytes memory refusal) private {
        _fund(PAYER, 100);
        vm.expectRevert(refusal);
        vm.prank(PAYER);
        vault.insure(Units.wrap(100));
        assertEq(settlement.insurance(), 0, "booked");
        assertEq(token.balanceOf(address(vault)), 0, "held");
    }

    function test_insure_RefusesATokenThatKeepsAFee() public {
        _deployOver("FeeOnTransferToken");
        bytes memory refusal = abi.encodeWithSelector(
            OpgTransfer.OpgMovedOtherAmount.selector, 100 * UNIT, 99 * UNIT
        );
        _assertInsuranceRefused(refusal);
    }

    function test_insure_RefusesATokenThatGivesTooMuch() public {
        _deployOver("GenerousToken");
        bytes memory refusal = abi.encodeWithSelector(
            OpgTransfer.OpgMovedOtherAmount.selector, 100 * UNIT, 100 * UNIT + 1
        );
        _assertInsuranceRefused(refusal);
    }

    function test_insure_RefusesATokenThatAnswersFalse() public {
        _deployOver("FalseReturnToken");
        _assertInsuranceRefused(
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token))
        );
    }

    function test_vault_WorksWithATokenThatAnswersNothing() public {
        EnclaveId gateway = _deployOver("NoReturnToken");
        _clear(gateway, 1_000);
        _settle(_earningsHead(0, 1, ROOT, 1_000));
        settlement.thaw(gateway);
        vm.warp(_now() + 24 hours);
        settlement.withdraw(gateway);
        assertEq(_one(OPERATOR), 940, "paid");
    }

    function test_withdraw_LosesNothingWhile_TheTokenRefusesTheOperator() public {
        EnclaveId gateway = _deployOver("BlocklistToken");
        _clear(gateway, 1_000);
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

    function test_insure_CannotBeReentered() public {
        _deployOver("ReentrantToken");
        ReentrantToken odd = ReentrantToken(address(token));
        _fund(PAYER, 10);
        odd.arm(address(vault), abi.encodeCall(vault.insure, (Units.wrap(1))));
        vm.prank(PAYER);
        vault.insure(Units.wrap(10));
        assertEq(odd.calls(), 1, "attacked");
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "refused"
        );
        assertEq(settlement.insurance(), 10, "what was paid");
        assertEq(_one(address(vault)), 10, "is held");
    }

    function test_withdraw_CannotBeReentered() public {
        EnclaveId gateway = _deployOver("ReentrantToken");
        ReentrantToken odd = ReentrantToken(address(token));
        _clear(gateway, 1_000);
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
        odd.arm(address(vault), abi.encodeCall(vault.insure, (Units.wrap(1))));
        settlement.withdraw(gateway);
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "the vault is locked too"
        );
    }
}

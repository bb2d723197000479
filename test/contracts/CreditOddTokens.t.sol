// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ICreditDeposits} from "../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditExits} from "../../contracts/interfaces/ICreditExits.sol";
import {OpgTransfer} from "../../contracts/libraries/OpgTransfer.sol";
import {EnclaveRole} from "../../contracts/types/Types.sol";
import {BlocklistToken, ReentrantToken} from "./support/OddTokens.sol";
import {TestOPG} from "./support/TestOPG.sol";
import {CreditStage} from "./utils/CreditStage.sol";
import {vm} from "./utils/Vm.sol";

/// Deposits, refunds and exits over the shelf of odd tokens.
contract CreditOddTokensTest is CreditStage {
    ICreditDeposits.DepositSize private constant ONE = ICreditDeposits.DepositSize.One;
    address private constant CLAIM = address(0xC1A11);

    /// A vault over another token, with KEYSET open. Bonds stay in a token that can be had.
    function _deployOver(string memory oddToken) private {
        _deploy(PROTOCOL_BPS, SETTLER_BPS);
        registry = _newRegistry(0, true);
        registry.approveMeasurement(EnclaveRole.Issuer, MEASUREMENT);
        issuer = _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        token = TestOPG(_create(string.concat("test/contracts/support/OddTokens.sol/", oddToken), ""));
        _newVault();
        settlement = _newSettlement(PROTOCOL_BPS, SETTLER_BPS);
        _bindAndApprove();
        _openKeyset(KEYSET, issuer);
    }

    /// By approval and from a box.
    function _assertDepositsRefused(bytes memory refusal) private {
        _fund(PAYER, 10 * OPG);
        token.mint(vault.boxOf(KEYSET, CLAIM, PAYER), 10 * OPG * UNIT);
        vm.expectRevert(refusal);
        vm.prank(PAYER);
        vault.deposit(KEYSET, ONE, CLAIM);
        vm.expectRevert(refusal);
        vault.depositFromBox(KEYSET, ONE, CLAIM, PAYER);
        assertEq(vault.depositOf(KEYSET, CLAIM).state, ICreditDeposits.DepositState.None, "no deposit");
        assertEq(_deposited(KEYSET), 0, "nothing behind the keyset");
        assertEq(token.balanceOf(address(vault)), 0, "nothing held");
    }

    function test_deposits_RefuseATokenThatKeepsAFee() public {
        _deployOver("FeeOnTransferToken");
        uint256 size = OPG * UNIT;
        _assertDepositsRefused(
            abi.encodeWithSelector(OpgTransfer.OpgMovedOtherAmount.selector, size, size - size / 100)
        );
    }

    function test_deposits_RefuseATokenThatGivesTooMuch() public {
        _deployOver("GenerousToken");
        uint256 size = OPG * UNIT;
        _assertDepositsRefused(abi.encodeWithSelector(OpgTransfer.OpgMovedOtherAmount.selector, size, size + 1));
    }

    function test_deposits_RefuseATokenThatAnswersFalse() public {
        _deployOver("FalseReturnToken");
        _assertDepositsRefused(
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token))
        );
    }

    /// A token whose fallback takes any call for `receiveWithAuthorization` and moves nothing.
    function test_depositWithAuthorization_RefusesATokenThatOnlySaysYes() public {
        _deployOver("SayYesToken");
        vm.expectRevert(abi.encodeWithSelector(OpgTransfer.OpgMovedOtherAmount.selector, OPG * UNIT, 0));
        vault.depositWithAuthorization(KEYSET, ONE, CLAIM, PAYER, 0, 1, 27, 0, 0);
        _fund(PAYER, OPG);
        // Its permit says yes too; the allowance decides.
        vm.prank(PAYER);
        vault.depositWithPermit(KEYSET, ONE, CLAIM, 0, 27, 0, 0);
        assertEq(_one(address(vault)), OPG, "held");
    }

    function test_vault_WorksWithATokenThatAnswersNothing() public {
        _deployOver("NoReturnToken");
        token.mint(PAYER, 3 * OPG * UNIT);
        vm.prank(PAYER);
        // The test token's `approve` answers; this one's does not.
        (bool ok,) = address(token).call(abi.encodeCall(token.approve, (address(vault), type(uint256).max)));
        assertTrue(ok, "approved");
        for (uint256 i = 0; i < 2; i++) {
            vm.prank(PAYER);
            vault.deposit(KEYSET, ONE, vm.addr(CLAIM_KEY + i));
        }
        token.mint(vault.boxOf(KEYSET, CLAIM, PAYER), 2 * OPG * UNIT);
        vault.depositFromBox(KEYSET, ONE, CLAIM, PAYER);
        vm.startPrank(PAYER);
        vault.emptyBox(KEYSET, CLAIM, token);
        vm.warp(START + 1 hours);
        vault.requestRefund(KEYSET, vm.addr(CLAIM_KEY));
        vm.stopPrank();
        Exits memory exits = _exits(0, hex"10");
        _open(exits);
        vm.warp(START + 25 hours);
        vault.finishRefund(KEYSET, vm.addr(CLAIM_KEY));
        vault.finishExits(exits.ids);
        assertEq(_one(PAYER), 3 * OPG, "refunded, and the rest of the box");
        assertEq(_one(RECIPIENT), 1 << 16, "exited");
        assertEq(_one(address(vault)), 2 * OPG - (1 << 16), "held");
    }

    function test_blocklist_StopsOnlyWhoIsOnIt() public {
        _deployOver("BlocklistToken");
        address first = _deposit(ONE, 0);
        _fund(STRANGER, OPG);
        vm.prank(STRANGER);
        vault.deposit(KEYSET, ONE, CLAIM);
        _deposit(ONE, 1);
        Exits memory exits = _exits(0, hex"10");
        Exits memory others = _exits(KEYSET, 1, hex"10", STRANGER);
        _open(exits);
        _open(others);
        vm.warp(START + 1 hours);
        vm.prank(PAYER);
        vault.requestRefund(KEYSET, first);
        vm.prank(STRANGER);
        vault.requestRefund(KEYSET, CLAIM);
        vm.warp(START + 25 hours);
        BlocklistToken odd = BlocklistToken(address(token));
        odd.setBlocked(PAYER, true);
        odd.setBlocked(RECIPIENT, true);
        vm.expectRevert(abi.encodeWithSelector(BlocklistToken.BlocklistTokenBlocked.selector, PAYER));
        vault.finishRefund(KEYSET, first);
        vm.expectRevert(abi.encodeWithSelector(BlocklistToken.BlocklistTokenBlocked.selector, RECIPIENT));
        vault.finishExits(exits.ids);
        vault.finishRefund(KEYSET, CLAIM);
        vault.finishExits(others.ids);
        assertEq(_one(STRANGER), OPG + (1 << 16), "others are paid");
        odd.setBlocked(PAYER, false);
        odd.setBlocked(RECIPIENT, false);
        vault.finishRefund(KEYSET, first);
        vault.finishExits(exits.ids);
        assertEq(_one(PAYER), OPG, "and they are, later");
        assertEq(_one(RECIPIENT), 1 << 16, "likewise");
    }

    function test_payments_CannotBeReentered() public {
        _deployOver("ReentrantToken");
        ReentrantToken odd = ReentrantToken(address(token));
        address claimKey = _deposit(ONE, 0);
        _deposit(ONE, 1);
        Exits memory exits = _exits(0, hex"1010");
        _open(exits);
        vm.warp(START + 1 hours);
        vm.prank(PAYER);
        vault.requestRefund(KEYSET, claimKey);
        vm.warp(START + 25 hours);
        bytes[4] memory attacks = [
            abi.encodeCall(vault.finishRefund, (KEYSET, claimKey)),
            abi.encodeCall(vault.finishExits, (exits.ids)),
            abi.encodeCall(vault.deposit, (KEYSET, ONE, CLAIM)),
            abi.encodeCall(vault.emptyBox, (KEYSET, CLAIM, token))
        ];
        for (uint256 i = 0; i < 4; i++) {
            odd.arm(address(vault), attacks[i]);
            // Each of the calls that move tokens is attacked in turn.
            if (i == 0) vault.finishRefund(KEYSET, claimKey);
            if (i == 1) vault.finishExits(exits.ids);
            if (i > 1) _deposit(ONE, i);
            assertEq(odd.calls(), i + 1, "attacked");
            assertEq(
                odd.lastRevert(),
                abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
                "refused"
            );
        }
        assertEq(_one(PAYER), OPG, "refunded once");
        assertEq(_one(RECIPIENT), 1 << 17, "exited once");
        assertEq(_one(address(vault)), 3 * OPG - (1 << 17), "held");
        assertEq(_exitState(exits.ids[0]), ICreditExits.ExitState.Paid, "paid");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BlindSignatures} from "../../contracts/credits/BlindSignatures.sol";
import {Bls12381} from "../../contracts/credits/Bls12381.sol";
import {ICreditDeposits} from "../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditKeysets} from "../../contracts/interfaces/ICreditKeysets.sol";
import {Units} from "../../contracts/types/Types.sol";
import {CreditStage} from "./utils/CreditStage.sol";
import {PlainBls} from "./utils/PlainBls.sol";
import {TestKeyset} from "./utils/TestKeyset.sol";
import {vm} from "./utils/Vm.sol";

/// Refunds of deposits that nobody answered, and answers.
contract CreditRefundsTest is CreditStage {
    ICreditDeposits.DepositSize private constant ONE = ICreditDeposits.DepositSize.One;
    ICreditDeposits.DepositSize private constant TEN = ICreditDeposits.DepositSize.Ten;

    address private claimKey;
    bytes private wholeOne;

    function setUp() public override {
        super.setUp();
        claimKey = _deposit(ONE, 0);
        wholeOne = _exponentsOf(OPG);
    }

    function _request() private {
        vm.prank(PAYER);
        vault.requestRefund(KEYSET, claimKey);
    }

    function _requestInTime() private {
        vm.warp(START + 1 hours);
        _request();
    }

    function _refuse(Answer memory answer, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vault.answerDeposit{gas: 30_000_000}(
            KEYSET,
            claimKey,
            answer.keys,
            answer.exponents,
            answer.blinded,
            answer.signatures,
            answer.r,
            answer.vs
        );
    }

    function _isNow(ICreditDeposits.DepositState state) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ICreditDeposits.VaultDepositIs.selector, state);
    }

    // Asking back

    function test_requestRefund_WaitsForAnHour() public {
        vm.warp(START + 1 hours - 1);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultTooEarly.selector, START + 1 hours));
        _request();
        vm.warp(START + 1 hours);
        vm.expectEmit(address(vault));
        emit ICreditDeposits.RefundRequested(KEYSET, claimKey, uint40(START + 25 hours));
        _request();
        assertEq(_depositState(claimKey), ICreditDeposits.DepositState.RefundRequested, "state");
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.RefundRequested));
        _request();
    }

    function test_requestRefund_IsThePayersAlone() public {
        vm.warp(START + 1 hours);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultNotPayer.selector, PAYER, claimKey));
        vm.prank(claimKey);
        vault.requestRefund(KEYSET, claimKey);
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.None));
        vm.prank(PAYER);
        vault.requestRefund(KEYSET, PAYER);
    }

    // Paying back

    function test_finishRefund_PaysAfterTheWindow() public {
        _requestInTime();
        vm.warp(START + 25 hours - 1);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultTooEarly.selector, START + 25 hours));
        vault.finishRefund(KEYSET, claimKey);
        vm.warp(START + 25 hours);
        vm.expectEmit(address(vault));
        emit ICreditDeposits.Refunded(KEYSET, claimKey, PAYER, Units.wrap(OPG));
        vm.prank(STRANGER);
        vault.finishRefund(KEYSET, claimKey);
        assertEq(_one(PAYER), OPG, "paid back");
        assertEq(_deposited(KEYSET), 0, "nothing behind the keyset");
        assertEq(_depositState(claimKey), ICreditDeposits.DepositState.Refunded, "state");
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.Refunded));
        vault.finishRefund(KEYSET, claimKey);
        // The claim key is used up, and the answer is too late.
        _fund(PAYER, OPG);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultDepositExists.selector, KEYSET, claimKey));
        vm.prank(PAYER);
        vault.deposit(KEYSET, ONE, claimKey);
        _refuse(_answer(0, wholeOne), _isNow(ICreditDeposits.DepositState.Refunded));
    }

    function test_finishRefund_RefusesWhatWasNotAskedBack() public {
        vm.warp(START + 30 days);
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.Open));
        vault.finishRefund(KEYSET, claimKey);
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.None));
        vault.finishRefund(KEYSET, PAYER);
    }

    /// A stolen issuer key that claims everything takes the keyset's own money, and no other's.
    function test_finishRefund_NeverPaysWhatClearingsClaim() public {
        _deposit(ONE, 1);
        _settle(_clearing(2 * OPG, OPG + 1, _gateway(0), 1));
        _requestInTime();
        vm.warp(START + 25 hours);
        vm.expectRevert(
            abi.encodeWithSelector(ICreditKeysets.VaultKeysetDrained.selector, OPG - 1, OPG)
        );
        vault.finishRefund(KEYSET, claimKey);
    }

    function test_refunds_WorkWhilePausedAndAfterThePhase() public {
        vm.prank(GUARDIAN);
        vault.pause();
        vm.warp(EXIT_UNTIL);
        _request();
        vm.warp(_now() + 24 hours);
        vault.finishRefund(KEYSET, claimKey);
        assertEq(_one(PAYER), OPG, "paid back");
    }

    // Answers

    function test_answerDeposit_EndsTheRefund() public {
        _requestInTime();
        Answer memory answer = _answer(0, wholeOne);
        vm.warp(START + 25 hours - 1);
        vm.expectEmit(address(vault));
        emit ICreditDeposits.DepositAnswered(KEYSET, claimKey, answer.exponents, answer.signatures);
        vm.prank(STRANGER);
        _post(answer, claimKey);
        assertEq(_depositState(claimKey), ICreditDeposits.DepositState.Answered, "state");
        assertEq(_deposited(KEYSET), OPG, "stays behind the keyset");
        vm.warp(START + 25 hours);
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.Answered));
        vault.finishRefund(KEYSET, claimKey);
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.Answered));
        _request();
        _refuse(answer, _isNow(ICreditDeposits.DepositState.Answered));
    }

    function test_answerDeposit_ComesBeforeAnybodyAsks() public {
        _post(_answer(0, wholeOne), claimKey);
        assertEq(_depositState(claimKey), ICreditDeposits.DepositState.Answered, "state");
        vm.warp(START + 1 hours);
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.Answered));
        _request();
    }

    function test_answerDeposit_ComesTooLateAfterTheWindow() public {
        _requestInTime();
        vm.warp(START + 25 hours);
        Answer memory answer = _answer(0, wholeOne);
        _refuse(answer, abi.encodeWithSelector(ICreditDeposits.VaultTooLate.selector, START + 25 hours));
        vault.finishRefund(KEYSET, claimKey);
    }

    function test_answerDeposit_RefusesADepositThatIsNone() public {
        Answer memory answer = _answer(7, wholeOne);
        vm.expectRevert(_isNow(ICreditDeposits.DepositState.None));
        _post(answer, vm.addr(CLAIM_KEY + 7));
    }

    function test_answerDeposit_TakesSixtyFourOutputsWorthTheSize() public {
        address rich = _deposit(TEN, 3);
        bytes memory exponents = _split(_exponentsOf(10 * OPG), 64);
        assertEq(exponents.length, 64, "outputs");
        _post(_answer(3, exponents), rich);
        assertEq(_depositState(rich), ICreditDeposits.DepositState.Answered, "state");
    }

    function test_answerDeposit_RefusesSixtyFiveOutputs() public {
        address rich = _deposit(TEN, 3);
        Answer memory answer = _answer(3, _split(_exponentsOf(10 * OPG), 65));
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultTooMany.selector, 64, 65));
        _post(answer, rich);
    }

    /// Splits the largest in two until there are `count`; ascending.
    function _split(bytes memory exponents, uint256 count) private pure returns (bytes memory) {
        while (exponents.length < count) {
            uint256 last = exponents.length - 1;
            uint8 half = uint8(exponents[last]) - 1;
            exponents[last] = bytes1(half);
            exponents = bytes.concat(exponents, bytes1(half));
            // Sort it in: only the two halves may be out of place.
            for (uint256 round = 0; round < 2; round++) {
                for (uint256 i = exponents.length - 1; i > 0; i--) {
                    if (exponents[i] < exponents[i - 1]) {
                        (exponents[i], exponents[i - 1]) = (exponents[i - 1], exponents[i]);
                    }
                }
            }
        }
        return exponents;
    }

    function test_answerDeposit_RefusesAnotherWorth() public {
        Answer memory answer = _answer(0, _exponentsOf(OPG - 1));
        bytes4 selector = ICreditDeposits.VaultOutputsWorth.selector;
        _refuse(answer, abi.encodeWithSelector(selector, OPG, OPG - 1));
        answer = _answer(0, _exponentsOf(OPG + 1));
        _refuse(answer, abi.encodeWithSelector(selector, OPG, OPG + 1));
        answer = _answer(0, "");
        _refuse(answer, abi.encodeWithSelector(selector, OPG, 0));
    }

    function test_answerDeposit_RefusesWhatTheClaimKeyDidNotSign() public {
        bytes4 selector = ICreditDeposits.VaultIssueNotSigned.selector;
        Answer memory answer = _answer(0, wholeOne);
        _signAnswer(answer, CLAIM_KEY + 1, KEYSET);
        _refuse(answer, abi.encodeWithSelector(selector, claimKey, _signerOfOther(answer)));
        // Other points, other denominations, another keyset.
        for (uint256 i = 0; i < 3; i++) {
            answer = _answer(0, wholeOne);
            if (i == 0) answer.blinded[127] ^= 0x01;
            if (i == 1) answer.exponents[0] = 0x00;
            if (i == 2) _signAnswer(answer, CLAIM_KEY, OTHER_KEYSET);
            vm.expectPartialRevert(selector);
            _post(answer, claimKey);
        }
        answer = _answer(0, wholeOne);
        (answer.r, answer.vs) = (0, 0);
        _refuse(answer, abi.encodeWithSelector(selector, claimKey, address(0)));
    }

    /// Whom the signature names when it is read as one for `claimKey`.
    function _signerOfOther(Answer memory answer) private view returns (address) {
        bytes32 typeHash = keccak256("IssueRequest(bytes32 keyset,address claimKey,bytes32 outputsHash)");
        bytes32 outputsHash = keccak256(bytes.concat(answer.exponents, answer.blinded));
        bytes32 digest = _vaultDigest(keccak256(abi.encode(typeHash, KEYSET, claimKey, outputsHash)));
        uint8 v = uint8(uint256(answer.vs) >> 255) + 27;
        return ecrecover(digest, v, answer.r, answer.vs & bytes32(uint256(type(int256).max)));
    }

    function test_answerDeposit_RefusesWrongSignatures() public {
        // One wrong among right ones; all of another keyset.
        Answer memory answer = _answer(0, wholeOne);
        bytes memory other = TestKeyset.signPoint(0, 6, PlainBls.G1);
        for (uint256 i = 0; i < 128; i++) {
            answer.signatures[i] = other[i];
        }
        _refuse(answer, abi.encodeWithSelector(BlindSignatures.BlindSignaturesWrong.selector));
        answer = _answer(0, wholeOne);
        for (uint256 i = 0; i < 128; i++) {
            (answer.signatures[i], answer.signatures[128 + i]) = (answer.signatures[128 + i], answer.signatures[i]);
        }
        _refuse(answer, abi.encodeWithSelector(BlindSignatures.BlindSignaturesWrong.selector));
        answer = _answer(0, wholeOne);
        answer.signatures[0] = 0x01;
        _refuse(answer, abi.encodeWithSelector(Bls12381.Bls12381Refused.selector, 0x0c));
    }

    function test_answerDeposit_RefusesOtherLengths() public {
        bytes4 selector = ICreditKeysets.VaultBytesLength.selector;
        uint256 length = wholeOne.length * 128;
        Answer memory answer = _answer(0, wholeOne);
        answer.signatures = bytes.concat(answer.signatures, hex"00");
        _refuse(answer, abi.encodeWithSelector(selector, length, length + 1));
        answer = _answer(0, wholeOne);
        answer.blinded = bytes.concat(answer.blinded, hex"00");
        _signAnswer(answer, CLAIM_KEY, KEYSET);
        _refuse(answer, abi.encodeWithSelector(selector, length, length + 1));
    }
}

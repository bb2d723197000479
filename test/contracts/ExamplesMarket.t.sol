// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {AnswerMarket} from "../../contracts/examples/AnswerMarket.sol";
import {EnclaveVotes, Vote} from "../../contracts/examples/EnclaveVotes.sol";
import {SeededRequest} from "../../contracts/examples/SeededRequest.sol";
import {InferenceProofs} from "../../contracts/libraries/InferenceProofs.sol";
import {SettledProof} from "../../contracts/types/Receipt.sol";
import {EnclaveId, EnclaveRole, MeasurementId} from "../../contracts/types/Types.sol";
import {BlocklistToken, ReentrantToken} from "./support/OddTokens.sol";
import {TestOPG} from "./support/TestOPG.sol";
import {ProofStage} from "./utils/ProofStage.sol";
import {vm} from "./utils/Vm.sol";

contract ExamplesMarketTest is ProofStage {
    address private constant ALICE = address(0xA11CE);
    address private constant BOB = address(0xB0B);
    address private constant CAROL = address(0xCA401);
    address private constant OTHER_OPERATOR = address(0x0909B);
    uint64 private constant OPENED_AT = 1_000_000;
    uint64 private constant CLOSE = OPENED_AT + 10;
    uint64 private constant SEED_BLOCK = CLOSE + 2;
    uint64 private constant DEADLINE = OPENED_AT + 1_000;
    AnswerMarket private market;
    TestOPG private stakes;

    /// Four gateways: 0 and 1 of one operator, 2 and 3 of another.
    function setUp() public override {
        super.setUp();
        vm.roll(OPENED_AT);
        for (uint256 i = 0; i < 4; i++) {
            _register(GATEWAY_KEY + i, EnclaveRole.Gateway, i < 2 ? OPERATOR : OTHER_OPERATOR);
        }
        _deployOver(token);
    }

    function _deployOver(TestOPG token_) private {
        stakes = token_;
        market = AnswerMarket(
            _create("contracts/examples/AnswerMarket.sol/AnswerMarket", abi.encode(settlement, registry, token_))
        );
    }

    function _deployOverOdd(string memory oddToken) private {
        _deployOver(TestOPG(_create(string.concat("test/contracts/support/OddTokens.sol/", oddToken), "")));
    }

    /// Two of three, of two operators.
    function _terms() private pure returns (AnswerMarket.Terms memory terms) {
        terms.quorum = EnclaveVotes.Quorum({enclaves: 3, equal: 2, operators: 2});
        terms.measurements = new MeasurementId[](1);
        terms.measurements[0] = MEASUREMENT;
        terms.closeBlock = CLOSE;
        terms.deadlineBlock = DEADLINE;
    }

    function _open() private returns (uint256) {
        return market.open(_terms(), '{"messages":[],"temperature":0,"seed":', "}");
    }

    function _stake(uint256 id, address account, Vote side, uint256 amount) private {
        stakes.mint(account, amount);
        vm.startPrank(account);
        // One of the odd tokens answers nothing.
        (bool ok,) = address(stakes).call(abi.encodeCall(stakes.approve, (address(market), amount)));
        assertTrue(ok, "approved");
        market.stake(id, side, amount);
        vm.stopPrank();
    }

    function _draw(uint256 id) private {
        vm.roll(SEED_BLOCK + 1);
        market.drawSeed(id);
    }

    /// Alice has 300 on yes, Bob 100 on no; the seed is drawn.
    function _openStaked() private returns (uint256 id) {
        id = _open();
        _stake(id, ALICE, Vote.Yes, 300);
        _stake(id, BOB, Vote.No, 100);
        _draw(id);
    }

    function _exchangeOf(uint256 id, string memory output) private view returns (Exchange memory) {
        return Exchange({
            request: market.requestBody(id),
            output: bytes(output),
            nonce: market.nonceFor(id),
            salt: keccak256(bytes(output))
        });
    }

    /// Gateway `i` answers `output`.
    function _answer(uint256 id, uint256 i, string memory output) private {
        _bring(id, i, _exchangeOf(id, output), "");
    }

    function _bring(uint256 id, uint256 i, Exchange memory exchange, bytes memory refusal) private {
        SettledProof memory proof = _settleReceipt(i, _receiptFor(i, exchange));
        if (refusal.length != 0) vm.expectRevert(refusal);
        market.answer(id, proof, _opening(exchange));
    }

    function _collect(uint256 id, address account) private returns (uint256) {
        uint256 before = stakes.balanceOf(account);
        vm.prank(account);
        market.collect(id);
        return stakes.balanceOf(account) - before;
    }

    function _assertVerdict(uint256 id, Vote verdict) private {
        vm.roll(DEADLINE + 1);
        assertEq(uint256(market.verdictOf(id)), uint256(verdict), "verdict");
    }

    function _enclave(uint256 i) private pure returns (EnclaveId) {
        return EnclaveId.wrap(vm.addr(GATEWAY_KEY + i));
    }

    function _countedAlready(uint256 i) private pure returns (bytes memory) {
        return abi.encodeWithSelector(EnclaveVotes.VotesCountedAlready.selector, _enclave(i));
    }

    function _tooLate(uint256 lastBlock) private pure returns (bytes memory) {
        return abi.encodeWithSelector(AnswerMarket.MarketTooLate.selector, lastBlock);
    }

    // Opening

    function _assertRefused(AnswerMarket.Terms memory terms) private {
        vm.expectRevert(AnswerMarket.MarketTermsRefused.selector);
        market.open(terms, "", "");
    }

    function test_open_RefusesTermsThatBothSidesCouldMeet() public {
        AnswerMarket.Terms memory terms = _terms();
        terms.quorum = EnclaveVotes.Quorum({enclaves: 4, equal: 2, operators: 1});
        _assertRefused(terms);
        terms.quorum.equal = 5;
        _assertRefused(terms);
        terms.quorum = EnclaveVotes.Quorum({enclaves: 0, equal: 0, operators: 0});
        _assertRefused(terms);
        terms.quorum = EnclaveVotes.Quorum({enclaves: type(uint32).max, equal: type(uint32).max, operators: 1});
        assertEq(market.open(terms, "", ""), 1, "opened");
    }

    function test_open_RefusesTimesThatAreOver() public {
        AnswerMarket.Terms memory terms = _terms();
        terms.closeBlock = OPENED_AT - 1;
        _assertRefused(terms);
        terms.closeBlock = DEADLINE;
        _assertRefused(terms);
    }

    // Staking

    function test_stake_EndsBeforeTheSeedCanBeKnown() public {
        uint256 id = _open();
        vm.roll(CLOSE);
        _stake(id, ALICE, Vote.Yes, 1);
        vm.roll(CLOSE + 1);
        vm.expectRevert(_tooLate(CLOSE));
        market.stake(id, Vote.Yes, 1);
        // A market that nobody opened has closed.
        vm.expectRevert(_tooLate(0));
        market.stake(id + 1, Vote.Yes, 1);
    }

    function test_stake_TakesOnlyYesAndNo() public {
        uint256 id = _open();
        Vote[3] memory sides = [Vote.None, Vote.Other, Vote.Void];
        for (uint256 i = 0; i < 3; i++) {
            vm.expectRevert(abi.encodeWithSelector(AnswerMarket.MarketSideRefused.selector, sides[i]));
            market.stake(id, sides[i], 1);
        }
    }

    // The seed

    function test_drawSeed_TakesTheHashOfABlockAfterTheLastStake() public {
        uint256 id = _open();
        vm.expectRevert(SeededRequest.SeedNotDrawn.selector);
        market.requestBody(id);
        vm.roll(SEED_BLOCK);
        vm.expectRevert(abi.encodeWithSelector(SeededRequest.SeedTooEarly.selector, SEED_BLOCK));
        market.drawSeed(id);
        vm.roll(SEED_BLOCK + 1);
        vm.setBlockhash(SEED_BLOCK, bytes32(uint256(42) << 225));
        market.drawSeed(id);
        assertEq(market.requestBody(id), '{"messages":[],"temperature":0,"seed":42}', "body");
        vm.expectRevert(SeededRequest.SeedAlreadyDrawn.selector);
        market.drawSeed(id);
    }

    function test_drawSeed_RefusesWhenTheHashIsGone() public {
        uint256 id = _open();
        vm.roll(SEED_BLOCK + 257);
        vm.expectRevert(abi.encodeWithSelector(SeededRequest.SeedTooLate.selector, SEED_BLOCK + 256));
        market.drawSeed(id);
    }

    function test_drawSeed_RefusesAMarketThatIsNotOpen() public {
        vm.roll(100);
        vm.expectRevert(SeededRequest.SeedNotCommitted.selector);
        market.drawSeed(1);
    }

    // Answers

    function test_answer_CountsWhatEnclavesSaid() public {
        uint256 id = _openStaked();
        _answer(id, 0, "yes");
        _answer(id, 1, "no");
        _answer(id, 2, "yes");
        vm.roll(DEADLINE);
        vm.expectRevert(abi.encodeWithSelector(AnswerMarket.MarketTooEarly.selector, DEADLINE));
        market.collect(id);
        _assertVerdict(id, Vote.Yes);
        assertEq(_collect(id, ALICE), 400, "all stakes");
        assertEq(stakes.balanceOf(address(market)), 0, "nothing left");
        vm.expectRevert(AnswerMarket.MarketNothingToCollect.selector);
        vm.prank(ALICE);
        market.collect(id);
        vm.expectRevert(AnswerMarket.MarketNothingToCollect.selector);
        vm.prank(BOB);
        market.collect(id);
    }

    function test_answer_CountsAnEnclaveOnce() public {
        uint256 id = _openStaked();
        _answer(id, 0, "yes");
        _bring(id, 0, _exchangeOf(id, "yes"), _countedAlready(0));
    }

    /// Asking an enclave again until it says something else only takes its vote away.
    function test_answer_DropsAnEnclaveThatSaysTwoThings() public {
        uint256 id = _openStaked();
        _answer(id, 0, "yes");
        _answer(id, 2, "yes");
        _answer(id, 3, "yes");
        _answer(id, 0, "no");
        _bring(id, 0, _exchangeOf(id, "yes"), _countedAlready(0));
        // Two are left where three are needed.
        _assertVerdict(id, Vote.Void);
    }

    /// Whoever brings only the answers that he likes is answered by whoever brings the others.
    function test_verdict_WeighsEveryAnswerThatWasBrought() public {
        uint256 id = _openStaked();
        _answer(id, 0, "yes");
        _answer(id, 2, "yes");
        _answer(id, 1, "no");
        _answer(id, 3, "no");
        _assertVerdict(id, Vote.Void);
    }

    function test_verdict_CountsOtherAnswersAgainstBoth() public {
        uint256 id = _openStaked();
        _answer(id, 0, "yes");
        _answer(id, 2, "yes");
        _answer(id, 1, "Yes.");
        uint256 snapshot = vm.snapshotState();
        _assertVerdict(id, Vote.Yes);
        vm.revertToState(snapshot);
        _answer(id, 3, "perhaps");
        _assertVerdict(id, Vote.Void);
    }

    function test_verdict_NeedsEnoughOperators() public {
        uint256 id = _openStaked();
        _answer(id, 0, "no");
        _answer(id, 1, "no");
        _answer(id, 2, "perhaps");
        uint256 snapshot = vm.snapshotState();
        _assertVerdict(id, Vote.Void);
        vm.revertToState(snapshot);
        _answer(id, 3, "no");
        _assertVerdict(id, Vote.No);
        assertEq(_collect(id, BOB), 400, "all stakes");
    }

    function test_verdict_IsRefundWhereNobodyStakedOnTheAnswer() public {
        uint256 id = _open();
        _stake(id, ALICE, Vote.Yes, 300);
        _draw(id);
        for (uint256 i = 0; i < 4; i++) {
            _answer(id, i, "no");
        }
        _assertVerdict(id, Vote.Void);
        assertEq(_collect(id, ALICE), 300, "back");
    }

    function test_collect_GivesStakesBackWhenTheSeedWasNeverDrawn() public {
        uint256 id = _open();
        _stake(id, ALICE, Vote.Yes, 300);
        _stake(id, ALICE, Vote.No, 5);
        _stake(id, BOB, Vote.No, 100);
        _assertVerdict(id, Vote.Void);
        assertEq(_collect(id, ALICE), 305, "both of hers");
        assertEq(_collect(id, BOB), 100, "his");
        vm.expectRevert(AnswerMarket.MarketNothingToCollect.selector);
        vm.prank(BOB);
        market.collect(id);
    }

    function test_collect_RoundsSharesDown() public {
        uint256 id = _open();
        _stake(id, ALICE, Vote.Yes, 1);
        _stake(id, BOB, Vote.Yes, 1);
        _stake(id, CAROL, Vote.Yes, 1);
        _stake(id, CAROL, Vote.No, 100);
        _draw(id);
        for (uint256 i = 0; i < 3; i++) {
            _answer(id, i, "yes");
        }
        _assertVerdict(id, Vote.Yes);
        assertEq(_collect(id, ALICE), 34, "103 / 3");
        assertEq(_collect(id, BOB), 34, "103 / 3");
        assertEq(_collect(id, CAROL), 34, "103 / 3");
        assertEq(stakes.balanceOf(address(market)), 1, "left over");
    }

    function test_collect_KeepsMarketsApart() public {
        uint256 first = _open();
        uint256 second = _open();
        _stake(first, ALICE, Vote.Yes, 300);
        _stake(second, BOB, Vote.Yes, 50);
        _assertVerdict(first, Vote.Void);
        vm.expectRevert(AnswerMarket.MarketNothingToCollect.selector);
        vm.prank(ALICE);
        market.collect(second);
        assertEq(_collect(second, BOB), 50, "his");
        assertEq(_collect(first, ALICE), 300, "hers");
    }

    // What does not count

    function test_answer_RefusesBeforeTheSeed() public {
        uint256 id = _open();
        SettledProof memory proof;
        InferenceProofs.Opening memory opening;
        vm.expectRevert(SeededRequest.SeedNotDrawn.selector);
        market.answer(id, proof, opening);
    }

    function test_answer_RefusesAfterTheDeadline() public {
        uint256 id = _openStaked();
        Exchange memory exchange = _exchangeOf(id, "yes");
        vm.roll(DEADLINE + 1);
        _bring(id, 0, exchange, _tooLate(DEADLINE));
        vm.roll(DEADLINE);
        _bring(id, 0, exchange, "");
    }

    function test_answer_RefusesAnotherMarketsNonce() public {
        uint256 id = _openStaked();
        Exchange memory exchange = _exchangeOf(id, "yes");
        exchange.nonce = market.nonceFor(id + 1);
        _bring(id, 0, exchange, abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, uint8(0x12)));
    }

    function test_answer_RefusesAnotherRequest() public {
        uint256 id = _openStaked();
        Exchange memory exchange = _exchangeOf(id, "yes");
        bytes32 demanded = keccak256(exchange.request);
        exchange.request = '{"messages":[],"temperature":1,"seed":1}';
        bytes32 asked = keccak256(exchange.request);
        _bring(
            id, 0, exchange, abi.encodeWithSelector(InferenceProofs.ProofRequestMismatch.selector, demanded, asked)
        );
    }

    function test_answer_RefusesAnotherMeasurement() public {
        AnswerMarket.Terms memory terms = _terms();
        terms.measurements[0] = MeasurementId.wrap(keccak256("another"));
        uint256 id = market.open(terms, "", "");
        _draw(id);
        Exchange memory exchange = _exchangeOf(id, "yes");
        _bring(
            id,
            0,
            exchange,
            abi.encodeWithSelector(InferenceProofs.ProofMeasurementNotAccepted.selector, MEASUREMENT)
        );
    }

    // Broken enclaves

    function test_strike_TakesOutABrokenEnclave() public {
        uint256 id = _openStaked();
        _answer(id, 0, "yes");
        _answer(id, 1, "yes");
        _answer(id, 2, "yes");
        vm.expectRevert(abi.encodeWithSelector(AnswerMarket.MarketNotCompromised.selector, _enclave(0)));
        market.strike(id, _enclave(0));
        _compromise(0);
        market.strike(id, _enclave(0));
        vm.expectRevert(_countedAlready(0));
        market.strike(id, _enclave(0));
        uint256 snapshot = vm.snapshotState();
        _assertVerdict(id, Vote.Void);
        vm.revertToState(snapshot);
        _answer(id, 3, "yes");
        _assertVerdict(id, Vote.Yes);
    }

    function test_strike_EndsWithTheDeadline() public {
        uint256 id = _openStaked();
        _answer(id, 0, "yes");
        _compromise(0);
        vm.roll(DEADLINE + 1);
        vm.expectRevert(_tooLate(DEADLINE));
        market.strike(id, _enclave(0));
    }

    // Odd tokens

    function _assertStakeRefused(string memory oddToken, bytes memory refusal) private {
        _deployOverOdd(oddToken);
        uint256 id = _open();
        stakes.mint(ALICE, 1_000);
        vm.startPrank(ALICE);
        stakes.approve(address(market), 1_000);
        vm.expectRevert(refusal);
        market.stake(id, Vote.Yes, 1_000);
        vm.stopPrank();
    }

    function test_stake_RefusesATokenThatMovesSomethingElse() public {
        _assertStakeRefused(
            "FeeOnTransferToken", abi.encodeWithSelector(AnswerMarket.MarketMovedOtherAmount.selector, 1_000, 990)
        );
        _assertStakeRefused(
            "GenerousToken", abi.encodeWithSelector(AnswerMarket.MarketMovedOtherAmount.selector, 1_000, 1_001)
        );
    }

    function test_stake_RefusesATokenThatAnswersFalse() public {
        _deployOverOdd("FalseReturnToken");
        uint256 id = _open();
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(stakes)));
        market.stake(id, Vote.Yes, 1_000);
    }

    function test_market_WorksWithATokenThatAnswersNothing() public {
        _deployOverOdd("NoReturnToken");
        uint256 id = _open();
        _stake(id, ALICE, Vote.Yes, 300);
        _assertVerdict(id, Vote.Void);
        assertEq(_collect(id, ALICE), 300, "back");
    }

    function test_collect_IsStoppedOnlyForWhomTheTokenBlocks() public {
        _deployOverOdd("BlocklistToken");
        uint256 id = _open();
        _stake(id, ALICE, Vote.Yes, 300);
        _stake(id, BOB, Vote.No, 100);
        _assertVerdict(id, Vote.Void);
        BlocklistToken(address(stakes)).setBlocked(ALICE, true);
        vm.expectRevert(abi.encodeWithSelector(BlocklistToken.BlocklistTokenBlocked.selector, ALICE));
        vm.prank(ALICE);
        market.collect(id);
        assertEq(_collect(id, BOB), 100, "his");
        BlocklistToken(address(stakes)).setBlocked(ALICE, false);
        assertEq(_collect(id, ALICE), 300, "hers, when it lets her");
    }

    function test_market_CannotBeEnteredAgain() public {
        _deployOverOdd("ReentrantToken");
        uint256 id = _open();
        ReentrantToken(address(stakes)).arm(address(market), abi.encodeCall(market.stake, (id, Vote.Yes, 0)));
        _stake(id, ALICE, Vote.Yes, 300);
        _assertReentryRefused(1);
        ReentrantToken(address(stakes)).arm(address(market), abi.encodeCall(market.collect, (id)));
        _assertVerdict(id, Vote.Void);
        assertEq(_collect(id, ALICE), 300, "once");
        _assertReentryRefused(2);
    }

    function _assertReentryRefused(uint256 calls) private view {
        ReentrantToken odd = ReentrantToken(address(stakes));
        assertEq(odd.calls(), calls, "calls");
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "refused"
        );
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {FixedPromptBounty} from "../../contracts/examples/FixedPromptBounty.sol";
import {InferenceProofs} from "../../contracts/libraries/InferenceProofs.sol";
import {SettledProof} from "../../contracts/types/Receipt.sol";
import {BlocklistToken, ReentrantToken} from "./support/OddTokens.sol";
import {TestOPG} from "./support/TestOPG.sol";
import {ProofStage} from "./utils/ProofStage.sol";
import {vm} from "./utils/Vm.sol";

/// The bounty over odd tokens; what it pays for is in FixedPromptBounty.t.sol.
contract ExamplesBountyTest is ProofStage {
    address private constant SPONSOR = address(0x5905);
    address private constant CLAIMANT = address(0xC1A1);
    uint256 private constant AMOUNT = 1_000;
    uint256 private constant OPENED_AT = 1_000_000;
    FixedPromptBounty private bounty;
    TestOPG private prize;

    function setUp() public override {
        super.setUp();
        vm.roll(OPENED_AT);
        _gateway(0);
    }

    function _deployOver(string memory oddToken) private {
        prize = TestOPG(_create(string.concat("test/contracts/support/OddTokens.sol/", oddToken), ""));
        bounty = FixedPromptBounty(
            _create(
                "contracts/examples/FixedPromptBounty.sol/FixedPromptBounty", abi.encode(settlement, registry, prize)
            )
        );
    }

    function _open() private returns (uint256 job) {
        prize.mint(SPONSOR, AMOUNT);
        vm.startPrank(SPONSOR);
        (bool ok,) = address(prize).call(abi.encodeCall(prize.approve, (address(bounty), AMOUNT)));
        assertTrue(ok, "approved");
        job = bounty.open('{"seed":', "}", MEASUREMENT, AMOUNT);
        vm.stopPrank();
    }

    function _exchangeOf(uint256 job) private view returns (Exchange memory) {
        return Exchange({
            request: bounty.requestBody(job),
            output: "Paris.",
            nonce: bounty.nonceFor(job, CLAIMANT),
            salt: keccak256("salt")
        });
    }

    function _claim(uint256 job) private {
        vm.roll(OPENED_AT + 3);
        bounty.drawSeed(job);
        Exchange memory exchange = _exchangeOf(job);
        SettledProof memory proof = _settleReceipt(0, _receiptFor(0, exchange));
        InferenceProofs.Opening memory opening = _opening(exchange);
        vm.prank(CLAIMANT);
        bounty.claim(job, proof, opening);
    }

    function test_bounty_WorksWithATokenThatAnswersNothing() public {
        _deployOver("NoReturnToken");
        _claim(_open());
        assertEq(prize.balanceOf(CLAIMANT), AMOUNT, "paid");
    }

    function test_open_RefusesATokenThatAnswersFalse() public {
        _deployOver("FalseReturnToken");
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(prize)));
        bounty.open("", "", MEASUREMENT, AMOUNT);
    }

    function test_cancel_GivesBackWhatATokenDoesNotLetAClaimantHave() public {
        _deployOver("BlocklistToken");
        uint256 job = _open();
        BlocklistToken(address(prize)).setBlocked(CLAIMANT, true);
        vm.roll(OPENED_AT + 3);
        bounty.drawSeed(job);
        Exchange memory exchange = _exchangeOf(job);
        SettledProof memory proof = _settleReceipt(0, _receiptFor(0, exchange));
        InferenceProofs.Opening memory opening = _opening(exchange);
        vm.expectRevert(abi.encodeWithSelector(BlocklistToken.BlocklistTokenBlocked.selector, CLAIMANT));
        vm.prank(CLAIMANT);
        bounty.claim(job, proof, opening);
        vm.roll(OPENED_AT + 3 + bounty.CLAIM_WINDOW());
        vm.prank(SPONSOR);
        bounty.cancel(job);
        assertEq(prize.balanceOf(SPONSOR), AMOUNT, "back");
    }

    function test_bounty_CannotBeEnteredAgain() public {
        _deployOver("ReentrantToken");
        uint256 job = _open();
        ReentrantToken odd = ReentrantToken(address(prize));
        odd.arm(address(bounty), abi.encodeCall(bounty.cancel, (job)));
        _claim(job);
        assertEq(odd.calls(), 1, "called");
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "refused"
        );
        assertEq(prize.balanceOf(CLAIMANT), AMOUNT, "paid once");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {FixedPromptBounty} from "../../contracts/examples/FixedPromptBounty.sol";
import {InferenceProofs} from "../../contracts/libraries/InferenceProofs.sol";
import {PublicReceipt, SettledProof} from "../../contracts/types/Receipt.sol";
import {ClaimSource} from "../../contracts/types/Types.sol";
import {ProofStage} from "./utils/ProofStage.sol";
import {vm} from "./utils/Vm.sol";

contract FixedPromptBountyTest is ProofStage {
    address private constant SPONSOR = address(0x5905);
    uint256 private constant AMOUNT = 1_000;
    uint256 private constant OPENED_AT = 1_000_000;
    address private constant CLAIMANT = address(0xC1A1);
    FixedPromptBounty private bounty;

    function setUp() public override {
        super.setUp();
        bounty = FixedPromptBounty(
            _create(
                "contracts/examples/FixedPromptBounty.sol/FixedPromptBounty", abi.encode(settlement, registry, token)
            )
        );
        vm.roll(OPENED_AT);
        _gateway(0);
        token.mint(SPONSOR, 10 * AMOUNT);
        vm.prank(SPONSOR);
        token.approve(address(bounty), 10 * AMOUNT);
    }

    function _open() private returns (uint256) {
        vm.prank(SPONSOR);
        return bounty.open('{"messages":[],"temperature":0,"seed":', "}", MEASUREMENT, AMOUNT);
    }

    function _openSeeded() private returns (uint256 job) {
        job = _open();
        vm.roll(vm.getBlockNumber() + bounty.SEED_DELAY() + 1);
        bounty.drawSeed(job);
    }

    /// What `claimant` brings for the job: the exact request, its own nonce, and `output`.
    function _answerTo(uint256 job, address claimant, string memory output) private view returns (Exchange memory) {
        return Exchange({
            request: bounty.requestBody(job),
            output: bytes(output),
            nonce: bounty.nonceFor(job, claimant),
            salt: keccak256(abi.encode(claimant, output))
        });
    }

    function _tooEarly(uint256 lastBlock) private pure returns (bytes memory) {
        return abi.encodeWithSelector(FixedPromptBounty.BountyTooEarly.selector, lastBlock);
    }

    // The seed

    function test_drawSeed_TakesTheHashOfABlockThatCameLater() public {
        uint256 job = _open();
        uint256 seedBlock = OPENED_AT + 2;
        assertEq(bounty.jobOf(job).seedBlock, seedBlock, "two blocks later");
        vm.roll(seedBlock);
        vm.expectRevert(_tooEarly(seedBlock));
        bounty.drawSeed(job);
        vm.roll(seedBlock + 1);
        vm.setBlockhash(seedBlock, keccak256("seed"));
        bounty.drawSeed(job);
        assertEq(bounty.jobOf(job).seed, uint256(keccak256("seed")) >> 225, "its first 31 bits");
        vm.expectRevert(FixedPromptBounty.BountyAlreadySeeded.selector);
        bounty.drawSeed(job);
    }

    function test_drawSeed_RefusesWhenTheHashIsGone() public {
        uint256 job = _open();
        vm.roll(OPENED_AT + 2 + 256 + 1);
        vm.expectRevert(abi.encodeWithSelector(FixedPromptBounty.BountyTooLate.selector, OPENED_AT + 2));
        bounty.drawSeed(job);
    }

    function test_drawSeed_RefusesAJobThatIsNotOpen() public {
        vm.roll(100);
        vm.expectRevert(abi.encodeWithSelector(FixedPromptBounty.BountyUnknownJob.selector, 1));
        bounty.drawSeed(1);
        _open();
        assertTrue(!bounty.jobOf(1).isSeeded, "its seed is still to come");
    }

    function test_requestBody_PutsTheSeedsDigitsInTheirPlace() public {
        uint256 job = _open();
        vm.expectRevert(FixedPromptBounty.BountyNotSeeded.selector);
        bounty.requestBody(job);
        vm.roll(OPENED_AT + 3);
        vm.setBlockhash(OPENED_AT + 2, bytes32(uint256(42) << 225));
        bounty.drawSeed(job);
        assertEq(bounty.requestBody(job), '{"messages":[],"temperature":0,"seed":42}', "body");
    }

    // Claiming

    function test_claim_PaysForTheAnswerAndKeepsIt() public {
        uint256 job = _openSeeded();
        Exchange memory exchange = _answerTo(job, CLAIMANT, "Paris.");
        SettledProof memory proof = _settleReceipt(0, _receiptFor(0, exchange));
        vm.prank(CLAIMANT);
        bounty.claim(job, proof, _opening(exchange));
        assertEq(token.balanceOf(CLAIMANT), AMOUNT, "paid");
        assertEq(bounty.jobOf(job).answer, "Paris.", "kept");
        vm.expectRevert(FixedPromptBounty.BountyAlreadyPaid.selector);
        vm.prank(CLAIMANT);
        bounty.claim(job, proof, _opening(exchange));
    }

    function test_claim_RefusesBeforeTheSeed() public {
        uint256 job = _open();
        SettledProof memory proof;
        InferenceProofs.Opening memory opening;
        vm.expectRevert(FixedPromptBounty.BountyNotSeeded.selector);
        bounty.claim(job, proof, opening);
    }

    function test_claim_RefusesACopiedProof() public {
        uint256 job = _openSeeded();
        Exchange memory exchange = _answerTo(job, CLAIMANT, "Paris.");
        SettledProof memory proof = _settleReceipt(0, _receiptFor(0, exchange));
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, uint8(0x12)));
        vm.prank(STRANGER);
        bounty.claim(job, proof, _opening(exchange));
    }

    function test_claim_RefusesTheProofOfAnotherJob() public {
        uint256 first = _open();
        uint256 second = _open();
        vm.roll(OPENED_AT + 3);
        bounty.drawSeed(first);
        bounty.drawSeed(second);
        assertEq(bounty.requestBody(first), bounty.requestBody(second), "one request, one seed");
        Exchange memory exchange = _answerTo(first, CLAIMANT, "Paris.");
        SettledProof memory proof = _settleReceipt(0, _receiptFor(0, exchange));
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, uint8(0x12)));
        vm.prank(CLAIMANT);
        bounty.claim(second, proof, _opening(exchange));
    }

    /// Re-rolling means another body, in the seed or anywhere: the proof of an answer to it does not fit.
    function test_claim_RefusesAnAnswerToAnotherBody() public {
        uint256 job = _openSeeded();
        bytes memory demanded = bounty.requestBody(job);
        bytes[3] memory bodies = [
            bytes('{"messages":[],"temperature":0,"seed":1}'),
            bytes('{"messages":[],"temperature":1,"seed":42}'),
            bytes.concat(demanded, " ")
        ];
        for (uint256 i = 0; i < 3; i++) {
            Exchange memory exchange = _answerTo(job, CLAIMANT, "The answer I like better.");
            exchange.request = bodies[i];
            SettledProof memory proof = _settleReceipt(0, _receiptFor(0, exchange));
            InferenceProofs.Opening memory opening = _opening(exchange);
            vm.expectRevert(
                abi.encodeWithSelector(
                    InferenceProofs.ProofRequestMismatch.selector, keccak256(demanded), keccak256(bodies[i])
                )
            );
            vm.prank(CLAIMANT);
            bounty.claim(job, proof, opening);
            opening.request = demanded;
            vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, uint8(0x10)));
            vm.prank(CLAIMANT);
            bounty.claim(job, proof, opening);
        }
    }

    function test_claim_RefusesAModelThatIsNotMeasured() public {
        uint256 job = _openSeeded();
        Exchange memory exchange = _answerTo(job, CLAIMANT, "Paris.");
        PublicReceipt memory receipt = _receiptFor(0, exchange);
        receipt.source = ClaimSource.Operator;
        SettledProof memory proof = _settleReceipt(0, receipt);
        vm.expectRevert(
            abi.encodeWithSelector(
                InferenceProofs.ProofSourceTooWeak.selector, ClaimSource.Measured, ClaimSource.Operator
            )
        );
        vm.prank(CLAIMANT);
        bounty.claim(job, proof, _opening(exchange));
    }

    // Cancelling

    function test_cancel_GivesBackWhatCannotBeSeeded() public {
        uint256 job = _open();
        uint256 lastBlock = OPENED_AT + 2 + 256;
        vm.expectRevert(
            abi.encodeWithSelector(FixedPromptBounty.BountyNotSponsor.selector, SPONSOR, STRANGER)
        );
        vm.prank(STRANGER);
        bounty.cancel(job);
        vm.roll(lastBlock);
        vm.startPrank(SPONSOR);
        vm.expectRevert(_tooEarly(lastBlock));
        bounty.cancel(job);
        vm.roll(lastBlock + 1);
        bounty.cancel(job);
        assertEq(token.balanceOf(SPONSOR), 10 * AMOUNT, "given back");
        vm.expectRevert(FixedPromptBounty.BountyAlreadyPaid.selector);
        bounty.cancel(job);
        vm.stopPrank();
    }

    function test_cancel_GivesBackWhatNobodyAnswered() public {
        uint256 job = _openSeeded();
        uint256 lastBlock = OPENED_AT + 2 + bounty.CLAIM_WINDOW();
        vm.roll(lastBlock);
        vm.startPrank(SPONSOR);
        vm.expectRevert(_tooEarly(lastBlock));
        bounty.cancel(job);
        vm.roll(lastBlock + 1);
        bounty.cancel(job);
        vm.stopPrank();
        assertEq(token.balanceOf(SPONSOR), 10 * AMOUNT, "given back");
    }

    function test_cancel_RefusesAfterTheClaim() public {
        uint256 job = _openSeeded();
        Exchange memory exchange = _answerTo(job, CLAIMANT, "Paris.");
        SettledProof memory proof = _settleReceipt(0, _receiptFor(0, exchange));
        vm.prank(CLAIMANT);
        bounty.claim(job, proof, _opening(exchange));
        vm.roll(OPENED_AT + 100_000);
        vm.expectRevert(FixedPromptBounty.BountyAlreadyPaid.selector);
        vm.prank(SPONSOR);
        bounty.cancel(job);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BlindSignatures} from "../../contracts/credits/BlindSignatures.sol";
import {Bls12381} from "../../contracts/credits/Bls12381.sol";
import {ICreditDeposits} from "../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditExits} from "../../contracts/interfaces/ICreditExits.sol";
import {ICreditKeysets} from "../../contracts/interfaces/ICreditKeysets.sol";
import {CreditId, KeysetId, Units} from "../../contracts/types/Types.sol";
import {CreditStage} from "./utils/CreditStage.sol";
import {PlainBls} from "./utils/PlainBls.sol";
import {TestKeyset} from "./utils/TestKeyset.sol";
import {vm} from "./utils/Vm.sol";

contract CreditExitsTest is CreditStage {
    uint64 private constant BEHIND = 20_000 * OPG;

    function setUp() public override {
        super.setUp();
        _endow(KEYSET, BEHIND);
    }

    function _refuse(Exits memory exits, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vault.openExits{gas: 30_000_000}(
            exits.keyset, exits.recipient, exits.keys, exits.exponents, exits.credits, exits.signatures
        );
    }

    function _refuse(Exits memory exits, bytes4 selector) private {
        _refuse(exits, abi.encodeWithSelector(selector));
    }

    function _assertNotOpened(Exits memory exits) private view {
        for (uint256 i = 0; i < exits.ids.length; i++) {
            assertEq(_exitState(exits.ids[i]), ICreditExits.ExitState.None, "not opened");
        }
    }

    // Opening

    function test_openExits_OpensOne() public {
        Exits memory exits = _exits(0, hex"14");
        vm.expectEmit(address(vault));
        emit ICreditExits.ExitsOpened(KEYSET, RECIPIENT, uint40(START + 24 hours), exits.ids, hex"14");
        vm.prank(STRANGER);
        _open(exits);
        ICreditExits.Exit memory exit = vault.exitOf(exits.ids[0]);
        assertEq(exit.recipient, RECIPIENT, "recipient");
        assertEq(exit.readyAt, START + 24 hours, "ready");
        assertEq(exit.exponent, 20, "exponent");
        assertEq(exit.keyset, 1, "keyset");
        assertEq(exit.state, ICreditExits.ExitState.Open, "state");
        assertEq(_one(RECIPIENT), 0, "nothing yet");
        assertEq(vault.exitAllowance(KEYSET), 2_000 * OPG - (1 << 20), "counted");
    }

    function test_openExits_OpensManyOfMixedDenominations() public {
        bytes memory exponents = hex"000005050c1617171717";
        Exits memory exits = _exits(0, exponents);
        vm.expectEmit(address(vault));
        emit ICreditExits.ExitsOpened(KEYSET, RECIPIENT, uint40(START + 24 hours), exits.ids, exponents);
        _open(exits);
        for (uint256 i = 0; i < exponents.length; i++) {
            assertEq(vault.exitOf(exits.ids[i]).exponent, uint8(exponents[i]), "exponent");
            assertEq(_exitState(exits.ids[i]), ICreditExits.ExitState.Open, "state");
        }
        vm.warp(START + 24 hours);
        vault.finishExits(exits.ids);
        assertEq(_one(RECIPIENT), exits.units, "paid");
    }

    function test_openExits_OpensSixtyFourUnderAllKeys() public {
        bytes memory exponents = new bytes(64);
        for (uint256 i = 0; i < 64; i++) {
            exponents[i] = bytes1(uint8(i * 24 / 64));
        }
        _open(_exits(0, exponents));
    }

    function test_openExits_AnswersTheIdThatIsSigned() public view {
        CreditId id = vault.creditId(KEYSET, vm.addr(_exitKey(3)), keccak256(abi.encodePacked(_secretOf(3))));
        assertEq(CreditId.unwrap(id), CreditId.unwrap(_creditId(KEYSET, 3)), "id");
    }

    function test_openExits_RefusesTheSameCreditTwice() public {
        Exits memory exits = _exits(0, hex"05");
        _open(exits);
        bytes4 selector = ICreditExits.VaultExitIs.selector;
        _refuse(exits, abi.encodeWithSelector(selector, exits.ids[0], ICreditExits.ExitState.Open));
        // Nor under another key, nor to another recipient: a message is one credit.
        Exits memory other = _exits(0, hex"06");
        _refuse(other, abi.encodeWithSelector(selector, exits.ids[0], ICreditExits.ExitState.Open));
        vm.warp(START + 24 hours);
        vault.finishExits(exits.ids);
        _refuse(exits, abi.encodeWithSelector(selector, exits.ids[0], ICreditExits.ExitState.Paid));
    }

    function test_openExits_RefusesTheSameCreditTwiceInOneCall() public {
        Exits memory exits = _exits(0, hex"0505");
        exits.credits[1] = exits.credits[0];
        for (uint256 i = 0; i < 128; i++) {
            exits.signatures[128 + i] = exits.signatures[i];
        }
        bytes4 selector = ICreditExits.VaultExitIs.selector;
        _refuse(exits, abi.encodeWithSelector(selector, exits.ids[0], ICreditExits.ExitState.Open));
    }

    /// Whoever copies an exit can only send the money where its owner wants it.
    function test_openExits_RefusesACopyToAnotherRecipient() public {
        Exits memory exits = _exits(0, hex"1212");
        exits.recipient = STRANGER;
        vm.expectPartialRevert(ICreditExits.VaultExitNotSigned.selector);
        _open(exits);
        exits = _exits(0, hex"1212");
        vm.prank(STRANGER);
        _open(exits);
        vm.warp(START + 24 hours);
        vm.prank(STRANGER);
        vault.finishExits(exits.ids);
        assertEq(_one(RECIPIENT), 1 << 19, "the owner's");
        assertEq(_one(STRANGER), 0, "nothing for the copier");
    }

    function test_openExits_RefusesAnotherSigner() public {
        Exits memory exits = _exits(0, hex"05");
        (exits.credits[0].r, exits.credits[0].vs) = _signExit(1, exits.ids[0], RECIPIENT);
        bytes4 selector = ICreditExits.VaultExitNotSigned.selector;
        _refuse(exits, abi.encodeWithSelector(selector, vm.addr(_exitKey(0)), vm.addr(_exitKey(1))));
    }

    /// A signature that is none recovers the zero address: an exit key of zero must not pass for it.
    function test_openExits_RefusesNoExitKey() public {
        Exits memory exits = _exits(0, hex"05");
        exits.credits[0].exitKey = address(0);
        (exits.credits[0].r, exits.credits[0].vs) = (0, 0);
        CreditId id = vault.creditId(KEYSET, address(0), exits.credits[0].hashT);
        exits.signatures = TestKeyset.sign(0, 5, CreditId.unwrap(id));
        _refuse(exits, abi.encodeWithSelector(ICreditExits.VaultExitNotSigned.selector, address(0), address(0)));
    }

    function test_openExits_RefusesAWrongSignature() public {
        // Another message, another denomination, another keyset, none at all.
        bytes[4] memory wrong;
        wrong[0] = TestKeyset.sign(0, 5, keccak256("another message"));
        wrong[1] = TestKeyset.sign(0, 6, CreditId.unwrap(_creditId(KEYSET, 0)));
        wrong[2] = TestKeyset.sign(1, 5, CreditId.unwrap(_creditId(KEYSET, 0)));
        wrong[3] = new bytes(128);
        for (uint256 i = 0; i < 4; i++) {
            Exits memory exits = _exits(0, hex"05");
            exits.signatures = wrong[i];
            _refuse(exits, BlindSignatures.BlindSignaturesWrong.selector);
            exits = _exits(0, hex"0505");
            for (uint256 j = 0; j < 128; j++) {
                exits.signatures[j] = wrong[i][j];
            }
            _refuse(exits, BlindSignatures.BlindSignaturesWrong.selector);
            _assertNotOpened(exits);
        }
    }

    function test_openExits_RefusesASplitSignature() public {
        Exits memory exits = _exits(0, hex"0505");
        bytes memory sum = PlainBls.add(
            PlainBls.hashToG1(CreditId.unwrap(exits.ids[0])), PlainBls.hashToG1(CreditId.unwrap(exits.ids[1]))
        );
        bytes memory split = PlainBls.multiply(PlainBls.G1, 99);
        bytes memory rest =
            PlainBls.add(TestKeyset.signPoint(0, 5, sum), PlainBls.multiply(split, PlainBls.ORDER - 1));
        exits.signatures = bytes.concat(split, rest);
        _refuse(exits, BlindSignatures.BlindSignaturesWrong.selector);
    }

    function test_openExits_RefusesABrokenPoint() public {
        Exits memory exits = _exits(0, hex"05");
        exits.signatures[127] ^= 0x01;
        _refuse(exits, abi.encodeWithSelector(Bls12381.Bls12381Refused.selector, 0x0f));
        exits = _exits(0, hex"0505");
        exits.signatures[127] ^= 0x01;
        _refuse(exits, abi.encodeWithSelector(Bls12381.Bls12381Refused.selector, 0x0c));
    }

    function test_openExits_RefusesAnotherExponent() public {
        // Worth more than what was signed, under the key of what it says.
        Exits memory exits = _exits(0, hex"05");
        exits.exponents = hex"17";
        exits.keys = TestKeyset.keyOf(0, 23);
        _refuse(exits, BlindSignatures.BlindSignaturesWrong.selector);
    }

    function test_openExits_RefusesAKeyThatIsNotTheKeysets() public {
        Exits memory exits = _exits(0, hex"05");
        bytes memory right = exits.keys;
        exits.keys = TestKeyset.keyOf(0, 6);
        bytes4 selector = ICreditKeysets.VaultKeyOther.selector;
        _refuse(exits, abi.encodeWithSelector(selector, 5, keccak256(right), keccak256(exits.keys)));
    }

    function test_openExits_RefusesKeysTooFewOrTooMany() public {
        bytes4 selector = ICreditKeysets.VaultBytesLength.selector;
        Exits memory exits = _exits(0, hex"0506");
        bytes memory both = exits.keys;
        exits.keys = TestKeyset.keyOf(0, 5);
        _refuse(exits, abi.encodeWithSelector(selector, 512, 256));
        exits.keys = bytes.concat(both, both);
        _refuse(exits, abi.encodeWithSelector(selector, 512, 1_024));
        exits.keys = bytes.concat(both, hex"00");
        _refuse(exits, abi.encodeWithSelector(selector, 512, 513));
        exits.keys = "";
        _refuse(exits, abi.encodeWithSelector(selector, 256, 0));
    }

    function test_openExits_RefusesAnUnknownExponent() public {
        Exits memory exits = _exits(0, hex"05");
        exits.exponents = hex"18";
        _refuse(exits, abi.encodeWithSelector(ICreditKeysets.VaultExponentUnknown.selector, 24));
        exits.exponents = hex"ff";
        _refuse(exits, abi.encodeWithSelector(ICreditKeysets.VaultExponentUnknown.selector, 255));
    }

    function test_openExits_RefusesCreditsOutOfOrder() public {
        Exits memory exits = _exits(0, hex"0605");
        _refuse(exits, abi.encodeWithSelector(ICreditKeysets.VaultNotSorted.selector, 1));
    }

    function test_openExits_RefusesWrongCounts() public {
        Exits memory none = _exits(0, "");
        _refuse(none, ICreditExits.VaultNoCredits.selector);
        Exits memory unequal = _exits(0, hex"05");
        unequal.credits = new ICreditExits.CreditExit[](2);
        _refuse(unequal, ICreditExits.VaultNoCredits.selector);
        Exits memory many = none;
        many.credits = new ICreditExits.CreditExit[](65);
        many.exponents = new bytes(65);
        _refuse(many, abi.encodeWithSelector(ICreditKeysets.VaultTooMany.selector, 64, 65));
        Exits memory exits = _exits(0, hex"05");
        exits.signatures = bytes.concat(exits.signatures, hex"00");
        _refuse(exits, abi.encodeWithSelector(ICreditKeysets.VaultBytesLength.selector, 128, 129));
    }

    function test_openExits_RefusesNoRecipientAndNoKeyset() public {
        Exits memory exits = _exits(KEYSET, 0, hex"05", address(0));
        _refuse(exits, ICreditKeysets.VaultZeroAddress.selector);
        exits = _exits(OTHER_KEYSET, 0, hex"05", RECIPIENT);
        _refuse(exits, abi.encodeWithSelector(ICreditKeysets.VaultKeysetUnknown.selector, OTHER_KEYSET));
    }

    function test_openExits_WorksUntilTheKeysetEnds() public {
        Exits memory exits = _exits(0, hex"05");
        vm.warp(EXIT_UNTIL);
        _refuse(exits, abi.encodeWithSelector(ICreditKeysets.VaultPhaseOver.selector, EXIT_UNTIL));
        vm.warp(EXIT_UNTIL - 1);
        _open(exits);
        vm.warp(EXIT_UNTIL + 10 days);
        vault.finishExits(exits.ids);
        assertEq(_one(RECIPIENT), 32, "paid after the end");
    }

    // The daily cap

    function test_openExits_CapsADayAtATenthOfTheDeposits() public {
        // 2,000 OPG: 238 credits of 8.388608 OPG are 1,996.488704.
        for (uint256 i = 0; i < 3; i++) {
            _open(_exits(i * 64, _repeat(23, 64)));
        }
        _open(_exits(192, _repeat(23, 46)));
        assertEq(vault.exitAllowance(KEYSET), 3_511_296, "left");
        Exits memory exits = _exits(300, hex"17");
        _refuse(exits, abi.encodeWithSelector(ICreditExits.VaultExitCapReached.selector, 3_511_296, 1 << 23));
        _open(_exits(400, _exponentsOf(3_511_296)));
        assertEq(vault.exitAllowance(KEYSET), 0, "to the last unit");
        Exits memory least = _exits(500, hex"00");
        _refuse(least, abi.encodeWithSelector(ICreditExits.VaultExitCapReached.selector, 0, 1));
        // START is the first second of no day: the next one begins within 24 hours.
        vm.warp((START / 1 days + 1) * 1 days - 1);
        _refuse(least, abi.encodeWithSelector(ICreditExits.VaultExitCapReached.selector, 0, 1));
        vm.warp((START / 1 days + 1) * 1 days);
        assertEq(vault.exitAllowance(KEYSET), 2_000 * OPG, "a new day");
        _open(exits);
    }

    function test_openExits_CapsADayAtAThousandAtLeast() public {
        _openKeyset(OTHER_KEYSET, issuer);
        assertEq(vault.exitAllowance(OTHER_KEYSET), 1_000 * OPG, "of nothing");
        _endow(OTHER_KEYSET, 10_000 * OPG + 10);
        assertEq(vault.exitAllowance(OTHER_KEYSET), 1_000 * OPG + 1, "of a little more than ten thousand");
        _open(_exits(OTHER_KEYSET, 0, _repeat(23, 64), RECIPIENT));
        assertEq(vault.exitAllowance(KEYSET), 2_000 * OPG, "each keyset has its own");
    }

    function test_exitAllowance_IsNothingWhereARefundLoweredTheCap() public {
        address claimKey = _deposit(ICreditDeposits.DepositSize.Hundred, 0);
        vm.warp(START + 1 hours);
        vm.prank(PAYER);
        vault.requestRefund(KEYSET, claimKey);
        vm.warp(START + 25 hours);
        uint64 allowed = Units.unwrap(vault.exitAllowance(KEYSET));
        assertEq(allowed, 2_010 * OPG, "a tenth of all");
        for (uint256 i = 0; i < 239; i += 64) {
            _open(_exits(i, _repeat(23, i == 192 ? 47 : 64)));
        }
        _open(_exits(300, _exponentsOf(allowed - 239 * (1 << 23))));
        vault.finishRefund(KEYSET, claimKey);
        assertEq(vault.exitAllowance(KEYSET), 0, "below what was opened");
        vm.warp((START / 1 days + 2) * 1 days);
        assertEq(vault.exitAllowance(KEYSET), 2_000 * OPG, "the next day");
    }

    function test_exitAllowance_RefusesAnUnknownKeyset() public {
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetUnknown.selector, OTHER_KEYSET));
        vault.exitAllowance(OTHER_KEYSET);
    }

    function test_challengeExit_GivesTheDayBack() public {
        Exits memory exits = _exits(0, hex"1717");
        _open(exits);
        vault.challengeExit(KEYSET, vm.addr(_exitKey(0)), _secretOf(0));
        assertEq(vault.exitAllowance(KEYSET), 2_000 * OPG - (1 << 23), "one is left");
        vm.warp((START / 1 days + 1) * 1 days);
        vault.challengeExit(KEYSET, vm.addr(_exitKey(1)), _secretOf(1));
        assertEq(vault.exitAllowance(KEYSET), 2_000 * OPG, "no other day");
        _open(_exits(2, hex"00"));
        assertEq(vault.exitAllowance(KEYSET), 2_000 * OPG - 1, "the new day counts from nothing");
    }

    function _repeat(uint8 exponent, uint256 count) private pure returns (bytes memory exponents) {
        exponents = new bytes(count);
        for (uint256 i = 0; i < count; i++) {
            exponents[i] = bytes1(exponent);
        }
    }

    // Challenges

    function test_challengeExit_CancelsForEver() public {
        Exits memory exits = _exits(0, hex"05");
        _open(exits);
        vm.expectEmit(address(vault));
        emit ICreditExits.ExitCancelled(exits.ids[0], _secretOf(0));
        vm.prank(STRANGER);
        vault.challengeExit(KEYSET, vm.addr(_exitKey(0)), _secretOf(0));
        bytes4 selector = ICreditExits.VaultExitIs.selector;
        bytes memory refusal = abi.encodeWithSelector(selector, exits.ids[0], ICreditExits.ExitState.Cancelled);
        _refuse(exits, refusal);
        vm.expectRevert(refusal);
        vault.challengeExit(KEYSET, vm.addr(_exitKey(0)), _secretOf(0));
        vm.warp(START + 24 hours);
        vm.expectRevert(refusal);
        vault.finishExits(exits.ids);
    }

    function test_challengeExit_RefusesWhatIsNotItsSecret() public {
        Exits memory exits = _exits(0, hex"05");
        _open(exits);
        CreditId other = vault.creditId(KEYSET, vm.addr(_exitKey(0)), keccak256(abi.encodePacked(_secretOf(1))));
        vm.expectRevert(
            abi.encodeWithSelector(ICreditExits.VaultExitIs.selector, other, ICreditExits.ExitState.None)
        );
        vault.challengeExit(KEYSET, vm.addr(_exitKey(0)), _secretOf(1));
        assertEq(_exitState(exits.ids[0]), ICreditExits.ExitState.Open, "still open");
    }

    function test_challengeExit_WorksUntilItIsPaid() public {
        Exits memory exits = _exits(0, hex"0505");
        _open(exits);
        vm.warp(START + 3 days);
        vault.challengeExit(KEYSET, vm.addr(_exitKey(0)), _secretOf(0));
        CreditId[] memory left = new CreditId[](1);
        left[0] = exits.ids[1];
        vault.finishExits(left);
        vm.expectRevert(
            abi.encodeWithSelector(ICreditExits.VaultExitIs.selector, left[0], ICreditExits.ExitState.Paid)
        );
        vault.challengeExit(KEYSET, vm.addr(_exitKey(1)), _secretOf(1));
    }

    // Paying

    function test_finishExits_PaysAfterTheWindow() public {
        Exits memory exits = _exits(0, hex"0006");
        _open(exits);
        vm.warp(START + 24 hours - 1);
        vm.expectRevert(abi.encodeWithSelector(ICreditExits.VaultExitNotReady.selector, START + 24 hours));
        vault.finishExits(exits.ids);
        vm.warp(START + 24 hours);
        vm.expectEmit(address(vault));
        emit ICreditExits.ExitsPaid(KEYSET, RECIPIENT, Units.wrap(65), exits.ids);
        vm.prank(STRANGER);
        vault.finishExits(exits.ids);
        assertEq(_one(RECIPIENT), 65, "paid");
        assertEq(settlement.keysetTotals(KEYSET).exited, 65, "exited");
        assertEq(_deposited(KEYSET), BEHIND, "deposits stay what they were");
        vm.expectRevert(
            abi.encodeWithSelector(ICreditExits.VaultExitIs.selector, exits.ids[0], ICreditExits.ExitState.Paid)
        );
        vault.finishExits(exits.ids);
    }

    function test_finishExits_RefusesOneTwiceInOneCall() public {
        Exits memory exits = _exits(0, hex"05");
        _open(exits);
        vm.warp(START + 24 hours);
        CreditId[] memory twice = new CreditId[](2);
        (twice[0], twice[1]) = (exits.ids[0], exits.ids[0]);
        vm.expectRevert(
            abi.encodeWithSelector(ICreditExits.VaultExitIs.selector, twice[1], ICreditExits.ExitState.Paid)
        );
        vault.finishExits(twice);
    }

    function test_finishExits_RefusesDifferentRecipientsAndKeysets() public {
        _openKeyset(OTHER_KEYSET, issuer);
        _endow(OTHER_KEYSET, 1_000);
        Exits memory one = _exits(0, hex"05");
        Exits[2] memory others;
        others[0] = _exits(KEYSET, 1, hex"05", STRANGER);
        others[1] = _exits(OTHER_KEYSET, 2, hex"05", RECIPIENT);
        _open(one);
        for (uint256 i = 0; i < 2; i++) {
            _open(others[i]);
        }
        vm.warp(START + 24 hours);
        CreditId[] memory mixed = new CreditId[](2);
        mixed[0] = one.ids[0];
        for (uint256 i = 0; i < 2; i++) {
            mixed[1] = others[i].ids[0];
            vm.expectRevert(abi.encodeWithSelector(ICreditExits.VaultExitsDiffer.selector, mixed[1]));
            vault.finishExits(mixed);
        }
    }

    function test_finishExits_RefusesNoneAndUnknownOnes() public {
        vm.expectRevert(ICreditExits.VaultNoCredits.selector);
        vault.finishExits(new CreditId[](0));
        CreditId[] memory unknown = new CreditId[](1);
        vm.expectRevert(
            abi.encodeWithSelector(ICreditExits.VaultExitIs.selector, unknown[0], ICreditExits.ExitState.None)
        );
        vault.finishExits(unknown);
    }

    /// A stolen issuer key signs more credits than there is money: exits end where the keyset's own does, and others keep theirs.
    function test_finishExits_NeverPaysMoreThanIsBehindTheKeyset() public {
        _openKeyset(OTHER_KEYSET, issuer);
        _endow(OTHER_KEYSET, 100);
        Exits memory first = _exits(OTHER_KEYSET, 0, hex"06", RECIPIENT);
        Exits memory second = _exits(OTHER_KEYSET, 1, hex"06", RECIPIENT);
        _open(first);
        _open(second);
        vm.warp(START + 24 hours);
        vault.finishExits(first.ids);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetDrained.selector, 36, 64));
        vault.finishExits(second.ids);
        assertEq(settlement.keysetTotals(OTHER_KEYSET).exited, 64, "exited");
        assertEq(_exitState(second.ids[0]), ICreditExits.ExitState.Open, "kept");
        _endow(OTHER_KEYSET, 28);
        vault.finishExits(second.ids);
        assertEq(_one(RECIPIENT), 128, "paid when there is money");
    }

    function test_finishExits_NeverPaysWhatClearingsClaim() public {
        _settle(_clearing(BEHIND, BEHIND - 63, _gateway(0), 1));
        Exits memory exits = _exits(0, hex"06");
        _open(exits);
        vm.warp(START + 24 hours);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetDrained.selector, 63, 64));
        vault.finishExits(exits.ids);
    }

    function test_exits_WorkWhilePaused() public {
        vm.prank(GUARDIAN);
        vault.pause();
        Exits memory exits = _exits(0, hex"0505");
        _open(exits);
        vault.challengeExit(KEYSET, vm.addr(_exitKey(0)), _secretOf(0));
        vm.warp(START + 24 hours);
        CreditId[] memory left = new CreditId[](1);
        left[0] = exits.ids[1];
        vault.finishExits(left);
        assertEq(_one(RECIPIENT), 32, "paid");
    }
}

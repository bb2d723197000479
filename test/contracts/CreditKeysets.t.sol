// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Bls12381} from "../../contracts/credits/Bls12381.sol";
import {ICreditKeysets} from "../../contracts/interfaces/ICreditKeysets.sol";
import {EnclaveId, EnclaveRole, KeysetId} from "../../contracts/types/Types.sol";
import {CreditStage} from "./utils/CreditStage.sol";
import {TestKeyset} from "./utils/TestKeyset.sol";
import {vm} from "./utils/Vm.sol";

contract CreditKeysetsTest is CreditStage {
    /// On the curve, but not in the subgroup: x = 2.
    bytes private constant OUTSIDE =
        hex"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000002000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000018c6b864ae17dc9da64203ffefb966306425a7bc6aeb7c75247438372716284a4173830420cd476ba1a365b95bfcec3800000000000000000000000000000000172e93db764a8400a7d5071b6b6f5de0da2f0f4a063119abca014006b7c40a2cfe291a1924e65db0d6d0fcfbf3bf3d5c";
    EnclaveId private constant WRITER = EnclaveId.wrap(address(0x3417E5));
    uint256 private constant SUCCESSOR_KEY = 0x5CC;

    // Opening

    function test_openKeyset_StoresKeysTimesAndWriter() public {
        bytes memory keys = TestKeyset.keysOf(1);
        vm.expectEmit(address(vault));
        emit ICreditKeysets.KeysetOpened(OTHER_KEYSET, WRITER, 2, _times(), keys);
        KeysetId keyset = vault.openKeyset(keys, _times(), WRITER);
        assertEq(KeysetId.unwrap(keyset), KeysetId.unwrap(OTHER_KEYSET), "id");
        ICreditKeysets.Keyset memory opened = vault.keysetOf(keyset);
        assertEq(EnclaveId.unwrap(opened.writer), EnclaveId.unwrap(WRITER), "writer");
        assertEq(opened.number, 2, "number");
        assertEq(opened.deposited, 0, "deposited");
        assertEq(vault.keysetCount(), 2, "count");
        assertEq(keccak256(abi.encode(vault.keysetTimes(keyset))), keccak256(abi.encode(_times())), "times");
        for (uint256 i = 0; i < 24; i++) {
            assertEq(vault.keyHashOf(keyset, i), keccak256(TestKeyset.keyOf(1, i)), "key");
        }
    }

    function test_keyHashOf_KnowsTwentyFourExponents() public {
        assertEq(vault.keyHashOf(OTHER_KEYSET, 23), bytes32(0), "of an unknown keyset");
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultExponentUnknown.selector, 24));
        vault.keyHashOf(KEYSET, 24);
    }

    function test_openKeyset_IsTheOwnersAlone() public {
        bytes memory keys = TestKeyset.keysOf(1);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, STRANGER));
        vm.prank(STRANGER);
        vault.openKeyset(keys, _times(), WRITER);
    }

    function test_openKeyset_OpensOnce() public {
        bytes memory keys = TestKeyset.keysOf(0);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetExists.selector, KEYSET));
        vault.openKeyset(keys, _times(), WRITER);
    }

    function test_openKeyset_RefusesNoWriter() public {
        bytes memory keys = TestKeyset.keysOf(1);
        vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
        vault.openKeyset(keys, _times(), EnclaveId.wrap(address(0)));
    }

    function test_openKeyset_RefusesPhasesOutOfOrder() public {
        bytes memory keys = TestKeyset.keysOf(1);
        ICreditKeysets.KeysetTimes[4] memory wrong = [_times(), _times(), _times(), _times()];
        wrong[0].signUntil = SPEND_UNTIL;
        wrong[1].spendUntil = SIGN_UNTIL;
        wrong[2].exitUntil = SPEND_UNTIL + 365 days - 1;
        wrong[3].spendUntil = type(uint40).max;
        for (uint256 i = 0; i < 4; i++) {
            vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultPhasesOutOfOrder.selector, wrong[i]));
            vault.openKeyset(keys, wrong[i], WRITER);
        }
        ICreditKeysets.KeysetTimes memory shortest = _times();
        shortest.spendUntil = shortest.signUntil + 1;
        shortest.exitUntil = shortest.spendUntil + 365 days;
        vault.openKeyset(keys, shortest, WRITER);
    }

    function test_openKeyset_RefusesAnotherLength() public {
        bytes memory keys = TestKeyset.keysOf(1);
        bytes memory longer = bytes.concat(keys, TestKeyset.keyOf(2, 0));
        bytes memory shorter = keys;
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultBytesLength.selector, 6_144, 6_400));
        vault.openKeyset(longer, _times(), WRITER);
        assembly ("memory-safe") {
            mstore(shorter, 6143)
        }
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultBytesLength.selector, 6_144, 6_143));
        vault.openKeyset(shorter, _times(), WRITER);
    }

    function _keysWith(uint256 place, bytes memory key) private view returns (bytes memory keys) {
        keys = TestKeyset.keysOf(1);
        for (uint256 i = 0; i < 256; i++) {
            keys[place * 256 + i] = key[i];
        }
    }

    function test_openKeyset_RefusesTheIdentity() public {
        for (uint256 place = 0; place < 24; place += 23) {
            bytes memory keys = _keysWith(place, new bytes(256));
            vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeyIsIdentity.selector, place));
            vault.openKeyset(keys, _times(), WRITER);
        }
    }

    function test_openKeyset_RefusesARepeatedKey() public {
        bytes memory keys = _keysWith(23, TestKeyset.keyOf(1, 0));
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeyRepeated.selector, 23));
        vault.openKeyset(keys, _times(), WRITER);
    }

    function test_openKeyset_RefusesWhatIsNoPointOfTheSubgroup() public {
        bytes memory notOnCurve = TestKeyset.keyOf(1, 23);
        notOnCurve[255] ^= 0x01;
        bytes memory notCanonical = TestKeyset.keyOf(1, 23);
        notCanonical[0] = 0x01;
        bytes[3] memory wrong = [OUTSIDE, notOnCurve, notCanonical];
        for (uint256 i = 0; i < 3; i++) {
            bytes memory keys = _keysWith(i == 0 ? 0 : 23, wrong[i]);
            vm.expectRevert(abi.encodeWithSelector(Bls12381.Bls12381Refused.selector, 0x0f));
            vault.openKeyset{gas: 10_000_000}(keys, _times(), WRITER);
        }
    }

    // Succession

    function _succession(KeysetId keyset, EnclaveId successor, uint256 key)
        private
        view
        returns (bytes32 r, bytes32 vs)
    {
        bytes32 typeHash = keccak256("Succession(bytes32 keyset,address successor)");
        return vm.signCompact(key, _vaultDigest(keccak256(abi.encode(typeHash, keyset, successor))));
    }

    function _takeOver(EnclaveId successor, uint256 key) private {
        (bytes32 r, bytes32 vs) = _succession(KEYSET, successor, key);
        vm.prank(STRANGER);
        vault.takeOver(KEYSET, successor, r, vs);
    }

    function _assertUnfit(EnclaveId successor) private {
        (bytes32 r, bytes32 vs) = _succession(KEYSET, successor, ISSUER_KEY);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultSuccessorUnfit.selector, successor));
        vault.takeOver(KEYSET, successor, r, vs);
    }

    function test_takeOver_NamesTheNewWriter() public {
        EnclaveId successor = _register(SUCCESSOR_KEY, EnclaveRole.Issuer, OPERATOR);
        (bytes32 r, bytes32 vs) = _succession(KEYSET, successor, ISSUER_KEY);
        vm.expectEmit(address(vault));
        emit ICreditKeysets.KeysetTakenOver(KEYSET, successor);
        vault.takeOver(KEYSET, successor, r, vs);
        ICreditKeysets.Keyset memory keyset = vault.keysetOf(KEYSET);
        assertEq(EnclaveId.unwrap(keyset.writer), EnclaveId.unwrap(successor), "writer");
        assertEq(keyset.number, 1, "the rest stays");
        assertEq(keccak256(abi.encode(vault.keysetTimes(KEYSET))), keccak256(abi.encode(_times())), "times stay");
        // The former writer has nothing to say any more, and the new one can pass it on.
        EnclaveId third = _register(SUCCESSOR_KEY + 1, EnclaveRole.Issuer, OPERATOR);
        (r, vs) = _succession(KEYSET, third, ISSUER_KEY);
        vm.expectRevert(
            abi.encodeWithSelector(
                ICreditKeysets.VaultSuccessionNotSigned.selector, successor, EnclaveId.unwrap(issuer)
            )
        );
        vault.takeOver(KEYSET, third, r, vs);
        _takeOver(third, SUCCESSOR_KEY);
        assertEq(EnclaveId.unwrap(vault.keysetOf(KEYSET).writer), EnclaveId.unwrap(third), "third");
    }

    function test_takeOver_WorksAfterTheWriterHasEnded() public {
        vm.prank(OPERATOR);
        registry.retire(issuer);
        vm.warp(_now() + 4 days);
        _takeOver(_register(SUCCESSOR_KEY, EnclaveRole.Issuer, OPERATOR), ISSUER_KEY);
    }

    function test_takeOver_RefusesASuccessorThatIsNoActiveIssuerOfTheSameOperator() public {
        _assertUnfit(EnclaveId.wrap(vm.addr(SUCCESSOR_KEY)));
        _assertUnfit(_gateway(0));
        _assertUnfit(_register(SUCCESSOR_KEY, EnclaveRole.Issuer, STRANGER));
        EnclaveId retired = _register(SUCCESSOR_KEY + 1, EnclaveRole.Issuer, OPERATOR);
        vm.prank(OPERATOR);
        registry.retire(retired);
        _assertUnfit(retired);
    }

    function test_takeOver_RefusesACompromisedWriter() public {
        EnclaveId successor = _register(SUCCESSOR_KEY, EnclaveRole.Issuer, OPERATOR);
        vm.prank(address(settlement));
        registry.markCompromised(issuer, STRANGER);
        _assertUnfit(successor);
    }

    function test_takeOver_RefusesAWriterThatWasNeverRegistered() public {
        _openKeyset(OTHER_KEYSET, EnclaveId.wrap(vm.addr(SUCCESSOR_KEY)));
        (bytes32 r, bytes32 vs) = _succession(OTHER_KEYSET, issuer, SUCCESSOR_KEY);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultSuccessorUnfit.selector, issuer));
        vault.takeOver(OTHER_KEYSET, issuer, r, vs);
    }

    function test_takeOver_RefusesAnythingElseSigned() public {
        EnclaveId successor = _register(SUCCESSOR_KEY, EnclaveRole.Issuer, OPERATOR);
        (bytes32 r, bytes32 vs) = _succession(OTHER_KEYSET, successor, ISSUER_KEY);
        vm.expectPartialRevert(ICreditKeysets.VaultSuccessionNotSigned.selector);
        vault.takeOver(KEYSET, successor, r, vs);
        (r, vs) = _succession(KEYSET, issuer, ISSUER_KEY);
        vm.expectPartialRevert(ICreditKeysets.VaultSuccessionNotSigned.selector);
        vault.takeOver(KEYSET, successor, r, vs);
        vm.expectPartialRevert(ICreditKeysets.VaultSuccessionNotSigned.selector);
        vault.takeOver(KEYSET, successor, 0, 0);
    }

    function test_takeOver_RefusesAnUnknownKeyset() public {
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetUnknown.selector, OTHER_KEYSET));
        vault.takeOver(OTHER_KEYSET, issuer, 0, 0);
    }
}

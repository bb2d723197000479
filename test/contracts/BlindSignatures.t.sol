// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BlindSignatures} from "../../contracts/credits/BlindSignatures.sol";
import {Bls12381} from "../../contracts/credits/Bls12381.sol";
import {Check} from "./utils/Check.sol";
import {PlainBls} from "./utils/PlainBls.sol";
import {TestKeyset} from "./utils/TestKeyset.sol";
import {vm} from "./utils/Vm.sol";

contract BlindSignaturesTest is Check {
    /// On the curve, but not in the subgroup: x = 4.
    bytes private constant OUTSIDE =
        hex"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000004000000000000000000000000000000000a989badd40d6212b33cffc3f3763e9bc760f988c9926b26da9dd85e928483446346b8ed00e1de5d5ea93e354abe706c";
    uint256 private constant G1_MSM = 0x0c;
    uint256 private constant PAIRING_CHECK = 0x0f;

    struct Case {
        bytes keys;
        bytes points;
        bytes signatures;
        uint256[] ends;
    }

    /// Checks a batch from calldata, as the vault does.
    function check(bytes calldata keys, bytes calldata points, bytes calldata signatures, uint256[] calldata ends)
        external
        view
    {
        uint256 count = ends[ends.length - 1];
        BlindSignatures.Batch memory batch = BlindSignatures.start(count, keys, ends);
        for (uint256 i = 0; i < count; i++) {
            BlindSignatures.add(batch, i, signatures, points);
        }
        BlindSignatures.requireRight(batch);
    }

    function _check(Case memory c) private view {
        // A precompile that refuses consumes all it is given.
        this.check{gas: 20_000_000}(c.keys, c.points, c.signatures, c.ends);
    }

    function _assertWrong(Case memory c) private {
        vm.expectRevert(BlindSignatures.BlindSignaturesWrong.selector);
        _check(c);
    }

    function _assertRefusedBy(uint256 precompile, Case memory c) private {
        vm.expectRevert(abi.encodeWithSelector(Bls12381.Bls12381Refused.selector, precompile));
        _check(c);
    }

    /// `groups` groups of `each` signatures, under keys of their own.
    function _case(uint256 groups, uint256 each) private view returns (Case memory c) {
        c.ends = new uint256[](groups);
        for (uint256 group = 0; group < groups; group++) {
            c.keys = bytes.concat(c.keys, TestKeyset.keyOf(0, group));
            for (uint256 i = 0; i < each; i++) {
                bytes memory point = PlainBls.hashToG1(keccak256(abi.encode(group, i)));
                c.points = bytes.concat(c.points, point);
                c.signatures = bytes.concat(c.signatures, TestKeyset.signPoint(0, group, point));
            }
            c.ends[group] = (group + 1) * each;
        }
    }

    function _slice(bytes memory source, uint256 start, uint256 length) private pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i = 0; i < length; i++) {
            part[i] = source[start + i];
        }
    }

    function _put(bytes memory target, uint256 start, bytes memory part) private pure {
        for (uint256 i = 0; i < part.length; i++) {
            target[start + i] = part[i];
        }
    }

    function test_requireRight_AcceptsRightOnes() public view {
        _check(_case(1, 1));
        _check(_case(1, 2));
        _check(_case(2, 1));
        _check(_case(3, 4));
        _check(_case(24, 1));
    }

    function test_requireRight_RefusesAnotherKey() public {
        Case memory c = _case(1, 1);
        c.keys = TestKeyset.keyOf(0, 1);
        _assertWrong(c);
        c = _case(2, 2);
        c.keys = bytes.concat(TestKeyset.keyOf(0, 1), TestKeyset.keyOf(0, 0));
        _assertWrong(c);
    }

    function test_requireRight_RefusesAnotherGrouping() public {
        Case memory c = _case(2, 2);
        c.ends[0] = 1;
        _assertWrong(c);
        c.ends[0] = 3;
        _assertWrong(c);
    }

    function test_requireRight_RefusesOneWrongAmongMany() public {
        for (uint256 i = 0; i < 6; i++) {
            Case memory c = _case(2, 3);
            // Right for another point, and in the subgroup.
            _put(c.signatures, i * 128, TestKeyset.signPoint(0, i / 3, PlainBls.G1));
            _assertWrong(c);
        }
    }

    function test_requireRight_RefusesSwappedSignatures() public {
        Case memory c = _case(1, 2);
        c.signatures = bytes.concat(_slice(c.signatures, 128, 128), _slice(c.signatures, 0, 128));
        _assertWrong(c);
    }

    /// The attack that weights are for: the issuer blindly signs P_1 + P_2, and its signature is split into R and the rest. The sums are
    /// right, and neither is a signature.
    function test_requireRight_RefusesASplitSignature() public {
        Case memory c = _case(1, 2);
        bytes memory sum = PlainBls.add(_slice(c.points, 0, 128), _slice(c.points, 128, 128));
        bytes memory signed = TestKeyset.signPoint(0, 0, sum);
        bytes memory split = PlainBls.multiply(PlainBls.G1, 12_345);
        bytes memory rest = PlainBls.add(signed, PlainBls.multiply(split, PlainBls.ORDER - 1));
        c.signatures = bytes.concat(split, rest);
        // What a check without weights would look at.
        Case memory unweighted;
        unweighted.keys = c.keys;
        unweighted.points = sum;
        unweighted.signatures = PlainBls.add(split, rest);
        unweighted.ends = new uint256[](1);
        unweighted.ends[0] = 1;
        _check(unweighted);
        _assertWrong(c);
    }

    /// The same over two keys: the parts move between the groups.
    function test_requireRight_RefusesSignaturesShiftedBetweenGroups() public {
        Case memory c = _case(2, 1);
        bytes memory shift = PlainBls.multiply(PlainBls.G1, 777);
        bytes memory back = PlainBls.multiply(shift, PlainBls.ORDER - 1);
        c.signatures = bytes.concat(
            PlainBls.add(_slice(c.signatures, 0, 128), shift), PlainBls.add(_slice(c.signatures, 128, 128), back)
        );
        _assertWrong(c);
    }

    function test_requireRight_RefusesPointsOutsideOfTheSubgroup() public {
        Case memory c = _case(1, 1);
        c.signatures = OUTSIDE;
        _assertRefusedBy(PAIRING_CHECK, c);
        c = _case(1, 1);
        c.points = OUTSIDE;
        _assertRefusedBy(PAIRING_CHECK, c);
        c = _case(1, 2);
        _put(c.signatures, 128, OUTSIDE);
        _assertRefusedBy(G1_MSM, c);
        c = _case(1, 2);
        _put(c.points, 128, OUTSIDE);
        _assertRefusedBy(G1_MSM, c);
    }

    /// A point of small order added to a signature drops out where a weight happens to be a multiple of it: the subgroup check stands before.
    function test_requireRight_RefusesASignatureMovedOutOfTheSubgroup() public {
        Case memory c = _case(1, 2);
        _put(c.signatures, 0, PlainBls.add(_slice(c.signatures, 0, 128), OUTSIDE));
        _assertRefusedBy(G1_MSM, c);
    }

    function test_requireRight_RefusesEncodingsThatAreNotCanonical() public {
        // Padding that is not zero.
        Case memory c = _case(1, 2);
        c.signatures[0] = 0x01;
        _assertRefusedBy(G1_MSM, c);
        // A coordinate of p more.
        c = _case(1, 2);
        c.points[16] = 0xff;
        _assertRefusedBy(G1_MSM, c);
        // Not on the curve.
        c = _case(1, 1);
        c.signatures[127] ^= 0x01;
        _assertRefusedBy(PAIRING_CHECK, c);
    }

    function test_requireRight_RefusesTheIdentity() public {
        Case memory c = _case(1, 1);
        c.signatures = new bytes(128);
        _assertWrong(c);
        c = _case(1, 2);
        _put(c.signatures, 0, new bytes(128));
        _assertWrong(c);
    }

    function testFuzz_requireRight_RefusesAnyFlippedBit(uint256 seed) public view {
        Case memory c = _case(2, 2);
        uint256 bit = seed % (4 * 128 * 8);
        bytes memory target = seed >> 16 & 1 == 0 ? c.signatures : c.points;
        target[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        try this.check{gas: 20_000_000}(c.keys, c.points, c.signatures, c.ends) {
            revert("accepted");
        } catch {}
    }

    function test_blinding_ComesOff() public view {
        bytes memory point = PlainBls.hashToG1(keccak256("message"));
        bytes memory blind = TestKeyset.signPoint(0, 3, PlainBls.multiply(point, 0xB11D));
        assertEq(
            PlainBls.multiply(blind, PlainBls.inverse(0xB11D)), TestKeyset.sign(0, 3, keccak256("message")), "signature"
        );
    }
}

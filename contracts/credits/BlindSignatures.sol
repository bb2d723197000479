// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Bls12381} from "./Bls12381.sol";

/// @title BlindSignatures
/// Checks that every C_i is the multiple of P_i by the secret key behind PK_d, for many points P_i under several keys at once:
///
///     e(sum over all i of w_i C_i, -G2) * product over d of e(sum over the i of d of w_i P_i, PK_d) == 1
///
/// P_i is a credit's point when it leaves, and a blinded point when an issuer shows what it signed.
///
/// Without weights the check is forgeable: one blind signature of P_1 + P_2 splits into two values that add up right, and neither is a
/// signature. The weights w_i are 128 bits of a hash over everything that is checked (Fiat-Shamir), so that nobody can choose points
/// after weights; a wrong batch passes with probability 2^-128 (Bellare, Garay, Rabin 1998, small exponents test). One signature needs
/// no weight.
///
/// Points that come from outside are checked by the precompiles: multiplication and pairing refuse what is not in the subgroup.
library BlindSignatures {
    /// A batch being filled. Terms are points with room for their weights, as the precompile reads them.
    /// @param signatures Terms of C_i.
    /// @param points Terms of P_i, in the same order.
    /// @param pairs What is paired: first the sum of signatures with -G2, then each group's sum with its key.
    /// @param ends For each group, the index after its last point.
    struct Batch {
        bytes signatures;
        bytes points;
        bytes pairs;
        uint256[] ends;
    }

    // -G2, the generator with its y negated: x.c0, x.c1, y.c0, y.c1.
    uint256 private constant X0_HIGH = 0x00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051;
    uint256 private constant X0_LOW = 0xc6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8;
    uint256 private constant X1_HIGH = 0x0000000000000000000000000000000013e02b6052719f607dacd3a088274f65;
    uint256 private constant X1_LOW = 0x596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e;
    uint256 private constant Y0_HIGH = 0x000000000000000000000000000000000d1b3cc2c7027888be51d9ef691d77bc;
    uint256 private constant Y0_LOW = 0xb679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa;
    uint256 private constant Y1_HIGH = 0x0000000000000000000000000000000013fa4d4a0ad8b1ce186ed5061789213d;
    uint256 private constant Y1_LOW = 0x993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed;

    error BlindSignaturesWrong();

    /// A batch of `count` signatures in groups that end before `ends`, each under one of `keys`, 256 bytes each. No group is empty. The caller
    /// knows that the keys are the issuer's, and not the identity.
    function start(uint256 count, bytes calldata keys, uint256[] memory ends)
        internal
        pure
        returns (Batch memory batch)
    {
        uint256 groups = ends.length;
        batch.ends = ends;
        batch.signatures = new bytes(count * Bls12381.TERM_BYTES);
        batch.points = new bytes(count * Bls12381.TERM_BYTES);
        batch.pairs = new bytes((groups + 1) * Bls12381.PAIR_BYTES);
        uint256 pair = _start(batch.pairs) + Bls12381.G1_BYTES;
        _writeNegatedGenerator(pair);
        // Each pair is allocated above.
        for (uint256 i = 0; i < groups; i++) {
            pair += Bls12381.PAIR_BYTES;
            _copy(keys, i * Bls12381.G2_BYTES, Bls12381.G2_BYTES, pair);
        }
    }

    /// Adds signature `i` of `signatures`, 128 bytes each. Answers where its point of 128 bytes belongs in memory.
    function add(Batch memory batch, uint256 i, bytes calldata signatures) internal pure returns (uint256 point) {
        uint256 offset = i * Bls12381.TERM_BYTES;
        _copy(signatures, i * Bls12381.G1_BYTES, Bls12381.G1_BYTES, _start(batch.signatures) + offset);
        return _start(batch.points) + offset;
    }

    /// The same with a point of `points`, 128 bytes each.
    function add(Batch memory batch, uint256 i, bytes calldata signatures, bytes calldata points) internal pure {
        _copy(points, i * Bls12381.G1_BYTES, Bls12381.G1_BYTES, add(batch, i, signatures));
    }

    /// Requires that every signature of a batch is right, once all are added.
    function requireRight(Batch memory batch) internal view {
        uint256 signatures = _start(batch.signatures);
        uint256 points = _start(batch.points);
        uint256 pair = _start(batch.pairs);
        uint256 groups = batch.ends.length;
        uint256 count = batch.ends[groups - 1];
        if (count == 1) {
            _move(signatures, pair);
            _move(points, pair + Bls12381.PAIR_BYTES);
        } else {
            _weigh(batch, count);
            Bls12381.multiplyG1(signatures, count, pair);
            uint256 from = 0;
            for (uint256 i = 0; i < groups; i++) {
                pair += Bls12381.PAIR_BYTES;
                uint256 end = batch.ends[i];
                Bls12381.multiplyG1(points + from * Bls12381.TERM_BYTES, end - from, pair);
                from = end;
            }
        }
        require(Bls12381.isPairingOne(_start(batch.pairs), groups + 1), BlindSignaturesWrong());
    }

    /// Gives signature and point of each index the same weight. The seed covers keys, groups, points and signatures: all that can be chosen.
    function _weigh(Batch memory batch, uint256 count) private pure {
        bytes32 seed = keccak256(
            abi.encode(
                keccak256(batch.pairs),
                keccak256(abi.encodePacked(batch.ends)),
                keccak256(batch.points),
                keccak256(batch.signatures)
            )
        );
        uint256 signature = _start(batch.signatures) + Bls12381.G1_BYTES;
        uint256 point = _start(batch.points) + Bls12381.G1_BYTES;
        for (uint256 i = 0; i < count; i++) {
            uint256 weight = uint128(uint256(keccak256(abi.encode(seed, i))));
            // A weight of zero would leave its signature unchecked.
            if (weight == 0) weight = 1;
            assembly ("memory-safe") {
                mstore(signature, weight)
                mstore(point, weight)
            }
            signature += Bls12381.TERM_BYTES;
            point += Bls12381.TERM_BYTES;
        }
    }

    function _writeNegatedGenerator(uint256 target) private pure {
        assembly ("memory-safe") {
            mstore(target, X0_HIGH)
            mstore(add(target, 0x20), X0_LOW)
            mstore(add(target, 0x40), X1_HIGH)
            mstore(add(target, 0x60), X1_LOW)
            mstore(add(target, 0x80), Y0_HIGH)
            mstore(add(target, 0xa0), Y0_LOW)
            mstore(add(target, 0xc0), Y1_HIGH)
            mstore(add(target, 0xe0), Y1_LOW)
        }
    }

    /// Where the bytes of an array begin.
    function _start(bytes memory array) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            position := add(array, 0x20)
        }
    }

    /// Callers checked the length of `source`, and `target` is inside of an array of the batch.
    function _copy(bytes calldata source, uint256 offset, uint256 length, uint256 target) private pure {
        assembly ("memory-safe") {
            calldatacopy(target, add(source.offset, offset), length)
        }
    }

    /// Copies one point of G1 within memory.
    function _move(uint256 source, uint256 target) private pure {
        assembly ("memory-safe") {
            mcopy(target, source, 0x80)
        }
    }
}

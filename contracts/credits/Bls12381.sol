// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Bls12381
/// The precompiled contracts of EIP-2537. Points are in its encoding: coordinates of 64 bytes, big-endian, the first 16 of them zero; all
/// zeros is the identity. Arguments are positions in memory, because points are written where the next precompile reads them.
///
/// What the precompiles check of every point: coordinates below p, padding zero, on the curve; multiplication and pairing also that it is
/// in the subgroup of prime order. Addition does not: add only points that were mapped or multiplied.
/// A precompile that refuses consumes all the gas it was given and reverts here with `Bls12381Refused`; so does a chain without it.
library Bls12381 {
    uint256 internal constant FIELD_BYTES = 64;
    uint256 internal constant G1_BYTES = 128;
    uint256 internal constant G2_BYTES = 256;
    /// A point of G1 and its factor: one term of `multiplyG1`.
    uint256 internal constant TERM_BYTES = 160;
    /// A point of G1 and one of G2: one factor of `isPairingOne`.
    uint256 internal constant PAIR_BYTES = 384;

    uint256 private constant G1_ADD = 0x0b;
    uint256 private constant G1_MSM = 0x0c;
    uint256 private constant PAIRING_CHECK = 0x0f;
    uint256 private constant MAP_FP_TO_G1 = 0x10;

    /// @param precompile Address of the precompiled contract.
    error Bls12381Refused(uint256 precompile);

    /// Sum of the two points at `input`. 375 gas.
    function addG1(uint256 input, uint256 output) internal view {
        _call(G1_ADD, input, 2 * G1_BYTES, output, G1_BYTES);
    }

    /// Sum of `count` multiples, each a point and its factor. Gas falls from 12,000 for one to about 6,900 each for 64.
    function multiplyG1(uint256 input, uint256 count, uint256 output) internal view {
        _call(G1_MSM, input, count * TERM_BYTES, output, G1_BYTES);
    }

    /// Maps the field element at `input`, cofactor cleared: RFC 9380 sections 6.6.3 and 8.8.1. 5,500 gas.
    function mapToG1(uint256 input, uint256 output) internal view {
        _call(MAP_FP_TO_G1, input, FIELD_BYTES, output, G1_BYTES);
    }

    /// Whether the product of `count` pairings is one. 37,700 gas and 32,600 for each. Writes over the first word of `input`.
    function isPairingOne(uint256 input, uint256 count) internal view returns (bool isOne) {
        _call(PAIRING_CHECK, input, count * PAIR_BYTES, input, 32);
        assembly ("memory-safe") {
            isOne := eq(mload(input), 1)
        }
    }

    /// Assembly: a high-level call copies what it sends and what it gets. The length of the answer tells a precompile from an empty account.
    function _call(uint256 precompile, uint256 input, uint256 inputBytes, uint256 output, uint256 outputBytes)
        private
        view
    {
        bool isAnswered;
        assembly ("memory-safe") {
            isAnswered := staticcall(gas(), precompile, input, inputBytes, output, outputBytes)
            isAnswered := and(isAnswered, eq(returndatasize(), outputBytes))
        }
        require(isAnswered, Bls12381Refused(precompile));
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CreditId, KeysetId} from "../types/Types.sol";
import {Bls12381} from "./Bls12381.sol";

/// @title CreditHash
/// What names a keyset and a credit, and the point of G1 that an issuer signs for a credit.
/// Twin of offchain/protocol/credits/{keyset,message}.ts.
library CreditHash {
    bytes32 internal constant KEYSET_TYPE = keccak256("Sealpath keyset v1");
    bytes32 internal constant CREDIT_TYPE = keccak256("Sealpath credit v1");

    /// Domain separation tag of RFC 9380 section 3.1, followed by its length: "SEALPATH-CREDIT-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_".
    uint256 private constant DST_PRIME_BYTES = 57;
    bytes32 private constant DST_PRIME_0 = "SEALPATH-CREDIT-V01-with-BLS1238";
    bytes32 private constant DST_PRIME_1 = "1G1_XMD:SHA-256_SSWU_RO_\x38";

    /// The prime of the field, in 48 bytes.
    uint256 private constant P_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// @param step 2 for SHA-256, 5 for MODEXP: the precompiled contract that failed.
    error CreditHashFailed(uint256 step);

    /// `times` are signUntil, spendUntil and exitUntil.
    function keysetId(bytes32[24] memory keyHashes, uint40[3] memory times) internal view returns (KeysetId) {
        return KeysetId.wrap(keccak256(abi.encode(KEYSET_TYPE, block.chainid, address(this), keyHashes, times)));
    }

    /// The message that is signed for a credit of this vault. The denomination is no part of it: it is which key signed.
    function creditId(KeysetId keyset, address exitKey, bytes32 hashT) internal view returns (CreditId) {
        return CreditId.wrap(
            keccak256(abi.encode(CREDIT_TYPE, block.chainid, address(this), keyset, exitKey, hashT))
        );
    }

    /// Writes the point of a message to 128 bytes of memory at `target`: hash_to_curve of the suite BLS12381G1_XMD:SHA-256_SSWU_RO_,
    /// RFC 9380 sections 3, 5.2, 5.3.1 and 8.8.1. About 14,200 gas, 11,375 of them in the mapping.
    ///
    /// Assembly: five hashes over inputs that share most of their bytes, in one place that is given back afterwards. The plain version of
    /// test/contracts/utils/PlainBls.sol takes at least 2,000 gas more for each point (a test says so). Compared with it, and with the
    /// vectors that TypeScript reads.
    ///
    /// Offsets from `free`; the right side is what each range holds:
    ///
    ///       0   64  zeros                      first input, 156 bytes: Z_pad, message, 128 as two bytes, a zero byte, DST_prime
    ///      64   32  message, then b_0 xor b_i  next inputs, 90 bytes, from 64 on: …, counter, DST_prime
    ///      96    3  00 80 00 / counter
    ///      99   57  DST_prime                  from 97 on for the next inputs
    ///     192   32  b_0
    ///     224   96  48-byte lengths of MODEXP: 64, 1, 48
    ///     320   64  b_1 b_2, then b_3 b_4      to be reduced
    ///     384    1  exponent 1
    ///     385   48  p
    ///     448   64  the field element: 16 zero bytes and what MODEXP answers
    ///     512  256  the two mapped points; 768 bytes in all
    function writePoint(bytes32 message, uint256 target) internal view {
        uint256 free;
        uint256 failed;
        bytes32 dst0 = DST_PRIME_0;
        bytes32 dst1 = DST_PRIME_1;
        assembly ("memory-safe") {
            free := mload(0x40)
            mstore(0x40, add(free, 768))
            // expand_message_xmd: b_0.
            mstore(free, 0)
            mstore(add(free, 32), 0)
            mstore(add(free, 64), message)
            mstore(add(free, 96), shl(232, 0x008000))
            mstore(add(free, 99), dst0)
            mstore(add(free, 131), dst1)
            let b0 := add(free, 192)
            let isFine := staticcall(gas(), 2, free, 156, b0, 32)
            // b_1, of b_0 itself.
            mstore(add(free, 64), mload(b0))
            mstore8(add(free, 96), 1)
            mstore(add(free, 97), dst0)
            mstore(add(free, 129), dst1)
            isFine := and(isFine, staticcall(gas(), 2, add(free, 64), 90, add(free, 320), 32))
            // b_2.
            mstore(add(free, 64), xor(mload(b0), mload(add(free, 320))))
            mstore8(add(free, 96), 2)
            isFine := and(isFine, staticcall(gas(), 2, add(free, 64), 90, add(free, 352), 32))
            // Where the rest of MODEXP's input and of the field element stay for both halves.
            mstore(add(free, 224), 64)
            mstore(add(free, 256), 1)
            mstore(add(free, 288), 48)
            mstore(add(free, 384), or(shl(248, 1), shl(120, P_HIGH)))
            mstore(add(free, 401), P_LOW)
            mstore(add(free, 448), 0)
            if iszero(isFine) { failed := 2 }
            if iszero(staticcall(gas(), 5, add(free, 224), 209, add(free, 464), 48)) { failed := 5 }
        }
        require(failed == 0, CreditHashFailed(failed));
        Bls12381.mapToG1(free + 448, free + 512);
        assembly ("memory-safe") {
            let b0 := add(free, 192)
            // b_3 and b_4.
            mstore(add(free, 64), xor(mload(b0), mload(add(free, 352))))
            mstore8(add(free, 96), 3)
            let isFine := staticcall(gas(), 2, add(free, 64), 90, add(free, 320), 32)
            mstore(add(free, 64), xor(mload(b0), mload(add(free, 320))))
            mstore8(add(free, 96), 4)
            isFine := and(isFine, staticcall(gas(), 2, add(free, 64), 90, add(free, 352), 32))
            if iszero(isFine) { failed := 2 }
            if iszero(staticcall(gas(), 5, add(free, 224), 209, add(free, 464), 48)) { failed := 5 }
        }
        require(failed == 0, CreditHashFailed(failed));
        Bls12381.mapToG1(free + 448, free + 640);
        Bls12381.addG1(free + 512, target);
        // Nothing points into it any more.
        assembly ("memory-safe") {
            mstore(0x40, free)
        }
    }
}

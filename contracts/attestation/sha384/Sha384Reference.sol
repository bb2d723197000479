// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Sha384Reference
/// SHA-384 as FIPS 180-4 writes it, to be read and to be compared with Sha384: same digests, about seventy times the gas.
library Sha384Reference {
    uint256 private constant BLOCK_BYTES = 128;
    uint256 private constant ROUNDS = 80;

    /// FIPS 180-4 section 4.2.3, 80 words of 8 bytes.
    bytes private constant K =
        hex"428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc3956c25bf348b53859f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118"
        hex"d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e272be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235c19bf174cf692694"
        hex"e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c652de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5"
        hex"983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4c6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e70"
        hex"27b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed53380d139d95b3df650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353b"
        hex"a2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b8"
        hex"19a4c116b8d2d0c81e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3"
        hex"748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532b"
        hex"ca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed17806f067aa72176fba0a637dc5a2c898a6113f9804bef90dae1b710b35131c471b"
        hex"28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817";

    /// The 48-byte digest of `message`.
    function digestOf(bytes memory message) internal pure returns (bytes memory) {
        bytes memory padded = _pad(message);
        uint64[8] memory state = [
            0xcbbb9d5dc1059ed8,
            0x629a292a367cd507,
            0x9159015a3070dd17,
            0x152fecd8f70e5939,
            0x67332667ffc00b31,
            0x8eb44a8768581511,
            0xdb0c2e0d64f98fa7,
            0x47b5481dbefa4fa4
        ];
        for (uint256 offset = 0; offset < padded.length; offset += BLOCK_BYTES) _hashBlock(state, padded, offset);
        return abi.encodePacked(state[0], state[1], state[2], state[3], state[4], state[5]);
    }

    /// Section 5.1.2: one bit, zeros, the length in bits as 16 bytes.
    function _pad(bytes memory message) private pure returns (bytes memory) {
        uint256 used = message.length + 17;
        uint256 zeros = (BLOCK_BYTES - (used % BLOCK_BYTES)) % BLOCK_BYTES;
        return abi.encodePacked(message, bytes1(0x80), new bytes(zeros), uint128(message.length * 8));
    }

    /// Section 6.4.2. Additions are modulo 2^64.
    function _hashBlock(uint64[8] memory state, bytes memory padded, uint256 offset) private pure {
        unchecked {
            uint64[80] memory w;
            for (uint256 t = 0; t < 16; t++) w[t] = _wordAt(padded, offset + 8 * t);
            for (uint256 t = 16; t < ROUNDS; t++) {
                uint64 s0 = _rotate(w[t - 15], 1) ^ _rotate(w[t - 15], 8) ^ (w[t - 15] >> 7);
                uint64 s1 = _rotate(w[t - 2], 19) ^ _rotate(w[t - 2], 61) ^ (w[t - 2] >> 6);
                w[t] = s1 + w[t - 7] + s0 + w[t - 16];
            }
            uint64[8] memory v;
            for (uint256 i = 0; i < 8; i++) v[i] = state[i];
            for (uint256 t = 0; t < ROUNDS; t++) _round(v, w[t] + _wordAt(K, 8 * t));
            for (uint256 i = 0; i < 8; i++) state[i] += v[i];
        }
    }

    /// One round on a … h. Additions are modulo 2^64.
    function _round(uint64[8] memory v, uint64 wordAndConstant) private pure {
        unchecked {
            (uint64 a, uint64 b, uint64 c, uint64 e, uint64 f, uint64 g) = (v[0], v[1], v[2], v[4], v[5], v[6]);
            uint64 sum1 = _rotate(e, 14) ^ _rotate(e, 18) ^ _rotate(e, 41);
            uint64 sum0 = _rotate(a, 28) ^ _rotate(a, 34) ^ _rotate(a, 39);
            uint64 t1 = v[7] + sum1 + ((e & f) ^ (~e & g)) + wordAndConstant;
            uint64 t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
            (v[7], v[6], v[5], v[4]) = (g, f, e, v[3] + t1);
            (v[3], v[2], v[1], v[0]) = (c, b, a, t1 + t2);
        }
    }

    function _rotate(uint64 x, uint64 bits) private pure returns (uint64) {
        return (x >> bits) | (x << (64 - bits));
    }

    function _wordAt(bytes memory data, uint256 offset) private pure returns (uint64 word) {
        for (uint256 i = 0; i < 8; i++) word = (word << 8) | uint8(data[offset + i]);
    }
}

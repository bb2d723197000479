// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title P384
/// Asks a deployed P384Verifier whether an ECDSA signature on P-384 is valid (FIPS 186-5 section 6.4.2, any 48-byte hash).
///
/// The verifier has no selectors. Its calldata is one string of bytes; numbers are big-endian:
///
///     offset  bytes  field
///          0     48  hash, not reduced modulo n
///         48     48  r
///         96     48  s, low or high
///        144     48  x of the public key
///        192     48  y of the public key
///        240      1  0 if x_R = r, 1 if x_R = r + n, for R = (hash/s)·G + (r/s)·Q          hints from here on
///        241     48  y_R
///        289    384  slopes of Q's table: the tangent at Q, then seven chords
///        673    384  slopes of R's table
///       1057      1  number of doublings
///       1058         operations of 2 bytes, each followed by its slopes of 48 bytes, to the end of the calldata
///
/// An operation: bits 15–12 doublings before it; 11–10 point (0 G, 2 Q, 3 R); 9 subtract; 8 last; 7–0 table entry. The value 0x0400 + k
/// is k doublings and no point. A slope is a residue x·2^256 mod p in 48 bytes of two's complement. P384Verifier.yul has the method and
/// its proofs; offchain/protocol/evidence/p384Hints.ts makes hints.
///
/// The verifier returns one word, 1, or reverts with P384Refused. It never returns anything else.
/// Safety assumes: `verifier` has the code of contracts/attestation/p384. Hints are not trusted: wrong ones cost liveness only.
/// A signature is no identifier: (r, s) and (r, n − s) are both valid, and one signature has many hints.
library P384 {
    /// Why the verifier refused:
    ///   1 r or s outside 1 … n−1        2 a coordinate of the key is not below p   3 the key is not on the curve
    ///   4 x_R or y_R is not below p, or the flag is neither 0 nor 1                5 R is not on the curve
    ///   6 a slope is wrong              7 an addition with equal x                 8 an operation or the number of doublings is wrong
    ///   9 the sum is not zero          10 bytes are missing or left over           11 R has weight 0
    ///  12 the weights of Q and R do not fit r and s     13 those of G and R do not fit the hash and s     14 MODEXP failed
    /// 1 to 3 condemn signature or key. The others may be the fault of signature, key or hints alike.
    error P384Refused(uint256 reason);

    /// Whether the verifier returned 1 for `input`, laid out as above. Every other answer is a refusal: also that of an account without
    /// code, which succeeds and returns nothing.
    function accepts(address verifier, bytes memory input) internal view returns (bool isAccepted) {
        // Memory-safe: reads `input`, writes one word of scratch space.
        assembly ("memory-safe") {
            mstore(0, 0)
            isAccepted := staticcall(gas(), verifier, add(input, 32), mload(input), 0, 32)
            isAccepted := and(isAccepted, and(eq(returndatasize(), 32), eq(mload(0), 1)))
        }
    }
}

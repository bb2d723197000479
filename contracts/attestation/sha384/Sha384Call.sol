// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Sha384Call
/// Asks a deployed Sha384. Safety assumes: `sha384` has the code of contracts/attestation/sha384.
library Sha384Call {
    uint256 internal constant DIGEST_BYTES = 48;

    error Sha384NoAnswer(address sha384);

    /// The 48-byte digest of `message`.
    function digestOf(address sha384, bytes memory message) internal view returns (bytes memory digest) {
        digest = new bytes(DIGEST_BYTES);
        bool isAnswered;
        // Memory-safe: the result fits the 48 bytes of `digest`. An account without code succeeds with no data: that is no answer.
        assembly ("memory-safe") {
            isAnswered := staticcall(gas(), sha384, add(message, 32), mload(message), add(digest, 32), 48)
            isAnswered := and(isAnswered, eq(returndatasize(), 48))
        }
        require(isAnswered, Sha384NoAnswer(sha384));
    }
}

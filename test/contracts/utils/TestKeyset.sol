// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PlainBls} from "./PlainBls.sol";

/// @title TestKeyset
/// An issuer's keys, by the number of the keyset, and what it signs with them.
library TestKeyset {
    function secretKey(uint256 keyset, uint256 exponent) internal pure returns (uint256) {
        return 1 + uint256(keccak256(abi.encode("secret key", keyset, exponent))) % (PlainBls.ORDER - 1);
    }

    /// The public key for credits of 2^exponent units, 256 bytes.
    function keyOf(uint256 keyset, uint256 exponent) internal view returns (bytes memory) {
        return PlainBls.publicKey(secretKey(keyset, exponent));
    }

    /// All 24, as the vault takes them.
    function keysOf(uint256 keyset) internal view returns (bytes memory keys) {
        for (uint256 i = 0; i < 24; i++) {
            keys = bytes.concat(keys, keyOf(keyset, i));
        }
    }

    /// The issuer's signature of a message, 128 bytes.
    function sign(uint256 keyset, uint256 exponent, bytes32 message) internal view returns (bytes memory) {
        return signPoint(keyset, exponent, PlainBls.hashToG1(message));
    }

    /// Its blind signature of a point.
    function signPoint(uint256 keyset, uint256 exponent, bytes memory point) internal view returns (bytes memory) {
        return PlainBls.multiply(point, secretKey(keyset, exponent));
    }

    /// The id of the keyset, by abi.encode and text of its own.
    function idOf(bytes memory keys, address vault, uint40 signUntil, uint40 spendUntil, uint40 exitUntil)
        internal
        view
        returns (bytes32)
    {
        bytes memory hashes;
        for (uint256 i = 0; i < 24; i++) {
            bytes memory key = new bytes(256);
            for (uint256 j = 0; j < 8; j++) {
                assembly ("memory-safe") {
                    let at := mul(j, 0x20)
                    mstore(add(add(key, 0x20), at), mload(add(add(keys, 0x20), add(mul(i, 0x100), at))))
                }
            }
            hashes = bytes.concat(hashes, keccak256(key));
        }
        return keccak256(
            bytes.concat(
                keccak256("Sealpath keyset v1"),
                abi.encode(block.chainid, vault),
                hashes,
                abi.encode(signUntil, spendUntil, exitUntil)
            )
        );
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SHA384_CODE} from "./Sha384Code.sol";

/// @title Sha384
/// Deploys SHA-384 (FIPS 180-4) as raw code. Stateless, no owner, no selectors: calldata is the message, of any length; the result is
/// 48 bytes, the digest. It cannot revert but for lack of gas: about 1,200 gas and 19,772 for each block of 128 bytes.
/// scripts/attestation/sha384Program.ts writes and explains the code; Sha384Reference is the readable twin. How to call it: Sha384Call.
contract Sha384 {
    constructor() {
        bytes memory code = SHA384_CODE;
        // Memory-safe: returns the bytes just made as the contract's code.
        assembly ("memory-safe") {
            return(add(code, 32), mload(code))
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {P384_TABLE} from "./P384TableData.sol";

/// @title P384Table
/// Data of P384Verifier: 128 odd multiples of the generator G and 127 of 2^192·G, x ‖ y each, as 48-byte two's complement of the residue
/// x·2^256 mod p. The code starts with STOP; it is 24,481 bytes long. P384Verifier refuses any other code by its hash.
contract P384Table {
    constructor() {
        bytes memory data = P384_TABLE;
        // Memory-safe: returns the bytes just made as the contract's code.
        assembly ("memory-safe") {
            return(add(data, 32), mload(data))
        }
    }
}

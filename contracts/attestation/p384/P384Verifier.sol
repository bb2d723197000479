// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {P384_CODE, P384_TABLE_ADDRESS_AT} from "./P384Code.sol";
import {P384_TABLE_HASH} from "./P384TableData.sol";

/// @title P384Verifier
/// Deploys the code of P384Verifier.yul, bound to the generator table at `table`. Stateless, no owner. How to call it: P384.sol.
/// The Yul is compiled apart because this project's Solidity settings make it dearer; a test compiles it again and compares.
contract P384Verifier {
    error P384WrongTable(bytes32 expected, bytes32 actual);

    constructor(address table) {
        require(table.codehash == P384_TABLE_HASH, P384WrongTable(P384_TABLE_HASH, table.codehash));
        bytes memory code = P384_CODE;
        uint256 tableAddressAt = P384_TABLE_ADDRESS_AT;
        // Memory-safe: writes the table's address over its placeholder, the operand of a PUSH20 inside `code`, and returns the code.
        assembly ("memory-safe") {
            let at := add(add(code, 32), tableAddressAt)
            mstore(at, or(shl(96, table), shr(160, shl(160, mload(at)))))
            return(add(code, 32), mload(code))
        }
    }
}

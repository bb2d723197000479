// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Units} from "../../../contracts/types/Types.sol";

/// @title Check
/// Assertions that say what was expected and what came.
abstract contract Check {
    error ExpectedUint(string what, uint256 expected, uint256 actual);
    error ExpectedBytes32(string what, bytes32 expected, bytes32 actual);
    error ExpectedAddress(string what, address expected, address actual);
    error ExpectedBytes(string what, bytes expected, bytes actual);
    error ExpectedTrue(string what);
    error ExpectedAtMost(string what, uint256 bound, uint256 actual);

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert ExpectedTrue(what);
    }

    function assertEq(uint256 actual, uint256 expected, string memory what) internal pure {
        if (actual != expected) revert ExpectedUint(what, expected, actual);
    }

    function assertEq(Units actual, uint256 expected, string memory what) internal pure {
        assertEq(Units.unwrap(actual), expected, what);
    }

    function assertEq(bytes32 actual, bytes32 expected, string memory what) internal pure {
        if (actual != expected) revert ExpectedBytes32(what, expected, actual);
    }

    function assertEq(address actual, address expected, string memory what) internal pure {
        if (actual != expected) revert ExpectedAddress(what, expected, actual);
    }

    function assertEq(bytes memory actual, bytes memory expected, string memory what) internal pure {
        if (keccak256(actual) != keccak256(expected)) revert ExpectedBytes(what, expected, actual);
    }

    function assertLe(uint256 actual, uint256 most, string memory what) internal pure {
        if (actual > most) revert ExpectedAtMost(what, most, actual);
    }

    /// A number from `low` to `high`, both included, out of any.
    function bound(uint256 any, uint256 low, uint256 high) internal pure returns (uint256) {
        uint256 span = high - low;
        return span == type(uint256).max ? any : low + any % (span + 1);
    }
}

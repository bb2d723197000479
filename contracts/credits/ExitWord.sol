// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditExits} from "../interfaces/ICreditExits.sol";

/// The exit of one credit, in one storage word written at once:
///
///   (24 unused) | recipient 160 | readyAt 40 | exponent 8 | keyset 16 | state 8
///
/// Fields as in ICreditExits.Exit. The word of a credit that nobody has taken out is zero.
type ExitWord is uint256;

using ExitWords for ExitWord global;

/// @title ExitWords
/// Makes and reads an ExitWord. Each value is of its field's own type, so it fits.
library ExitWords {
    uint256 private constant KEYSET_SHIFT = 8;
    uint256 private constant EXPONENT_SHIFT = 24;
    uint256 private constant READY_SHIFT = 32;
    uint256 private constant RECIPIENT_SHIFT = 72;
    uint256 private constant STATE_MASK = 0xff;

    /// An open exit of a credit of one unit.
    function open(address to, uint40 ready, uint16 number) internal pure returns (ExitWord) {
        return ExitWord.wrap(
            (uint256(uint160(to)) << RECIPIENT_SHIFT) | (uint256(ready) << READY_SHIFT)
                | (uint256(number) << KEYSET_SHIFT) | uint256(ICreditExits.ExitState.Open)
        );
    }

    /// The same of a credit of 2^value units. For a word of exponent 0.
    function withExponent(ExitWord exit, uint8 value) internal pure returns (ExitWord) {
        return ExitWord.wrap(ExitWord.unwrap(exit) | (uint256(value) << EXPONENT_SHIFT));
    }

    function withState(ExitWord exit, ICreditExits.ExitState value) internal pure returns (ExitWord) {
        return ExitWord.wrap((ExitWord.unwrap(exit) & ~STATE_MASK) | uint256(value));
    }

    function state(ExitWord exit) internal pure returns (ICreditExits.ExitState) {
        return ICreditExits.ExitState(ExitWord.unwrap(exit) & STATE_MASK);
    }

    function keyset(ExitWord exit) internal pure returns (uint16) {
        return uint16(ExitWord.unwrap(exit) >> KEYSET_SHIFT);
    }

    function exponent(ExitWord exit) internal pure returns (uint8) {
        return uint8(ExitWord.unwrap(exit) >> EXPONENT_SHIFT);
    }

    function readyAt(ExitWord exit) internal pure returns (uint40) {
        return uint40(ExitWord.unwrap(exit) >> READY_SHIFT);
    }

    function recipient(ExitWord exit) internal pure returns (address) {
        return address(uint160(ExitWord.unwrap(exit) >> RECIPIENT_SHIFT));
    }
}

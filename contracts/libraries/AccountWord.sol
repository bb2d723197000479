// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// What is settled of one enclave, in one storage word, because one word is what a head may cost to book:
///
///   size 40 | settlerTerms 1 | elsewhere 1 | (6 unused) | keyset 16 | earned 64 | cleared 64 | credited 64
///
/// size          leaves at the newest settled earnings head; 2^40 is far beyond what an enclave logs in its seven days
/// settlerTerms  whether its operator named a settler
/// elsewhere     whether some of `cleared` came from another keyset than `keyset`
/// keyset        number of the keyset whose clearing was booked last; 0 while there was none
/// earned, cleared, credited    cumulative units (IReceiptSettlement.Account)
type AccountWord is uint256;

using AccountWords for AccountWord global;

/// @title AccountWords
/// Reads and writes fields of an AccountWord. Writers assume that the value fits its field: each takes the field's own type.
library AccountWords {
    uint256 private constant UNITS_MASK = type(uint64).max;
    uint256 private constant KEYSET_SHIFT = 192;
    uint256 private constant ELSEWHERE_BIT = 1 << 214;
    uint256 private constant SETTLER_TERMS_BIT = 1 << 215;
    uint256 private constant SIZE_SHIFT = 216;

    function size(AccountWord account) internal pure returns (uint40) {
        return uint40(AccountWord.unwrap(account) >> SIZE_SHIFT);
    }

    function hasSettlerTerms(AccountWord account) internal pure returns (bool) {
        return AccountWord.unwrap(account) & SETTLER_TERMS_BIT != 0;
    }

    function hasElsewhere(AccountWord account) internal pure returns (bool) {
        return AccountWord.unwrap(account) & ELSEWHERE_BIT != 0;
    }

    function keyset(AccountWord account) internal pure returns (uint16) {
        return uint16(AccountWord.unwrap(account) >> KEYSET_SHIFT);
    }

    function earned(AccountWord account) internal pure returns (uint64) {
        return uint64(AccountWord.unwrap(account) >> 128);
    }

    function cleared(AccountWord account) internal pure returns (uint64) {
        return uint64(AccountWord.unwrap(account) >> 64);
    }

    function credited(AccountWord account) internal pure returns (uint64) {
        return uint64(AccountWord.unwrap(account));
    }

    function withSize(AccountWord account, uint40 value) internal pure returns (AccountWord) {
        return _with(account, type(uint40).max, SIZE_SHIFT, value);
    }

    function withSettlerTerms(AccountWord account, bool value) internal pure returns (AccountWord) {
        return _with(account, 1, 215, value ? 1 : 0);
    }

    function withElsewhere(AccountWord account, bool value) internal pure returns (AccountWord) {
        return _with(account, 1, 214, value ? 1 : 0);
    }

    function withKeyset(AccountWord account, uint16 value) internal pure returns (AccountWord) {
        return _with(account, type(uint16).max, KEYSET_SHIFT, value);
    }

    function withEarned(AccountWord account, uint64 value) internal pure returns (AccountWord) {
        return _with(account, UNITS_MASK, 128, value);
    }

    function withCleared(AccountWord account, uint64 value) internal pure returns (AccountWord) {
        return _with(account, UNITS_MASK, 64, value);
    }

    function withCredited(AccountWord account, uint64 value) internal pure returns (AccountWord) {
        return _with(account, UNITS_MASK, 0, value);
    }

    function _with(AccountWord account, uint256 mask, uint256 shift, uint256 value) private pure returns (AccountWord) {
        return AccountWord.wrap((AccountWord.unwrap(account) & ~(mask << shift)) | (value << shift));
    }
}

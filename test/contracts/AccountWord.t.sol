// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccountWord} from "../../contracts/libraries/AccountWord.sol";
import {Check} from "./utils/Check.sol";

contract AccountWordTest is Check {
    uint256 private constant FIELDS = 7;

    function _read(AccountWord word, uint256 field) private pure returns (uint256) {
        if (field == 0) return word.size();
        if (field == 1) return word.hasSettlerTerms() ? 1 : 0;
        if (field == 2) return word.hasElsewhere() ? 1 : 0;
        if (field == 3) return word.keyset();
        if (field == 4) return word.earned();
        if (field == 5) return word.cleared();
        return word.credited();
    }

    function _write(AccountWord word, uint256 field, uint256 value) private pure returns (AccountWord) {
        if (field == 0) return word.withSize(uint40(value));
        if (field == 1) return word.withSettlerTerms(value & 1 == 1);
        if (field == 2) return word.withElsewhere(value & 1 == 1);
        if (field == 3) return word.withKeyset(uint16(value));
        if (field == 4) return word.withEarned(uint64(value));
        if (field == 5) return word.withCleared(uint64(value));
        return word.withCredited(uint64(value));
    }

    function _cut(uint256 field, uint256 value) private pure returns (uint256) {
        uint256[FIELDS] memory bits = [uint256(40), 1, 1, 16, 64, 64, 64];
        return value & ((1 << bits[field]) - 1);
    }

    /// Writing one field leaves every other field, and the bits between them, as they were.
    function testFuzz_fields_AreIndependent(uint256 start, uint256 field, uint256 value) public pure {
        field = bound(field, 0, FIELDS - 1);
        AccountWord before = AccountWord.wrap(start);
        AccountWord written = _write(before, field, value);
        assertEq(_read(written, field), _cut(field, value), "written");
        for (uint256 i = 0; i < FIELDS; i++) {
            if (i != field) assertEq(_read(written, i), _read(before, i), "another field");
        }
        AccountWord restored = _write(written, field, _read(before, field));
        assertEq(AccountWord.unwrap(restored), start, "every other bit");
    }

    function test_fields_FillTheWordAsDocumented() public pure {
        AccountWord word = AccountWord.wrap(0);
        for (uint256 field = 0; field < FIELDS; field++) {
            word = _write(word, field, type(uint256).max);
        }
        assertEq(AccountWord.unwrap(word), ~(uint256(0x3f) << 208), "all but six bits");
        word = AccountWord.wrap(0).withSize(1).withKeyset(2).withEarned(3).withCleared(4).withCredited(5);
        assertEq(
            AccountWord.unwrap(word), (1 << 216) | (2 << 192) | (3 << 128) | (4 << 64) | 5, "in their places"
        );
    }
}

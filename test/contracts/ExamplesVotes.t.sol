// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EnclaveVotes, Vote} from "../../contracts/examples/EnclaveVotes.sol";
import {EnclaveId} from "../../contracts/types/Types.sol";
import {Check} from "./utils/Check.sol";

/// Counts kept while votes come and go, against a count of all of them at the end.
contract ExamplesVotesTest is Check {
    using EnclaveVotes for EnclaveVotes.Votes;

    uint256 private constant ENCLAVES = 7;
    uint256 private constant OPERATORS = 3;
    EnclaveVotes.Votes private votes;

    function _enclave(uint256 i) private pure returns (EnclaveId) {
        return EnclaveId.wrap(address(uint160(1 + i)));
    }

    function _operator(uint256 i) private pure returns (address) {
        return address(uint160(100 + i % OPERATORS));
    }

    function _count(Vote vote) private view returns (uint256 enclaves, uint256 operators) {
        uint256 seen;
        for (uint256 i = 0; i < ENCLAVES; i++) {
            if (votes.voteOf[_enclave(i)] != vote) continue;
            enclaves++;
            if (seen & (1 << (i % OPERATORS)) == 0) operators++;
            seen |= 1 << (i % OPERATORS);
        }
    }

    function testFuzz_cast_KeepsCountsRight(uint256 seed) public {
        Vote[ENCLAVES] memory expected;
        for (uint256 step = 0; step < 20; step++) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 i = seed % ENCLAVES;
            Vote vote = Vote(1 + (seed >> 128) % 4);
            if (expected[i] == vote || expected[i] == Vote.Void) continue;
            expected[i] = expected[i] == Vote.None ? vote : Vote.Void;
            assertEq(uint256(votes.cast(_enclave(i), _operator(i), vote)), uint256(expected[i]), "counted");
        }
        uint256 total;
        for (uint256 i = 0; i < ENCLAVES; i++) {
            assertEq(uint256(votes.voteOf[_enclave(i)]), uint256(expected[i]), "vote");
            if (expected[i] != Vote.None && expected[i] != Vote.Void) total++;
        }
        for (uint256 vote = 1; vote <= 4; vote++) {
            _assertTally(Vote(vote), total);
        }
    }

    function _assertTally(Vote vote, uint256 total) private view {
        (uint256 enclaves, uint256 operators) = _count(vote);
        assertEq(votes.tallyOf[vote].enclaves, enclaves, "enclaves");
        assertEq(votes.tallyOf[vote].operators, operators, "operators");
        if (vote == Vote.Void) return;
        EnclaveVotes.Quorum memory quorum = EnclaveVotes.Quorum({enclaves: 3, equal: 2, operators: 2});
        bool expected = total >= 3 && 3 * enclaves >= 2 * total && operators >= 2;
        assertTrue(votes.hasMajority(vote, quorum) == expected, "majority");
    }
}

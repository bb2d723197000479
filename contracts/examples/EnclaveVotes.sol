// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EnclaveId} from "../types/Types.sol";

/// What an enclave answered. `Void` counts for nothing, for good.
enum Vote {
    None,
    Yes,
    No,
    Other,
    Void
}

/// @title EnclaveVotes
/// Counts what enclaves answered: one vote each, by enclaves and by the operators behind them. An enclave that is shown to have
/// answered two different things counts for neither, so asking again until the answer pleases wins nothing.
library EnclaveVotes {
    /// m of n. Of all votes there must be at least `enclaves`; at least `equal` in `enclaves` of them must agree, and these must come
    /// from at least `operators` operators.
    struct Quorum {
        uint32 enclaves;
        uint32 equal;
        uint32 operators;
    }

    struct Tally {
        uint256 enclaves;
        uint256 operators;
        mapping(address operator => uint256) enclavesOf;
    }

    struct Votes {
        mapping(EnclaveId enclave => Vote) voteOf;
        mapping(Vote vote => Tally) tallyOf;
    }

    error VotesCountedAlready(EnclaveId enclave);

    /// Counts a vote; a second one that differs makes it `Void`. `operator` must be the same in every call for an enclave.
    function cast(Votes storage self, EnclaveId enclave, address operator, Vote vote) internal returns (Vote counted) {
        Vote earlier = self.voteOf[enclave];
        require(earlier != vote && earlier != Vote.Void, VotesCountedAlready(enclave));
        counted = earlier == Vote.None ? vote : Vote.Void;
        self.voteOf[enclave] = counted;
        if (earlier != Vote.None) {
            Tally storage left = self.tallyOf[earlier];
            left.enclaves--;
            if (--left.enclavesOf[operator] == 0) left.operators--;
        }
        Tally storage joined = self.tallyOf[counted];
        joined.enclaves++;
        if (++joined.enclavesOf[operator] == 1) joined.operators++;
    }

    /// Whether both sides can never have a majority: m is more than half of n.
    function isSound(Quorum memory quorum) internal pure returns (bool) {
        return quorum.equal <= quorum.enclaves && 2 * uint256(quorum.equal) > quorum.enclaves;
    }

    function hasMajority(Votes storage self, Vote side, Quorum memory quorum) internal view returns (bool) {
        uint256 total =
            self.tallyOf[Vote.Yes].enclaves + self.tallyOf[Vote.No].enclaves + self.tallyOf[Vote.Other].enclaves;
        Tally storage tally = self.tallyOf[side];
        return total >= quorum.enclaves && tally.enclaves * quorum.enclaves >= total * quorum.equal
            && tally.operators >= quorum.operators;
    }
}

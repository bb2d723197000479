// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title FeeSplit
/// Splits what an enclave was credited into three shares that add up exactly. Each is a function of the cumulative amount,
/// so that nobody gains by choosing when or how often to settle.
library FeeSplit {
    uint256 private constant BPS = 10_000;

    /// Rounded up: nobody the rounding could favour chooses the number.
    function protocolShare(uint64 credited, uint16 bps) internal pure returns (uint64) {
        // A product of 64 and 16 bits cannot overflow; bps <= 10_000, so the share is at most `credited` and fits.
        unchecked {
            return uint64((uint256(credited) * bps + BPS - 1) / BPS);
        }
    }

    /// Rounded down: the settler chooses when to settle.
    function settlerShare(uint64 credited, uint16 bps) internal pure returns (uint64) {
        // As above.
        unchecked {
            return uint64(uint256(credited) * bps / BPS);
        }
    }

    /// What the other two leave. With both shares at most a tenth together, their sum is at most credited / 10 + 1, rounded down to
    /// whole units never above `credited`: of one unit the protocol takes all, of more the operator keeps some.
    function operatorShare(uint64 credited, uint16 protocolBps, uint16 settlerBps) internal pure returns (uint64) {
        return credited - protocolShare(credited, protocolBps) - settlerShare(credited, settlerBps);
    }
}

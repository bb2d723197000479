// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title FeeSplit
/// Splits what an enclave was credited into three shares that add up exactly. Each is a function of the cumulative amount, so that
/// nobody gains by choosing when or how often to settle, and none ever falls when the amount grows, so that what was drawn stays
/// covered. That is why what protocol and settler take is rounded once and then divided: two shares rounded apart could both grow
/// by the same unit, and the operator's would fall.
library FeeSplit {
    uint256 private constant BPS = 10_000;

    /// What the operator keeps: of one unit nothing, of more always something, both other shares being at most a tenth together.
    /// `bothBps` is the protocol's and the settler's share.
    function operatorShare(uint64 credited, uint256 bothBps) internal pure returns (uint64) {
        // At most `credited`, because bothBps <= 10_000.
        return credited - uint64(_both(credited, bothBps));
    }

    /// By how much the other two shares grow when what is credited grows from `before` to `agreed`.
    function growth(uint64 before, uint64 agreed, uint256 settlerBps, uint256 bothBps)
        internal
        pure
        returns (uint64 protocol, uint64 settler)
    {
        if (bothBps == 0) return (0, 0);
        uint256 bothBefore = _both(before, bothBps);
        uint256 bothAfter = _both(agreed, bothBps);
        // Products of 64 and 16 bits cannot overflow. With before <= agreed and settlerBps <= bothBps no difference is negative, and
        // none is above `agreed`. The settler's part is rounded down: the settler chooses when to settle.
        unchecked {
            uint256 toSettler = bothAfter * settlerBps / bothBps - bothBefore * settlerBps / bothBps;
            return (uint64(bothAfter - bothBefore - toSettler), uint64(toSettler));
        }
    }

    /// Rounded up: nobody the rounding could favour chooses the number.
    function _both(uint64 credited, uint256 bothBps) private pure returns (uint256) {
        // As above.
        unchecked {
            return (credited * bothBps + BPS - 1) / BPS;
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Units} from "../types/Types.sol";

/// @title OpgTransfer
/// Moves whole units of a token in and out. 1 unit = UNIT base units.
library OpgTransfer {
    using SafeERC20 for IERC20;

    uint256 internal constant UNIT = 1e12;

    error OpgZeroAmount();
    error OpgMovedOtherAmount(uint256 expected, uint256 actual);

    /// Takes exactly `amount` units from the caller, who has approved them. A token that moves anything else (a fee on transfer) is refused.
    function take(IERC20 token, Units amount) internal {
        require(Units.unwrap(amount) != 0, OpgZeroAmount());
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), baseUnits(amount));
        requireTaken(token, before, amount);
    }

    /// Requires that exactly `amount` units came since the balance here was `before`, whichever way.
    function requireTaken(IERC20 token, uint256 before, Units amount) internal view {
        // A token that took from this contract instead is refused by the underflow.
        uint256 moved = token.balanceOf(address(this)) - before;
        require(moved == baseUnits(amount), OpgMovedOtherAmount(baseUnits(amount), moved));
    }

    /// Pays `amount` units to `to`.
    function give(IERC20 token, address to, Units amount) internal {
        token.safeTransfer(to, baseUnits(amount));
    }

    function baseUnits(Units amount) internal pure returns (uint256) {
        return Units.unwrap(amount) * UNIT;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title DepositBox
/// An address of its own for one purchase, so that a plain transfer says what it pays for: x402's `exact` scheme and exchanges can do no
/// more than transfer to an address. The vault deploys this contract once and a clone of it (EIP-1167) where a box is first opened; before
/// that a box is an address and nothing else.
contract DepositBox {
    using SafeERC20 for IERC20;

    /// The same for all clones: it is in the code.
    address public immutable VAULT;

    error DepositBoxNotVault(address expected, address actual);

    constructor() {
        VAULT = msg.sender;
    }

    /// Sends `amount` base units of `token` to `to`. The vault only.
    function give(IERC20 token, address to, uint256 amount) external {
        require(msg.sender == VAULT, DepositBoxNotVault(VAULT, msg.sender));
        token.safeTransfer(to, amount);
    }
}

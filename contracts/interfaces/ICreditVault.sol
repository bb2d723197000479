// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Units} from "../types/Types.sol";
import {ICreditDeposits} from "./ICreditDeposits.sol";
import {ICreditExits} from "./ICreditExits.sol";
import {ICreditKeysets} from "./ICreditKeysets.sol";

/// @title ICreditVault
/// Holds the OPG. Money enters as a deposit for credits, or into the insurance; it leaves as what the settlement contract credited, as an exit, or
/// as a refund.
/// Units: amounts in base units of the token are called `amount`; 1 unit = 10^12 base units.
/// Bounds, per keyset: what clearings claim and exits have drawn never exceed what was deposited and not refunded.
/// Safety assumes: TOKEN moves exactly the amount asked (checked on every deposit); SETTLEMENT asks only for what it credited.
/// Liveness assumes: TOKEN does not freeze this contract.
interface ICreditVault is ICreditKeysets, ICreditDeposits, ICreditExits {
    event SettlementBound(address settlement);
    event InsurancePaid(address indexed payer, Units amount);
    event Paid(address indexed to, Units amount);

    error VaultNotDeployer(address expected, address actual);
    error VaultAlreadyBound(address settlement);
    error VaultNotSettlement(address expected, address actual);

    /// Adds `amount` units of the caller's to the insurance: slashed bonds come here, and gifts.
    function insure(Units amount) external;
    /// Pays `amount` units to `to`. The settlement contract only.
    function pay(address to, Units amount) external;
}

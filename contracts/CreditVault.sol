// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {CreditDeposits} from "./credits/CreditDeposits.sol";
import {CreditExits} from "./credits/CreditExits.sol";
import {CreditKeysets} from "./credits/CreditKeysets.sol";
import {ICreditVault} from "./interfaces/ICreditVault.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "./interfaces/IReceiptSettlement.sol";
import {OpgTransfer} from "./libraries/OpgTransfer.sol";
import {KeysetId, Units} from "./types/Types.sol";

/// @title CreditVault
/// Units: 1 unit = 10^12 base units of TOKEN; time in seconds.
/// The owner, an OpenZeppelin TimelockController, opens keysets and names the guardian, which stops deposits and nothing else. The deployer binds
/// the settlement contract, once. None of them can move tokens, or keep others from moving theirs out.
contract CreditVault is ICreditVault, CreditDeposits, CreditExits {
    using OpgTransfer for IERC20;

    address private immutable _DEPLOYER;

    IReceiptSettlement public settlement;

    constructor(address owner, address guardian, IEnclaveRegistry registry, IERC20 token)
        CreditKeysets(owner, registry, token)
        CreditDeposits(guardian)
    {
        _DEPLOYER = msg.sender;
    }

    /// Names the settlement contract, once. For the deployer: each of the two contracts has to know the other.
    function bindSettlement(IReceiptSettlement settlement_) external {
        require(msg.sender == _DEPLOYER, VaultNotDeployer(_DEPLOYER, msg.sender));
        require(address(settlement_) != address(0), VaultZeroAddress());
        require(address(settlement) == address(0), VaultAlreadyBound(address(settlement)));
        settlement = settlement_;
        emit SettlementBound(address(settlement_));
    }

    // Payments

    /// @inheritdoc ICreditVault
    function insure(Units amount) external nonReentrant {
        emit InsurancePaid(msg.sender, amount);
        settlement.bookInsurance(amount);
        TOKEN.take(amount);
    }

    /// @inheritdoc ICreditVault
    function pay(address to, Units amount) external nonReentrant {
        _requireSettlement();
        emit Paid(to, amount);
        TOKEN.give(to, amount);
    }

    // Internal

    /// @inheritdoc CreditKeysets
    function _takenFrom(KeysetId keyset) internal view override returns (uint256) {
        IReceiptSettlement.KeysetTotals memory totals = settlement.keysetTotals(keyset);
        return uint256(Units.unwrap(totals.claimed)) + Units.unwrap(totals.exited);
    }

    /// @inheritdoc CreditExits
    function _bookExited(KeysetId keyset, Units amount) internal override {
        settlement.bookExited(keyset, amount);
    }

    function _requireSettlement() private view {
        require(msg.sender == address(settlement), VaultNotSettlement(address(settlement), msg.sender));
    }
}

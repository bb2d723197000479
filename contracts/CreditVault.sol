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
import {EnclaveId, KeysetId, Units} from "./types/Types.sol";

/// @title CreditVault
/// Units: 1 unit = 10^12 base units of TOKEN; time in seconds.
/// The owner, an OpenZeppelin TimelockController, opens keysets and names the guardian, which stops deposits and nothing else. The deployer binds
/// the settlement contract, once. None of them can move tokens, or keep others from moving theirs out.
contract CreditVault is ICreditVault, CreditDeposits, CreditExits {
    using OpgTransfer for IERC20;

    address private immutable _DEPLOYER;

    IReceiptSettlement public settlement;
    mapping(EnclaveId enclave => Units) private _sponsored;
    mapping(EnclaveId enclave => Units) private _reclaimable;
    mapping(EnclaveId enclave => mapping(address sponsor => Units)) public sponsoredBy;

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

    // Sponsors

    /// @inheritdoc ICreditVault
    function sponsorEnclave(EnclaveId enclave, Units amount) external nonReentrant {
        _sponsored[enclave] = _add(_sponsored[enclave], amount);
        sponsoredBy[enclave][msg.sender] = _add(sponsoredBy[enclave][msg.sender], amount);
        emit EnclaveSponsored(enclave, msg.sender, amount);
        settlement.bookSponsorship(enclave, amount);
        TOKEN.take(amount);
    }

    /// @inheritdoc ICreditVault
    function sponsorKeyset(KeysetId keyset, Units amount) external nonReentrant {
        Entry storage entry = _entryOf(keyset);
        entry.deposited = _add(entry.deposited, amount);
        emit KeysetSponsored(keyset, msg.sender, amount);
        TOKEN.take(amount);
    }

    /// @inheritdoc ICreditVault
    function insure(Units amount) external nonReentrant {
        emit InsurancePaid(msg.sender, amount);
        settlement.bookInsurance(amount);
        TOKEN.take(amount);
    }

    // Payments

    /// @inheritdoc ICreditVault
    function openReclaim(EnclaveId enclave, Units amount) external {
        _requireSettlement();
        _reclaimable[enclave] = amount;
    }

    /// @inheritdoc ICreditVault
    function reclaim(EnclaveId enclave) external nonReentrant {
        uint256 own = Units.unwrap(sponsoredBy[enclave][msg.sender]);
        uint256 total = Units.unwrap(_sponsored[enclave]);
        uint256 left = Units.unwrap(_reclaimable[enclave]);
        // Rounded down, so that the sponsors together never draw more than was set aside; left <= total, so the result fits.
        Units share = Units.wrap(total == 0 ? 0 : uint64(left * own / total));
        require(Units.unwrap(share) != 0, VaultNothingToReclaim());
        sponsoredBy[enclave][msg.sender] = Units.wrap(0);
        emit SponsorshipReclaimed(enclave, msg.sender, share);
        TOKEN.give(msg.sender, share);
    }

    /// @inheritdoc ICreditVault
    function pay(address to, Units amount) external nonReentrant {
        _requireSettlement();
        emit Paid(to, amount);
        TOKEN.give(to, amount);
    }

    // Reading

    /// @inheritdoc ICreditVault
    function sponsoredFor(EnclaveId enclave) external view returns (Units) {
        return _sponsored[enclave];
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

    function _add(Units a, Units b) private pure returns (Units) {
        return Units.wrap(Units.unwrap(a) + Units.unwrap(b));
    }

    function _requireSettlement() private view {
        require(msg.sender == address(settlement), VaultNotSettlement(address(settlement), msg.sender));
    }
}

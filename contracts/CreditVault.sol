// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ICreditVault} from "./interfaces/ICreditVault.sol";
import {IReceiptSettlement} from "./interfaces/IReceiptSettlement.sol";
import {OpgTransfer} from "./libraries/OpgTransfer.sol";
import {EnclaveId, KeysetId, Units} from "./types/Types.sol";

/// @title CreditVault
/// Units: 1 unit = 10^12 base units of TOKEN.
/// The owner opens keysets and binds the settlement contract (once). The owner cannot move tokens.
contract CreditVault is ICreditVault, Ownable2Step, ReentrancyGuardTransient {
    using OpgTransfer for IERC20;

    IERC20 public immutable TOKEN;

    IReceiptSettlement public settlement;
    uint16 public keysetCount;
    mapping(KeysetId keyset => Keyset) private _keysets;
    mapping(EnclaveId enclave => Units) private _sponsored;
    mapping(EnclaveId enclave => Units) private _reclaimable;
    mapping(EnclaveId enclave => mapping(address sponsor => Units)) public sponsoredBy;

    constructor(address owner, IERC20 token) Ownable(owner) {
        require(address(token) != address(0), VaultZeroAddress());
        TOKEN = token;
    }

    /// Names the settlement contract, once.
    function bindSettlement(IReceiptSettlement settlement_) external onlyOwner {
        require(address(settlement_) != address(0), VaultZeroAddress());
        require(address(settlement) == address(0), VaultAlreadyBound(address(settlement)));
        settlement = settlement_;
        emit SettlementBound(address(settlement_));
    }

    /// Opens a keyset and names the one issuer enclave whose clearings count for it.
    function openKeyset(KeysetId keyset, EnclaveId writer) external onlyOwner {
        require(EnclaveId.unwrap(writer) != address(0), VaultZeroAddress());
        require(EnclaveId.unwrap(_keysets[keyset].writer) == address(0), VaultKeysetExists(keyset));
        _keysets[keyset] = Keyset({writer: writer, deposited: Units.wrap(0), number: ++keysetCount});
        emit KeysetOpened(keyset, writer);
    }

    // Deposits

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
        Keyset storage entry = _keysets[keyset];
        require(EnclaveId.unwrap(entry.writer) != address(0), VaultKeysetUnknown(keyset));
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
    function keysetOf(KeysetId keyset) external view returns (Keyset memory) {
        return _keysets[keyset];
    }

    /// @inheritdoc ICreditVault
    function sponsoredFor(EnclaveId enclave) external view returns (Units) {
        return _sponsored[enclave];
    }

    // Internal

    function _add(Units a, Units b) private pure returns (Units) {
        return Units.wrap(Units.unwrap(a) + Units.unwrap(b));
    }

    function _requireSettlement() private view {
        require(msg.sender == address(settlement), VaultNotSettlement(address(settlement), msg.sender));
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ICreditVault} from "./interfaces/ICreditVault.sol";
import {IOperatorBonds} from "./interfaces/IOperatorBonds.sol";
import {OpgTransfer} from "./libraries/OpgTransfer.sol";
import {EnclaveId, EnclaveRole, Units} from "./types/Types.sol";

/// @title OperatorBonds
/// The part of the registry that holds OPG. Who is slashed and released, and when, is the registry's to say.
/// A reporter's reward is added to its own deposit and not sent, so that no token can stand in the way of a report.
abstract contract OperatorBonds is IOperatorBonds, ReentrancyGuardTransient {
    using OpgTransfer for IERC20;
    using SafeERC20 for IERC20;

    /// A reporter's part of a slashed bond, in basis points: a fifth, so that an operator who reports itself still loses most.
    uint256 public constant REPORTER_BPS = 2_000;
    /// How long after its end an enclave's bond stays locked. Longer than it can settle (GRACE_PERIOD), so that a contradiction found in what
    /// it settled last still costs it.
    uint40 public constant BOND_PERIOD = 14 days;

    IERC20 public immutable TOKEN;
    Units public immutable GATEWAY_BOND;
    Units public immutable ISSUER_BOND;

    /// What was slashed for the insurance and not moved there yet.
    Units public slashed;
    mapping(address operator => Bond) private _bonds;
    mapping(address operator => mapping(address registrar => bool)) public isRegistrar;

    constructor(IERC20 token, Units gatewayBond, Units issuerBond) {
        TOKEN = token;
        GATEWAY_BOND = gatewayBond;
        ISSUER_BOND = issuerBond;
    }

    /// @inheritdoc IOperatorBonds
    function depositBond(address operator, Units amount) external nonReentrant {
        Bond storage bond = _bonds[operator];
        bond.deposited = Units.wrap(Units.unwrap(bond.deposited) + Units.unwrap(amount));
        emit BondDeposited(operator, msg.sender, amount);
        TOKEN.take(amount);
    }

    /// @inheritdoc IOperatorBonds
    function withdrawBond(Units amount) external nonReentrant {
        Bond storage bond = _bonds[msg.sender];
        _requireFree(bond, msg.sender, Units.unwrap(amount));
        bond.deposited = Units.wrap(Units.unwrap(bond.deposited) - Units.unwrap(amount));
        emit BondWithdrawn(msg.sender, amount);
        TOKEN.give(msg.sender, amount);
    }

    /// @inheritdoc IOperatorBonds
    function allowRegistrar(address registrar, bool isAllowed) external {
        isRegistrar[msg.sender][registrar] = isAllowed;
        emit RegistrarAllowed(msg.sender, registrar, isAllowed);
    }

    /// @inheritdoc IOperatorBonds
    function insureSlashed() external nonReentrant {
        Units amount = slashed;
        require(Units.unwrap(amount) != 0, BondNothingSlashed());
        slashed = Units.wrap(0);
        emit SlashedInsured(amount);
        ICreditVault vault = _vault();
        TOKEN.forceApprove(address(vault), Units.unwrap(amount) * OpgTransfer.UNIT);
        vault.insure(amount);
    }

    /// @inheritdoc IOperatorBonds
    function bondOf(address operator) external view returns (Bond memory) {
        return _bonds[operator];
    }

    /// Where slashed bonds go.
    function _vault() internal view virtual returns (ICreditVault);

    /// Locks the bond of `role` for one enclave. Only at the word of the operator whose money it is: evidence names an operator without
    /// asking it.
    function _lockBond(EnclaveId enclave, address operator, EnclaveRole role) internal {
        uint64 amount = _bondOfRole(role);
        if (amount == 0) return;
        require(
            msg.sender == operator || isRegistrar[operator][msg.sender], BondNotConsented(operator, msg.sender)
        );
        Bond storage bond = _bonds[operator];
        _requireFree(bond, operator, amount);
        bond.locked = Units.wrap(Units.unwrap(bond.locked) + amount);
        emit BondLocked(enclave, operator, Units.wrap(amount));
    }

    /// Unlocks what one enclave held.
    function _releaseBond(EnclaveId enclave, address operator, EnclaveRole role) internal {
        uint64 amount = _bondOfRole(role);
        Bond storage bond = _bonds[operator];
        bond.locked = Units.wrap(Units.unwrap(bond.locked) - amount);
        emit BondReleased(enclave, operator, Units.wrap(amount));
    }

    /// Takes what one enclave held, a part for the reporter.
    function _slashBond(EnclaveId enclave, address operator, EnclaveRole role, address reporter) internal {
        uint64 amount = _bondOfRole(role);
        Bond storage bond = _bonds[operator];
        bond.locked = Units.wrap(Units.unwrap(bond.locked) - amount);
        bond.deposited = Units.wrap(Units.unwrap(bond.deposited) - amount);
        // At most a fifth of `amount`, so it fits.
        uint64 toReporter = uint64(uint256(amount) * REPORTER_BPS / 10_000);
        Bond storage reward = _bonds[reporter];
        reward.deposited = Units.wrap(Units.unwrap(reward.deposited) + toReporter);
        slashed = Units.wrap(Units.unwrap(slashed) + amount - toReporter);
        emit BondSlashed(enclave, operator, reporter, Units.wrap(toReporter), Units.wrap(amount - toReporter));
    }

    function _bondOfRole(EnclaveRole role) private view returns (uint64) {
        return Units.unwrap(role == EnclaveRole.Issuer ? ISSUER_BOND : GATEWAY_BOND);
    }

    function _requireFree(Bond storage bond, address operator, uint64 needed) private view {
        uint64 free = Units.unwrap(bond.deposited) - Units.unwrap(bond.locked);
        require(needed <= free, BondTooSmall(operator, Units.wrap(needed), Units.wrap(free)));
    }
}

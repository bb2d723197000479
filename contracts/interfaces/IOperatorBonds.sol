// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EnclaveId, Units} from "../types/Types.sol";

/// @title IOperatorBonds
/// OPG that operators put behind their enclaves. Registering an enclave locks its role's bond out of its operator's deposit; an enclave
/// that contradicted itself loses it. Nothing else is ever slashed.
/// Safety assumes: TOKEN moves exactly the amount asked (checked on every deposit).
interface IOperatorBonds {
    /// @param deposited All that is the operator's, locked or not.
    /// @param locked What its enclaves hold of it.
    struct Bond {
        Units deposited;
        Units locked;
    }

    event BondDeposited(address indexed operator, address indexed payer, Units amount);
    event BondWithdrawn(address indexed operator, Units amount);
    event BondLocked(EnclaveId indexed enclave, address indexed operator, Units amount);
    event BondReleased(EnclaveId indexed enclave, address indexed operator, Units amount);
    event BondSlashed(
        EnclaveId indexed enclave,
        address indexed operator,
        address indexed reporter,
        Units toReporter,
        Units toInsurance
    );
    event RegistrarAllowed(address indexed operator, address indexed registrar, bool isAllowed);
    event SlashedInsured(Units amount);

    error BondTooSmall(address operator, Units needed, Units free);
    error BondNotConsented(address operator, address registrar);
    error BondNothingSlashed();

    /// Adds `amount` units to the deposit of `operator`. Anyone may pay.
    function depositBond(address operator, Units amount) external;
    /// Pays the caller `amount` units of its deposit that no enclave holds.
    function withdrawBond(Units amount) external;
    /// Lets `registrar` (the operator agent's account) register enclaves at the expense of the caller's deposit, or no longer.
    function allowRegistrar(address registrar, bool isAllowed) external;
    /// Moves what was slashed and is not a reporter's to the vault's insurance. Anyone may call.
    function insureSlashed() external;

    /// What an operator has deposited, and what of it is locked.
    function bondOf(address operator) external view returns (Bond memory);
}

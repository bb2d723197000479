// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditVault} from "../../../contracts/interfaces/ICreditVault.sol";
import {IEnclaveRegistry} from "../../../contracts/interfaces/IEnclaveRegistry.sol";
import {IEvidenceVerifier} from "../../../contracts/interfaces/IEvidenceVerifier.sol";
import {IOperatorBonds} from "../../../contracts/interfaces/IOperatorBonds.sol";
import {IPermit2} from "../../../contracts/interfaces/IPermit2.sol";
import {IReceiptSettlement} from "../../../contracts/interfaces/IReceiptSettlement.sol";
import {EnclaveId, EnclaveRole, MeasurementId, Units} from "../../../contracts/types/Types.sol";

// What tests call of contracts beyond their interfaces. Tests deploy what was compiled (Stage._create) and do not import its source, which would be
// compiled once more with each of them, and with the pipeline that they do without, as it takes six times as long.

interface DeployedRegistry is IEnclaveRegistry, IOperatorBonds {
    /// As EnclaveRegistry.Terms.
    struct Terms {
        uint40 keyConfigsDelay;
        bool allowsDevelopment;
        Units gatewayBond;
        Units issuerBond;
    }

    function approveMeasurement(EnclaveRole role, MeasurementId measurement) external;
    function revokeMeasurement(EnclaveRole role, MeasurementId measurement) external;
    function setGuardian(address guardian) external;
    function bindSettlement(address settlement) external;
    function transferOwnership(address owner) external;
    function acceptOwnership() external;

    function isRegistrar(address operator, address registrar) external view returns (bool);
    function slashed() external view returns (Units);
    function LIFETIME() external view returns (uint40);
    function GRACE_PERIOD() external view returns (uint40);
    function BOND_PERIOD() external view returns (uint40);
    function EVIDENCE_AGE_MAX() external view returns (uint64);
    function EVIDENCE_SKEW_MAX() external view returns (uint64);
}

interface DeployedVault is ICreditVault {
    function bindSettlement(IReceiptSettlement settlement) external;
    function pause() external;
    function unpause() external;
    function setGuardian(address guardian) external;

    function owner() external view returns (address);
    function paused() external view returns (bool);
    function keysetCount() external view returns (uint16);
    function BOX() external view returns (address);
    function PERMIT2() external view returns (IPermit2);
}

interface DeployedSettlement is IReceiptSettlement {
    function protocolEarned() external view returns (Units);
    function insurance() external view returns (Units);
    function settlerEarned(address settler) external view returns (Units);
    function operatorPayoutOf(EnclaveId enclave) external view returns (Payout memory);
    function settlerPayoutOf(address settler) external view returns (Payout memory);
    function settlerTermsOf(EnclaveId enclave) external view returns (SettlerTerms memory);
    function THAW_SECONDS() external view returns (uint40);
}

interface DeployedNitroVerifier is IEvidenceVerifier {
    /// As NitroVerifier.Root.
    struct Root {
        bytes32 hash;
        bytes32 subjectHash;
        uint40 notBefore;
        uint40 notAfter;
        uint8 pathLength;
        bytes32[3] key;
    }

    function revoke(bytes32 revocationId) external;
    function isCached(bytes32 id) external view returns (bool);
}

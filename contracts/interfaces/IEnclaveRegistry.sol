// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EnclaveId, EnclaveRole, EnclaveState, MeasurementId} from "../types/Types.sol";

/// @title IEnclaveRegistry
/// Which enclaves there are, what they were measured as, who operates them and which keys they can be sealed to.
/// Safety assumes: the evidence verifier returns only what evidence proves; an enclave key signs only inside its enclave.
/// Liveness assumes: someone registers an enclave before its evidence expires.
interface IEnclaveRegistry {
    /// What an enclave binds into its evidence and signs with its key, as EIP-712 typed data of this contract's domain.
    /// @param role What the enclave is for.
    /// @param enclave Address of the key that signs its receipts.
    /// @param keyConfigs keccak256 of its `application/ohttp-keys` document.
    /// @param operator Who earns what it earns.
    struct EnclaveStatement {
        EnclaveRole role;
        EnclaveId enclave;
        bytes32 keyConfigs;
        address operator;
    }

    /// @param endsAt From then on the enclave is retired: it serves nothing new but settles for the grace period.
    /// @param isCompromised Ends everything at once.
    /// @param isDevelopment Its evidence ends in a development root.
    /// @param isBonded Its bond is locked: not released and not slashed.
    struct Enclave {
        address operator;
        uint40 endsAt;
        EnclaveRole role;
        bool isCompromised;
        bool isDevelopment;
        bool isBonded;
        MeasurementId measurement;
    }

    /// One `application/ohttp-keys` document, by hash. Live from `activeFrom` (inclusive) to `expiresAt` (exclusive), in seconds.
    struct KeyConfigs {
        bytes32 hash;
        uint40 activeFrom;
        uint40 expiresAt;
    }

    event MeasurementApproved(EnclaveRole indexed role, MeasurementId indexed measurement);
    event MeasurementRevoked(EnclaveRole indexed role, MeasurementId indexed measurement);
    event EnclaveRegistered(
        EnclaveId indexed enclave,
        address indexed operator,
        EnclaveRole role,
        MeasurementId indexed measurement,
        uint40 endsAt,
        bool isDevelopment
    );
    /// What an enclave stands on from now on: when its evidence was made, and ids of the certificates it rests on.
    event EvidenceAccepted(EnclaveId indexed enclave, uint64 issuedAt, bytes32[] certificates);
    event EnclaveRenewed(EnclaveId indexed enclave, uint40 endsAt);
    event EnclaveRetired(EnclaveId indexed enclave, uint40 endsAt);
    event EnclaveCompromised(EnclaveId indexed enclave);
    event KeyConfigsAnnounced(EnclaveId indexed enclave, bytes32 indexed hash, uint40 activeFrom, uint40 expiresAt);
    event SettlementBound(address settlement);
    event GuardianChanged(address indexed guardian);

    error RegistryTooMany(uint256 max, uint256 actual);
    error RegistryZeroAddress();
    error RegistryAlreadyBound(address settlement);
    error RegistryNotSettlement(address expected, address actual);
    error RegistryNotDeployer(address expected, address actual);
    error RegistryNotGuardian(address expected, address actual);
    error RegistryNotOperator(address expected, address actual);
    error RegistryRoleUnknown();
    error RegistryUserDataMismatch(bytes32 expected, bytes actual);
    error RegistryPossessionNotProven(EnclaveId expected, address actual);
    error RegistryMeasurementNotApproved(EnclaveRole role, MeasurementId measurement);
    error RegistryEvidenceTooOld(uint64 issuedAt, uint64 oldestAccepted);
    error RegistryEvidenceFromFuture(uint64 issuedAt, uint64 latestAccepted);
    error RegistryEvidenceExpired(uint64 validUntil);
    error RegistryDevelopmentRefused();
    error RegistryStatementChanged(EnclaveId enclave);
    error RegistryEnclaveEnded(EnclaveId enclave, EnclaveState state);
    error RegistryEnclaveUnknown(EnclaveId enclave);
    error RegistryNothingToInvalidate(EnclaveId enclave);
    error RegistryOtherCertificates(EnclaveId enclave);
    error RegistryNoBond(EnclaveId enclave);
    error RegistryBondHeld(EnclaveId enclave, uint40 until);
    error RegistryKeyConfigsFull(EnclaveId enclave);
    error RegistryKeyConfigsKnown(bytes32 hash);

    /// Registers the enclave that `statement` describes, or extends the time of one registered before. Nobody's permission is needed but,
    /// the first time, that of the operator whose bond is locked: it calls itself or has allowed the caller (`allowRegistrar`). Anyone
    /// may renew. `evidence` must bind the statement's digest as user data; `possession` is the enclave key's signature of that digest
    /// (65 bytes). The same call again changes nothing.
    function register(
        EnclaveStatement calldata statement,
        bytes calldata evidence,
        bytes calldata hints,
        bytes calldata possession
    ) external;

    /// Announces a further `application/ohttp-keys` document. `signature` is the enclave key's over `KeyConfigs(address enclave,bytes32 hash)`.
    function announceKeyConfigs(EnclaveId enclave, bytes32 hash, bytes calldata signature) external;

    /// Retires an enclave at its operator's word.
    function retire(EnclaveId enclave) external;

    /// Retires an enclave whose measurement was revoked. Anyone may call; nothing is slashed. (An expired one needs no call.)
    function invalidate(EnclaveId enclave) external;

    /// Retires an enclave whose evidence rests on a revoked certificate: `certificates` as in its newest `EvidenceAccepted`, `index` the
    /// revoked one. Anyone may call; nothing is slashed.
    function invalidateCertificate(EnclaveId enclave, bytes32[] calldata certificates, uint256 index) external;

    /// Marks an enclave whose key contradicted itself and slashes its bond, a fifth of it for `reporter`. Only the settlement contract, which
    /// checked the contradiction.
    function markCompromised(EnclaveId enclave, address reporter) external;

    /// Unlocks the bond of an enclave that ended BOND_PERIOD ago. Anyone may call.
    function releaseBond(EnclaveId enclave) external;

    /// EIP-712 digest of `statement`: the user data of its evidence, and what its key signs.
    function statementDigest(EnclaveStatement calldata statement) external view returns (bytes32);

    function enclaveOf(EnclaveId enclave) external view returns (Enclave memory);
    function stateOf(EnclaveId enclave) external view returns (EnclaveState);
    function operatorOf(EnclaveId enclave) external view returns (address);

    /// Which of up to 256 enclaves are gateways that may settle (active, or retired in their grace period): bit i for enclaves[i].
    /// One call for a whole batch.
    function settleable(EnclaveId[] calldata enclaves) external view returns (uint256 bitmap);

    /// State and role.
    function standingOf(EnclaveId enclave) external view returns (EnclaveState state, EnclaveRole role);

    /// What the enclave was measured as when it was registered; zero for one that never was.
    function measurementOf(EnclaveId enclave) external view returns (MeasurementId);

    /// Registered enclaves of `role` that are active now, with their key configurations, from position `from` of `count` registered ones.
    function liveEnclaves(EnclaveRole role, uint256 from, uint256 count)
        external
        view
        returns (EnclaveId[] memory ids, Enclave[] memory enclaves, KeyConfigs[2][] memory keyConfigs);

    function enclaveCount() external view returns (uint256);
    function keyConfigsOf(EnclaveId enclave) external view returns (KeyConfigs[2] memory);
    function isApproved(EnclaveRole role, MeasurementId measurement) external view returns (bool);
}

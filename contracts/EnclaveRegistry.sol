// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {IEvidenceVerifier} from "./interfaces/IEvidenceVerifier.sol";
import {EnclaveId, EnclaveRole, EnclaveState, MeasurementId} from "./types/Types.sol";

/// @title EnclaveRegistry
/// Units: time in seconds.
/// The owner approves reference values (after APPROVAL_DELAY), revokes them (at once) and binds the settlement contract (once).
/// The owner can neither register an enclave nor change one. Everything else is open to anyone with the evidence.
contract EnclaveRegistry is IEnclaveRegistry, EIP712, Ownable2Step {
    bytes32 private constant STATEMENT_TYPEHASH =
        keccak256("EnclaveStatement(uint8 role,address enclave,bytes32 keyConfigs,address operator)");
    bytes32 private constant KEY_CONFIGS_TYPEHASH = keccak256("KeyConfigs(address enclave,bytes32 hash)");

    /// Evidence older than this registers nothing. Two hours: a document is renewed hourly.
    uint64 public constant EVIDENCE_AGE_MAX = 2 hours;
    /// An attester's clock may run ahead of the chain's by this much.
    uint64 public constant EVIDENCE_SKEW_MAX = 300;
    /// How long one registration lasts, and the oldest a key configuration may become.
    uint40 public constant LIFETIME = 7 days;
    /// How long a retired enclave still settles.
    uint40 public constant GRACE_PERIOD = 3 days;

    /// `Enclave` without its measurement: one word, so that settling reads one word an enclave.
    struct Standing {
        address operator;
        uint40 endsAt;
        EnclaveRole role;
        bool isCompromised;
        bool isDevelopment;
    }

    IEvidenceVerifier public immutable VERIFIER;
    /// Seconds between the approval of reference values and their use. 0 on local chains.
    uint40 public immutable APPROVAL_DELAY;
    /// Seconds before a further key configuration is live, so that clients can see it coming. 0 on local chains.
    uint40 public immutable KEY_CONFIGS_DELAY;
    /// Whether evidence under a development root registers. True on local chains only, unless deployed so on purpose.
    bool public immutable ALLOWS_DEVELOPMENT;

    address public settlement;
    mapping(EnclaveRole role => mapping(MeasurementId measurement => uint40 effectiveFrom)) public approvedFrom;
    mapping(EnclaveId enclave => Standing) private _enclaves;
    mapping(EnclaveId enclave => MeasurementId) private _measurements;
    mapping(EnclaveId enclave => KeyConfigs[2]) private _keyConfigs;
    /// Every document ever announced: a signed announcement has no time in it and must not count twice.
    mapping(EnclaveId enclave => mapping(bytes32 hash => bool)) private _wasAnnounced;
    EnclaveId[] private _registered;

    constructor(
        address owner,
        IEvidenceVerifier verifier,
        uint40 approvalDelay,
        uint40 keyConfigsDelay,
        bool allowsDevelopment
    ) EIP712("Sealpath EnclaveRegistry", "1") Ownable(owner) {
        require(address(verifier) != address(0), RegistryZeroAddress());
        VERIFIER = verifier;
        APPROVAL_DELAY = approvalDelay;
        KEY_CONFIGS_DELAY = keyConfigsDelay;
        ALLOWS_DEVELOPMENT = allowsDevelopment;
    }

    // Reference values

    /// Approves reference values for a role, effective after APPROVAL_DELAY. Approving again keeps the earlier date.
    function approveMeasurement(EnclaveRole role, MeasurementId measurement) external onlyOwner {
        require(role != EnclaveRole.None, RegistryRoleUnknown());
        if (approvedFrom[role][measurement] != 0) return;
        uint40 effectiveFrom = uint40(block.timestamp) + APPROVAL_DELAY;
        approvedFrom[role][measurement] = effectiveFrom;
        emit MeasurementApproved(role, measurement, effectiveFrom);
    }

    /// Revokes reference values at once: nothing registers under them any more, and `invalidate` retires what did.
    function revokeMeasurement(EnclaveRole role, MeasurementId measurement) external onlyOwner {
        delete approvedFrom[role][measurement];
        emit MeasurementRevoked(role, measurement);
    }

    /// Names the settlement contract, once.
    function bindSettlement(address settlement_) external onlyOwner {
        require(settlement_ != address(0), RegistryZeroAddress());
        require(settlement == address(0), RegistryAlreadyBound(settlement));
        settlement = settlement_;
        emit SettlementBound(settlement_);
    }

    // Enclaves

    /// @inheritdoc IEnclaveRegistry
    function register(
        EnclaveStatement calldata statement,
        bytes calldata evidence,
        bytes calldata hints,
        bytes calldata possession
    ) external {
        require(statement.role != EnclaveRole.None, RegistryRoleUnknown());
        require(statement.operator != address(0), RegistryZeroAddress());
        bytes32 digest = statementDigest(statement);
        _requirePossession(statement.enclave, digest, possession);
        IEvidenceVerifier.AttestationResult memory result = VERIFIER.verify(evidence, hints);
        require(result.userData == digest, RegistryUserDataMismatch(digest, result.userData));
        _requireAcceptable(statement.role, result);

        if (_enclaves[statement.enclave].operator == address(0)) _admit(statement, result);
        else _renew(statement, result);
    }

    /// @inheritdoc IEnclaveRegistry
    function announceKeyConfigs(EnclaveId enclave, bytes32 hash, bytes calldata signature) external {
        _requireActive(enclave);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(KEY_CONFIGS_TYPEHASH, enclave, hash)));
        _requirePossession(enclave, digest, signature);
        _announce(enclave, hash, KEY_CONFIGS_DELAY);
    }

    /// @inheritdoc IEnclaveRegistry
    function retire(EnclaveId enclave) external {
        address operator = _enclaves[enclave].operator;
        require(msg.sender == operator, RegistryNotOperator(operator, msg.sender));
        _requireActive(enclave);
        _end(enclave);
    }

    /// @inheritdoc IEnclaveRegistry
    function invalidate(EnclaveId enclave) external {
        _requireActive(enclave);
        require(approvedFrom[_enclaves[enclave].role][_measurements[enclave]] == 0, RegistryNothingToInvalidate(enclave));
        _end(enclave);
    }

    /// @inheritdoc IEnclaveRegistry
    function markCompromised(EnclaveId enclave) external {
        require(msg.sender == settlement, RegistryNotSettlement(settlement, msg.sender));
        // Registering would wipe the mark off again; the evidence can be brought once there is an enclave to end.
        require(_enclaves[enclave].operator != address(0), RegistryEnclaveUnknown(enclave));
        _enclaves[enclave].isCompromised = true;
        emit EnclaveCompromised(enclave);
    }

    // Reading

    /// @inheritdoc IEnclaveRegistry
    function statementDigest(EnclaveStatement calldata statement) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(STATEMENT_TYPEHASH, statement)));
    }

    /// @inheritdoc IEnclaveRegistry
    function enclaveOf(EnclaveId enclave) public view returns (Enclave memory) {
        Standing memory entry = _enclaves[enclave];
        return Enclave({
            operator: entry.operator,
            endsAt: entry.endsAt,
            role: entry.role,
            isCompromised: entry.isCompromised,
            isDevelopment: entry.isDevelopment,
            measurement: _measurements[enclave]
        });
    }

    /// @inheritdoc IEnclaveRegistry
    function stateOf(EnclaveId enclave) public view returns (EnclaveState) {
        return _state(_enclaves[enclave]);
    }

    /// @inheritdoc IEnclaveRegistry
    function operatorOf(EnclaveId enclave) external view returns (address) {
        return _enclaves[enclave].operator;
    }

    /// @inheritdoc IEnclaveRegistry
    function settleable(EnclaveId[] calldata enclaves) external view returns (uint256 bitmap) {
        require(enclaves.length <= 256, RegistryTooMany(256, enclaves.length));
        // The counter stays below the length; a time of 40 bits and the grace period are far below 2^256.
        unchecked {
            for (uint256 i = 0; i < enclaves.length; i++) {
                Standing memory entry = _enclaves[enclaves[i]];
                bool may = entry.role == EnclaveRole.Gateway && !entry.isCompromised
                    && block.timestamp < uint256(entry.endsAt) + GRACE_PERIOD;
                if (may) bitmap |= 1 << i;
            }
        }
    }

    /// @inheritdoc IEnclaveRegistry
    function standingOf(EnclaveId enclave) external view returns (EnclaveState state, EnclaveRole role) {
        return (stateOf(enclave), _enclaves[enclave].role);
    }

    /// @inheritdoc IEnclaveRegistry
    function measurementOf(EnclaveId enclave) external view returns (MeasurementId) {
        return _measurements[enclave];
    }

    /// @inheritdoc IEnclaveRegistry
    function liveEnclaves(EnclaveRole role, uint256 from, uint256 count)
        external
        view
        returns (EnclaveId[] memory ids, Enclave[] memory enclaves, KeyConfigs[2][] memory keyConfigs)
    {
        uint256 total = _registered.length;
        uint256 start = from < total ? from : total;
        uint256 end = count < total - start ? start + count : total;
        uint256 live = 0;
        for (uint256 i = start; i < end; i++) {
            if (_isLive(_registered[i], role)) live++;
        }
        ids = new EnclaveId[](live);
        enclaves = new Enclave[](live);
        keyConfigs = new KeyConfigs[2][](live);
        uint256 next = 0;
        for (uint256 i = start; i < end; i++) {
            EnclaveId id = _registered[i];
            if (!_isLive(id, role)) continue;
            ids[next] = id;
            enclaves[next] = enclaveOf(id);
            keyConfigs[next] = _keyConfigs[id];
            next++;
        }
    }

    /// @inheritdoc IEnclaveRegistry
    function enclaveCount() external view returns (uint256) {
        return _registered.length;
    }

    /// @inheritdoc IEnclaveRegistry
    function keyConfigsOf(EnclaveId enclave) external view returns (KeyConfigs[2] memory) {
        return _keyConfigs[enclave];
    }

    /// @inheritdoc IEnclaveRegistry
    function isApproved(EnclaveRole role, MeasurementId measurement) public view returns (bool) {
        uint40 effectiveFrom = approvedFrom[role][measurement];
        return effectiveFrom != 0 && block.timestamp >= effectiveFrom;
    }

    // Internal

    function _admit(EnclaveStatement calldata statement, IEvidenceVerifier.AttestationResult memory result) private {
        uint40 endsAt = uint40(block.timestamp) + LIFETIME;
        _measurements[statement.enclave] = result.measurement;
        _enclaves[statement.enclave] = Standing({
            operator: statement.operator,
            endsAt: endsAt,
            role: statement.role,
            isCompromised: false,
            isDevelopment: result.development
        });
        _registered.push(statement.enclave);
        emit EnclaveRegistered(
            statement.enclave, statement.operator, statement.role, result.measurement, endsAt, result.development
        );
        _announce(statement.enclave, statement.keyConfigs, 0);
    }

    function _renew(EnclaveStatement calldata statement, IEvidenceVerifier.AttestationResult memory result) private {
        EnclaveId enclave = statement.enclave;
        Standing storage entry = _enclaves[enclave];
        _requireActive(enclave);
        require(
            entry.operator == statement.operator && entry.role == statement.role
                && _measurements[enclave] == result.measurement,
            RegistryStatementChanged(enclave)
        );
        entry.endsAt = uint40(block.timestamp) + LIFETIME;
        emit EnclaveRenewed(enclave, entry.endsAt);
    }

    function _announce(EnclaveId enclave, bytes32 hash, uint40 delay) private {
        // A known document keeps its expiry: announcing it again would let a key grow older than LIFETIME, or fill a slot with one
        // that its enclave has forgotten.
        require(!_wasAnnounced[enclave][hash], RegistryKeyConfigsKnown(hash));
        _wasAnnounced[enclave][hash] = true;
        KeyConfigs[2] storage slots = _keyConfigs[enclave];
        for (uint256 i = 0; i < 2; i++) {
            if (slots[i].expiresAt > block.timestamp) continue;
            uint40 activeFrom = uint40(block.timestamp) + delay;
            slots[i] = KeyConfigs({hash: hash, activeFrom: activeFrom, expiresAt: activeFrom + LIFETIME});
            emit KeyConfigsAnnounced(enclave, hash, activeFrom, activeFrom + LIFETIME);
            return;
        }
        revert RegistryKeyConfigsFull(enclave);
    }

    function _end(EnclaveId enclave) private {
        _enclaves[enclave].endsAt = uint40(block.timestamp);
        emit EnclaveRetired(enclave, uint40(block.timestamp));
    }

    function _requireAcceptable(EnclaveRole role, IEvidenceVerifier.AttestationResult memory result) private view {
        uint64 time = uint64(block.timestamp);
        require(isApproved(role, result.measurement), RegistryMeasurementNotApproved(role, result.measurement));
        require(
            result.issuedAt + EVIDENCE_AGE_MAX >= time,
            RegistryEvidenceTooOld(result.issuedAt, time - EVIDENCE_AGE_MAX)
        );
        require(
            result.issuedAt <= time + EVIDENCE_SKEW_MAX,
            RegistryEvidenceFromFuture(result.issuedAt, time + EVIDENCE_SKEW_MAX)
        );
        require(result.validUntil >= time, RegistryEvidenceExpired(result.validUntil));
        require(ALLOWS_DEVELOPMENT || !result.development, RegistryDevelopmentRefused());
    }

    function _requirePossession(EnclaveId enclave, bytes32 digest, bytes calldata signature) private pure {
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        require(signer != address(0) && signer == EnclaveId.unwrap(enclave), RegistryPossessionNotProven(enclave, signer));
    }

    function _requireActive(EnclaveId enclave) private view {
        EnclaveState state = stateOf(enclave);
        require(state == EnclaveState.Active, RegistryEnclaveEnded(enclave, state));
    }

    function _isLive(EnclaveId id, EnclaveRole role) private view returns (bool) {
        Standing memory entry = _enclaves[id];
        return entry.role == role && _state(entry) == EnclaveState.Active;
    }

    function _state(Standing memory entry) private view returns (EnclaveState) {
        if (entry.operator == address(0)) return EnclaveState.None;
        if (entry.isCompromised) return EnclaveState.Compromised;
        if (block.timestamp < entry.endsAt) return EnclaveState.Active;
        return block.timestamp < entry.endsAt + GRACE_PERIOD ? EnclaveState.Retired : EnclaveState.Closed;
    }
}

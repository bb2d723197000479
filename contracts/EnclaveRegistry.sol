// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {OperatorBonds} from "./OperatorBonds.sol";
import {ICreditVault} from "./interfaces/ICreditVault.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {IEvidenceVerifier} from "./interfaces/IEvidenceVerifier.sol";
import {IReceiptSettlement} from "./interfaces/IReceiptSettlement.sol";
import {EnclaveId, EnclaveRole, EnclaveState, MeasurementId, Units} from "./types/Types.sol";

/// @title EnclaveRegistry
/// Units: time in seconds.
/// The owner, an OpenZeppelin TimelockController, approves reference values; the guardian, or the owner, revokes them at once. Neither can
/// register an enclave, change one or touch a bond. Everything else is open to anyone with the evidence.
contract EnclaveRegistry is IEnclaveRegistry, OperatorBonds, EIP712, Ownable2Step {
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
        bool isBonded;
    }

    /// What is fixed at deployment.
    /// @param keyConfigsDelay As KEY_CONFIGS_DELAY.
    /// @param allowsDevelopment As ALLOWS_DEVELOPMENT.
    /// @param gatewayBond Units that each gateway locks. 0 for none.
    /// @param issuerBond Units that each issuer locks.
    struct Terms {
        uint40 keyConfigsDelay;
        bool allowsDevelopment;
        Units gatewayBond;
        Units issuerBond;
    }

    IEvidenceVerifier public immutable VERIFIER;
    address private immutable _DEPLOYER;
    /// Seconds before a further key configuration is live, so that clients can see it coming. 0 on local chains.
    uint40 public immutable KEY_CONFIGS_DELAY;
    /// Whether evidence under a development root registers. True on local chains only, unless deployed so on purpose.
    bool public immutable ALLOWS_DEVELOPMENT;

    address public settlement;
    address public guardian;
    mapping(EnclaveRole role => mapping(MeasurementId measurement => bool)) public isApproved;
    mapping(EnclaveId enclave => Standing) private _enclaves;
    mapping(EnclaveId enclave => MeasurementId) private _measurements;
    /// keccak256(abi.encode(certificates)) of the evidence that an enclave stands on.
    mapping(EnclaveId enclave => bytes32) private _certificates;
    mapping(EnclaveId enclave => KeyConfigs[2]) private _keyConfigs;
    /// Every document ever announced: a signed announcement has no time in it and must not count twice.
    mapping(EnclaveId enclave => mapping(bytes32 hash => bool)) private _wasAnnounced;
    EnclaveId[] private _registered;

    constructor(
        address owner,
        address guardian_,
        IEvidenceVerifier verifier,
        IERC20 token,
        Terms memory terms
    )
        EIP712("Sealpath EnclaveRegistry", "1")
        Ownable(owner)
        OperatorBonds(token, terms.gatewayBond, terms.issuerBond)
    {
        require(
            address(verifier) != address(0) && address(token) != address(0) && guardian_ != address(0),
            RegistryZeroAddress()
        );
        VERIFIER = verifier;
        KEY_CONFIGS_DELAY = terms.keyConfigsDelay;
        ALLOWS_DEVELOPMENT = terms.allowsDevelopment;
        _DEPLOYER = msg.sender;
        guardian = guardian_;
        emit GuardianChanged(guardian_);
    }

    // Reference values

    /// Approves reference values for a role. The owner's timelock is the delay in which everybody can see it coming.
    function approveMeasurement(EnclaveRole role, MeasurementId measurement) external onlyOwner {
        require(role != EnclaveRole.None, RegistryRoleUnknown());
        isApproved[role][measurement] = true;
        emit MeasurementApproved(role, measurement);
    }

    /// Revokes reference values at once: nothing registers under them any more, and `invalidate` retires what did.
    function revokeMeasurement(EnclaveRole role, MeasurementId measurement) external {
        require(msg.sender == guardian || msg.sender == owner(), RegistryNotGuardian(guardian, msg.sender));
        isApproved[role][measurement] = false;
        emit MeasurementRevoked(role, measurement);
    }

    /// Names who may revoke at once.
    function setGuardian(address guardian_) external onlyOwner {
        require(guardian_ != address(0), RegistryZeroAddress());
        guardian = guardian_;
        emit GuardianChanged(guardian_);
    }

    /// Names the settlement contract, once. For the deployer: each of the two contracts has to know the other.
    function bindSettlement(address settlement_) external {
        require(msg.sender == _DEPLOYER, RegistryNotDeployer(_DEPLOYER, msg.sender));
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
        bool isBound = result.userData.length == 32 && bytes32(result.userData) == digest;
        require(isBound, RegistryUserDataMismatch(digest, result.userData));
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
        require(!isApproved[_enclaves[enclave].role][_measurements[enclave]], RegistryNothingToInvalidate(enclave));
        _end(enclave);
    }

    /// @inheritdoc IEnclaveRegistry
    function invalidateCertificate(EnclaveId enclave, bytes32[] calldata certificates, uint256 index) external {
        _requireActive(enclave);
        require(keccak256(abi.encode(certificates)) == _certificates[enclave], RegistryOtherCertificates(enclave));
        require(VERIFIER.isRevoked(certificates[index]), RegistryNothingToInvalidate(enclave));
        _end(enclave);
    }

    /// @inheritdoc IEnclaveRegistry
    function markCompromised(EnclaveId enclave, address reporter) external {
        require(msg.sender == settlement, RegistryNotSettlement(settlement, msg.sender));
        Standing storage entry = _enclaves[enclave];
        address operator = entry.operator;
        // Registering would wipe the mark off again; the evidence can be brought once there is an enclave to end.
        require(operator != address(0), RegistryEnclaveUnknown(enclave));
        if (entry.isCompromised) return;
        entry.isCompromised = true;
        emit EnclaveCompromised(enclave);
        if (!entry.isBonded) return;
        entry.isBonded = false;
        _slashBond(enclave, operator, entry.role, reporter);
    }

    /// @inheritdoc IEnclaveRegistry
    function releaseBond(EnclaveId enclave) external {
        Standing storage entry = _enclaves[enclave];
        require(entry.isBonded, RegistryNoBond(enclave));
        uint40 until = entry.endsAt + BOND_PERIOD;
        require(block.timestamp >= until, RegistryBondHeld(enclave, until));
        entry.isBonded = false;
        _releaseBond(enclave, entry.operator, entry.role);
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
            isBonded: entry.isBonded,
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

    // Internal

    function _vault() internal view override returns (ICreditVault) {
        return IReceiptSettlement(settlement).VAULT();
    }

    function _admit(EnclaveStatement calldata statement, IEvidenceVerifier.AttestationResult memory result) private {
        uint40 endsAt = _endOf(result);
        _measurements[statement.enclave] = result.measurement;
        _enclaves[statement.enclave] = Standing({
            operator: statement.operator,
            endsAt: endsAt,
            role: statement.role,
            isCompromised: false,
            isDevelopment: result.development,
            isBonded: true
        });
        _registered.push(statement.enclave);
        emit EnclaveRegistered(
            statement.enclave, statement.operator, statement.role, result.measurement, endsAt, result.development
        );
        _accept(statement.enclave, result);
        _announce(statement.enclave, statement.keyConfigs, 0);
        _lockBond(statement.enclave, statement.operator, statement.role);
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
        uint40 endsAt = _endOf(result);
        // The same evidence again, or an older one, changes nothing.
        if (endsAt <= entry.endsAt) return;
        entry.endsAt = endsAt;
        emit EnclaveRenewed(enclave, endsAt);
        _accept(enclave, result);
    }

    /// A registration lasts from when its evidence was made, which is at most EVIDENCE_SKEW_MAX ahead: 40 bits hold it.
    function _endOf(IEvidenceVerifier.AttestationResult memory result) private pure returns (uint40) {
        return uint40(result.issuedAt) + LIFETIME;
    }

    /// Notes which certificates the enclave stands on, so that anyone can show later that one of them was revoked.
    function _accept(EnclaveId enclave, IEvidenceVerifier.AttestationResult memory result) private {
        _certificates[enclave] = keccak256(abi.encode(result.certificates));
        emit EvidenceAccepted(enclave, result.issuedAt, result.certificates);
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
        require(isApproved[role][result.measurement], RegistryMeasurementNotApproved(role, result.measurement));
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

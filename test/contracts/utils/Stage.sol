// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditKeysets} from "../../../contracts/interfaces/ICreditKeysets.sol";
import {IEnclaveRegistry} from "../../../contracts/interfaces/IEnclaveRegistry.sol";
import {IEvidenceVerifier} from "../../../contracts/interfaces/IEvidenceVerifier.sol";
import {IReceiptSettlement} from "../../../contracts/interfaces/IReceiptSettlement.sol";
import {Captured, HeadKind, SignedClearing, SignedHead} from "../../../contracts/types/Receipt.sol";
import {
    BatchId,
    EnclaveId,
    EnclaveRole,
    KeysetId,
    LogRoot,
    MeasurementId,
    Units
} from "../../../contracts/types/Types.sol";
import {TestOPG} from "../support/TestOPG.sol";
import {TestVerifier} from "../support/TestVerifier.sol";
import {Check} from "./Check.sol";
import {DeployedRegistry, DeployedSettlement, DeployedVault} from "./Deployed.sol";
import {PlainHash} from "./PlainHash.sol";
import {TestKeyset} from "./TestKeyset.sol";
import {vm} from "./Vm.sol";

/// @title Stage
/// Everything deployed, and hands that sign: what most tests start from. The test contract owns registry and vault.
abstract contract Stage is Check {
    uint256 internal constant ISSUER_KEY = 0x155;
    /// Keys of gateways count from here.
    uint256 internal constant GATEWAY_KEY = 0x6A0;
    uint256 internal constant START = 1_800_000_000;
    uint256 internal constant UNIT = 1e12;
    uint16 internal constant PROTOCOL_BPS = 500;
    uint16 internal constant SETTLER_BPS = 100;
    uint40 internal constant THAW_SECONDS = 24 hours;
    /// Where CreditVault keeps its keysets.
    uint256 private constant KEYSETS_SLOT = 4;
    uint64 internal constant GATEWAY_BOND = 100;
    uint64 internal constant ISSUER_BOND = 1_000;

    address internal constant OPERATOR = address(0x0909);
    address internal constant PROTOCOL = address(0x9707);
    address internal constant SETTLER = address(0x5E77);
    address internal constant GUARDIAN = address(0x6A2D);
    address internal constant PAYER = address(0xBA7E5);
    address internal constant STRANGER = address(0x57A9);

    MeasurementId internal constant MEASUREMENT = MeasurementId.wrap(keccak256("reference values"));
    uint40 internal constant SIGN_UNTIL = uint40(START) + 30 days;
    uint40 internal constant SPEND_UNTIL = uint40(START) + 60 days;
    uint40 internal constant EXIT_UNTIL = uint40(START) + 460 days;

    /// Ids of the test keysets 0 and 1: known from when there is a vault, because the vault is part of them.
    KeysetId internal KEYSET;
    KeysetId internal OTHER_KEYSET;
    TestOPG internal token;
    TestVerifier internal verifier;
    DeployedRegistry internal registry;
    DeployedVault internal vault;
    DeployedSettlement internal settlement;

    function setUp() public virtual {
        _deploy(PROTOCOL_BPS, SETTLER_BPS);
    }

    function _deploy(uint16 protocolBps, uint16 settlerBps) internal {
        vm.warp(START);
        token = TestOPG(_create("test/contracts/support/TestOPG.sol/TestOPG", ""));
        verifier = TestVerifier(_create("test/contracts/support/TestVerifier.sol/TestVerifier", ""));
        registry = _newRegistry(0, true);
        _newVault();
        settlement = _newSettlement(protocolBps, settlerBps);
        _bindAndApprove();
    }

    function _newVault() internal {
        vault = DeployedVault(
            _create("contracts/CreditVault.sol/CreditVault", abi.encode(this, GUARDIAN, registry, token))
        );
        KEYSET = _keysetId(0);
        OTHER_KEYSET = _keysetId(1);
    }

    function _keysetId(uint256 number) internal view returns (KeysetId) {
        bytes memory keys = TestKeyset.keysOf(number);
        return KeysetId.wrap(TestKeyset.idOf(keys, address(vault), SIGN_UNTIL, SPEND_UNTIL, EXIT_UNTIL));
    }

    function _newSettlement(uint16 protocolBps, uint16 settlerBps) internal returns (DeployedSettlement) {
        return DeployedSettlement(
            _create(
                "contracts/ReceiptSettlement.sol/ReceiptSettlement",
                abi.encode(registry, vault, PROTOCOL, protocolBps, settlerBps, THAW_SECONDS)
            )
        );
    }

    function _bindAndApprove() internal {
        registry.bindSettlement(address(settlement));
        vault.bindSettlement(settlement);
        registry.approveMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        registry.approveMeasurement(EnclaveRole.Issuer, MEASUREMENT);
    }

    /// Deploys the compiled artifact itself: what a test says `new` for would be compiled once more into it.
    function _create(string memory artifact, bytes memory arguments) internal returns (address created) {
        string memory json = vm.readFile(string.concat(vm.projectRoot(), "/artifacts/", artifact, ".json"));
        bytes memory code = bytes.concat(vm.parseJsonBytes(json, ".bytecode"), arguments);
        assembly ("memory-safe") {
            created := create(0, add(code, 0x20), mload(code))
            if iszero(created) {
                returndatacopy(mload(0x40), 0, returndatasize())
                revert(mload(0x40), returndatasize())
            }
        }
    }

    function _newRegistry(uint40 keyConfigsDelay, bool allowsDevelopment) internal returns (DeployedRegistry) {
        DeployedRegistry.Terms memory terms = DeployedRegistry.Terms({
            keyConfigsDelay: keyConfigsDelay,
            allowsDevelopment: allowsDevelopment,
            gatewayBond: Units.wrap(GATEWAY_BOND),
            issuerBond: Units.wrap(ISSUER_BOND)
        });
        return DeployedRegistry(
            _create(
                "contracts/EnclaveRegistry.sol/EnclaveRegistry", abi.encode(this, GUARDIAN, verifier, token, terms)
            )
        );
    }

    /// The time now; see Vm.getBlockTimestamp.
    function _now() internal view returns (uint256) {
        return vm.getBlockTimestamp();
    }

    // Enclaves

    /// Registers the gateway number `i`, operated by OPERATOR.
    function _gateway(uint256 i) internal returns (EnclaveId) {
        return _register(GATEWAY_KEY + i, EnclaveRole.Gateway, OPERATOR);
    }

    /// Registers an issuer and opens its keyset with `deposited` units behind it.
    function _issuer(uint256 key, KeysetId keyset, uint64 deposited) internal returns (EnclaveId issuer) {
        issuer = _register(key, EnclaveRole.Issuer, OPERATOR);
        _openKeyset(keyset, issuer);
        if (deposited != 0) _endow(keyset, deposited);
    }

    /// Opens KEYSET or OTHER_KEYSET.
    function _openKeyset(KeysetId keyset, EnclaveId writer) internal {
        bool isFirst = KeysetId.unwrap(keyset) == KeysetId.unwrap(KEYSET);
        bytes memory keys = TestKeyset.keysOf(isFirst ? 0 : 1);
        vault.openKeyset(keys, _times(), writer);
    }

    function _times() internal pure returns (ICreditKeysets.KeysetTimes memory) {
        return ICreditKeysets.KeysetTimes(SIGN_UNTIL, SPEND_UNTIL, EXIT_UNTIL);
    }

    function _register(uint256 key, EnclaveRole role, address operator) internal returns (EnclaveId) {
        IEnclaveRegistry.EnclaveStatement memory statement = _statement(key, role, operator);
        _register(statement, key, _result(statement));
        return statement.enclave;
    }

    function _register(
        IEnclaveRegistry.EnclaveStatement memory statement,
        uint256 key,
        IEvidenceVerifier.AttestationResult memory result
    ) internal {
        _bond(statement.operator);
        bytes memory hints = _hints(result);
        bytes memory possession = _signature(key, registry.statementDigest(statement));
        registry.register(statement, hex"01", hints, possession);
    }

    /// Has `operator` deposit enough for many enclaves and let the test register them, unless it did.
    function _bond(address operator) internal {
        if (operator == address(0) || registry.isRegistrar(operator, address(this))) return;
        _depositBond(operator, 1_000_000);
        vm.prank(operator);
        registry.allowRegistrar(address(this), true);
    }

    function _depositBond(address operator, uint64 units) internal {
        token.mint(address(this), units * UNIT);
        token.approve(address(registry), units * UNIT);
        registry.depositBond(operator, Units.wrap(units));
    }

    function _statement(uint256 key, EnclaveRole role, address operator)
        internal
        pure
        returns (IEnclaveRegistry.EnclaveStatement memory)
    {
        return IEnclaveRegistry.EnclaveStatement({
            role: role,
            enclave: EnclaveId.wrap(vm.addr(key)),
            keyConfigs: keccak256(abi.encode("key configurations", key)),
            operator: operator
        });
    }

    /// An attestation result that registers `statement` now.
    function _result(IEnclaveRegistry.EnclaveStatement memory statement)
        internal
        view
        returns (IEvidenceVerifier.AttestationResult memory)
    {
        return IEvidenceVerifier.AttestationResult({
            measurement: MEASUREMENT,
            userData: abi.encodePacked(registry.statementDigest(statement)),
            issuedAt: uint64(_now()),
            validUntil: uint64(_now() + 1 days),
            certificates: _certificates(),
            development: false
        });
    }

    /// Ids of the certificates that every test's evidence rests on.
    function _certificates() internal pure returns (bytes32[] memory ids) {
        ids = new bytes32[](2);
        ids[0] = keccak256("authority");
        ids[1] = keccak256("leaf");
    }

    /// `hints` of TestVerifier: the result it shall answer.
    function _hints(IEvidenceVerifier.AttestationResult memory result) internal view returns (bytes memory) {
        return verifier.hintsFor(result);
    }

    function _signature(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _compromise(uint256 i) internal {
        SignedHead memory a = _logHead(i, 1, keccak256("one root"));
        SignedHead memory b = _logHead(i, 1, keccak256("another root"));
        settlement.reportContradiction(a, b);
    }

    /// Past the end of every registration and its grace period.
    function _closeAll() internal {
        vm.warp(_now() + registry.LIFETIME() + registry.GRACE_PERIOD());
    }

    // Heads and clearings

    function _logHead(uint256 i, uint64 size, bytes32 root) internal view returns (SignedHead memory) {
        return _sign(GATEWAY_KEY + i, _head(i, HeadKind.Log, size, root, 0));
    }

    function _earningsHead(uint256 i, uint64 size, bytes32 root, uint64 fees)
        internal
        view
        returns (SignedHead memory)
    {
        return _sign(GATEWAY_KEY + i, _head(i, HeadKind.Earnings, size, root, fees));
    }

    function _head(uint256 i, HeadKind kind, uint64 size, bytes32 root, uint64 fees)
        internal
        pure
        returns (SignedHead memory)
    {
        return SignedHead({
            enclave: EnclaveId.wrap(vm.addr(GATEWAY_KEY + i)),
            kind: kind,
            size: size,
            root: LogRoot.wrap(root),
            fees: Units.wrap(fees),
            r: 0,
            vs: 0
        });
    }

    function _sign(uint256 key, SignedHead memory head) internal view returns (SignedHead memory) {
        bytes32 domain = PlainHash.domain("Sealpath", block.chainid, address(settlement));
        (head.r, head.vs) = vm.signCompact(key, PlainHash.digest(domain, PlainHash.headHash(head)));
        return head;
    }

    /// A clearing of KEYSET by its issuer, of one line.
    function _clearing(uint64 issued, uint64 captured, EnclaveId enclave, uint64 enclaveCaptured)
        internal
        view
        returns (SignedClearing memory)
    {
        return _clearing(ISSUER_KEY, KEYSET, issued, captured, _lines(enclave, enclaveCaptured));
    }

    function _clearing(uint256 key, KeysetId keyset, uint64 issued, uint64 captured, Captured[] memory lines)
        internal
        view
        returns (SignedClearing memory clearing)
    {
        clearing = SignedClearing({
            keyset: keyset,
            issued: Units.wrap(issued),
            captured: Units.wrap(captured),
            enclaves: lines,
            r: 0,
            vs: 0
        });
        bytes32 domain = PlainHash.domain("Sealpath", block.chainid, address(settlement));
        (clearing.r, clearing.vs) = vm.signCompact(key, PlainHash.digest(domain, PlainHash.clearingHash(clearing)));
    }

    function _lines(EnclaveId enclave, uint64 captured) internal pure returns (Captured[] memory lines) {
        lines = new Captured[](1);
        lines[0] = Captured(enclave, Units.wrap(captured));
    }

    // Settling

    function _settle(SignedHead memory head) internal returns (BatchId) {
        SignedHead[] memory heads = new SignedHead[](1);
        heads[0] = head;
        return settlement.settle(heads, new SignedClearing[](0));
    }

    function _settle(SignedHead memory first, SignedHead memory second) internal returns (BatchId) {
        SignedHead[] memory heads = new SignedHead[](2);
        heads[0] = first;
        heads[1] = second;
        return settlement.settle(heads, new SignedClearing[](0));
    }

    function _settle(SignedClearing memory clearing) internal returns (BatchId) {
        SignedClearing[] memory clearings = new SignedClearing[](1);
        clearings[0] = clearing;
        return settlement.settle(new SignedHead[](0), clearings);
    }

    function _settle(SignedHead memory head, SignedClearing memory clearing) internal returns (BatchId) {
        SignedHead[] memory heads = new SignedHead[](1);
        heads[0] = head;
        SignedClearing[] memory clearings = new SignedClearing[](1);
        clearings[0] = clearing;
        return settlement.settle(heads, clearings);
    }

    function _expectHeadSkipped(SignedHead memory head, IReceiptSettlement.HeadRefusal reason) internal {
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.HeadSkipped(head.enclave, head.size, reason);
    }

    function _expectClearingSkipped(KeysetId keyset, EnclaveId enclave, IReceiptSettlement.ClearingRefusal reason)
        internal
    {
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.ClearingSkipped(keyset, enclave, reason);
    }

    // Money

    /// Puts `units` behind a keyset. Deposits come in whole OPG, and bounds show best in units: so their sum is written, and its money minted.
    function _endow(KeysetId keyset, uint64 units) internal {
        uint64 deposited = Units.unwrap(vault.keysetOf(keyset).deposited) + units;
        bytes32 slot = keccak256(abi.encode(keyset, KEYSETS_SLOT));
        // The writer fills the low 160 bits.
        vm.store(address(vault), slot, bytes32(uint256(vm.load(address(vault), slot)) + (uint256(units) << 160)));
        assertEq(vault.keysetOf(keyset).deposited, deposited, "deposited");
        token.mint(address(vault), units * UNIT);
    }

    /// Has the issuer of KEYSET clear `units` more for a gateway, with as much behind the keyset. Opens it when it is first needed.
    function _clear(EnclaveId gateway, uint64 units) internal {
        if (vault.keysetOf(KEYSET).number == 0) _issuer(ISSUER_KEY, KEYSET, 0);
        _endow(KEYSET, units);
        IReceiptSettlement.KeysetTotals memory totals = settlement.keysetTotals(KEYSET);
        uint64 issued = Units.unwrap(totals.issued) + units;
        uint64 captured = Units.unwrap(totals.claimed) + units;
        uint64 line = Units.unwrap(settlement.clearedBy(KEYSET, gateway)) + units;
        uint64 before = _cleared(gateway);
        _settle(_clearing(issued, captured, gateway, line));
        assertEq(_cleared(gateway), before + units, "cleared");
    }

    function _fund(address account, uint64 units) internal {
        token.mint(account, units * UNIT);
        vm.prank(account);
        token.approve(address(vault), units * UNIT);
    }

    // Reading

    function _earned(EnclaveId enclave) internal view returns (uint64) {
        return Units.unwrap(settlement.accountOf(enclave).earned);
    }

    function _cleared(EnclaveId enclave) internal view returns (uint64) {
        return Units.unwrap(settlement.accountOf(enclave).cleared);
    }

    function _credited(EnclaveId enclave) internal view returns (uint64) {
        return Units.unwrap(settlement.accountOf(enclave).credited);
    }

    function _one(address account) internal view returns (uint256 units) {
        units = token.balanceOf(account) / UNIT;
        assertEq(token.balanceOf(account), units * UNIT, "whole units");
    }
}

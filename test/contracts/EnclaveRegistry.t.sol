// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {TestVerifier} from "./support/TestVerifier.sol";
import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {IEvidenceVerifier} from "../../contracts/interfaces/IEvidenceVerifier.sol";
import {EnclaveId, EnclaveRole, EnclaveState, MeasurementId, Units} from "../../contracts/types/Types.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {DeployedRegistry} from "./utils/Deployed.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

contract EnclaveRegistryTest is Stage {
    uint256 private constant KEY = GATEWAY_KEY;
    MeasurementId private constant OTHER = MeasurementId.wrap(keccak256("other reference values"));

    function _gatewayStatement() private pure returns (IEnclaveRegistry.EnclaveStatement memory) {
        return _statement(KEY, EnclaveRole.Gateway, OPERATOR);
    }

    /// Registers with what is given and expects `revertData`.
    function _refuse(
        IEnclaveRegistry.EnclaveStatement memory statement,
        uint256 key,
        IEvidenceVerifier.AttestationResult memory result,
        bytes memory revertData
    ) private {
        bytes memory hints = _hints(result);
        bytes memory possession = _signature(key, registry.statementDigest(statement));
        vm.expectRevert(revertData);
        registry.register(statement, hex"01", hints, possession);
    }

    function _state(EnclaveId enclave) private view returns (uint256) {
        return uint256(registry.stateOf(enclave));
    }

    function _assertState(EnclaveId enclave, EnclaveState state) private view {
        assertEq(_state(enclave), uint256(state), "state");
    }

    // Deployment and its owner

    function test_constructor_RefusesNoVerifier() public {
        verifier = TestVerifier(address(0));
        vm.expectRevert(IEnclaveRegistry.RegistryZeroAddress.selector);
        _newRegistry(0, true);
    }

    function test_bindSettlement_BindsOnce() public {
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveRegistry.RegistryAlreadyBound.selector, address(settlement))
        );
        registry.bindSettlement(address(1));
    }

    function test_bindSettlement_RefusesZeroAddress() public {
        DeployedRegistry unbound = _newRegistry(0, true);
        vm.expectRevert(IEnclaveRegistry.RegistryZeroAddress.selector);
        unbound.bindSettlement(address(0));
    }

    function test_ownerFunctions_RefuseStrangers() public {
        bytes memory refusal = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, STRANGER);
        vm.startPrank(STRANGER);
        vm.expectRevert(refusal);
        registry.approveMeasurement(EnclaveRole.Gateway, OTHER);
        vm.expectRevert(refusal);
        registry.setGuardian(STRANGER);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveRegistry.RegistryNotDeployer.selector, address(this), STRANGER)
        );
        registry.bindSettlement(address(1));
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNotGuardian.selector, GUARDIAN, STRANGER));
        registry.revokeMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        vm.stopPrank();
    }

    // Reference values

    function test_approveMeasurement_RefusesNoRole() public {
        vm.expectRevert(IEnclaveRegistry.RegistryRoleUnknown.selector);
        registry.approveMeasurement(EnclaveRole.None, OTHER);
    }

    function test_approveMeasurement_ApprovesForOneRole() public {
        registry.approveMeasurement(EnclaveRole.Gateway, OTHER);
        assertTrue(registry.isApproved(EnclaveRole.Gateway, OTHER), "gateway");
        assertTrue(!registry.isApproved(EnclaveRole.Issuer, OTHER), "issuer");
    }

    function test_approveMeasurement_WaitsInTheOwnersTimelock() public {
        TimelockController timelock = _timelock(2 days);
        registry.transferOwnership(address(timelock));
        _execute(timelock, abi.encodeCall(registry.acceptOwnership, ()));
        bytes memory approval = abi.encodeCall(registry.approveMeasurement, (EnclaveRole.Gateway, OTHER));
        timelock.schedule(address(registry), 0, approval, 0, 0, 2 days);
        vm.warp(_now() + 2 days - 1);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        timelock.execute(address(registry), 0, approval, 0, 0);
        vm.warp(_now() + 1);
        vm.prank(STRANGER);
        timelock.execute(address(registry), 0, approval, 0, 0);
        assertTrue(registry.isApproved(EnclaveRole.Gateway, OTHER), "anyone executes what is due");
        vm.prank(GUARDIAN);
        registry.revokeMeasurement(EnclaveRole.Gateway, OTHER);
        assertTrue(!registry.isApproved(EnclaveRole.Gateway, OTHER), "the guardian need not wait");
    }

    /// As the deployment makes it: the test proposes, anyone executes, nobody administers.
    function _timelock(uint256 delay) private returns (TimelockController) {
        address[] memory proposers = new address[](1);
        proposers[0] = address(this);
        bytes memory arguments = abi.encode(delay, proposers, new address[](1), address(0));
        return TimelockController(
            payable(_create(
                    "@openzeppelin/contracts/governance/TimelockController.sol/TimelockController", arguments
                ))
        );
    }

    function _execute(TimelockController timelock, bytes memory call) private {
        timelock.schedule(address(registry), 0, call, 0, 0, timelock.getMinDelay());
        vm.warp(_now() + timelock.getMinDelay());
        timelock.execute(address(registry), 0, call, 0, 0);
    }

    function test_setGuardian_ReplacesWhoRevokes() public {
        vm.expectRevert(IEnclaveRegistry.RegistryZeroAddress.selector);
        registry.setGuardian(address(0));
        registry.setGuardian(STRANGER);
        vm.prank(STRANGER);
        registry.revokeMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNotGuardian.selector, STRANGER, GUARDIAN));
        vm.prank(GUARDIAN);
        registry.revokeMeasurement(EnclaveRole.Issuer, MEASUREMENT);
    }

    function test_revokeMeasurement_TakesEffectAtOnce() public {
        registry.revokeMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        assertTrue(!registry.isApproved(EnclaveRole.Gateway, MEASUREMENT), "gateway");
        assertTrue(registry.isApproved(EnclaveRole.Issuer, MEASUREMENT), "issuer");
    }

    // Registration

    function test_register_StoresWhatTheStatementSays() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        result.development = true;
        _register(statement, KEY, result);
        IEnclaveRegistry.Enclave memory entry = registry.enclaveOf(statement.enclave);
        assertEq(entry.operator, OPERATOR, "operator");
        assertEq(entry.endsAt, START + registry.LIFETIME(), "end");
        assertEq(uint256(entry.role), uint256(EnclaveRole.Gateway), "role");
        assertTrue(entry.isDevelopment && !entry.isCompromised, "flags");
        assertTrue(entry.measurement == MEASUREMENT, "measurement");
        assertTrue(registry.measurementOf(statement.enclave) == MEASUREMENT, "measurementOf");
        assertEq(registry.operatorOf(statement.enclave), OPERATOR, "operatorOf");
        assertEq(registry.enclaveCount(), 1, "count");
        IEnclaveRegistry.KeyConfigs[2] memory keys = registry.keyConfigsOf(statement.enclave);
        assertEq(keys[0].hash, statement.keyConfigs, "key configurations");
        assertEq(keys[0].activeFrom, START, "live at once");
        assertEq(keys[0].expiresAt, START + registry.LIFETIME(), "for seven days");
    }

    function test_register_DigestIsTheTypedDataOfTheStatement() public view {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        bytes32 typeHash =
            keccak256("EnclaveStatement(uint8 role,address enclave,bytes32 keyConfigs,address operator)");
        bytes32 domain = PlainHash.domain("Sealpath EnclaveRegistry", block.chainid, address(registry));
        bytes32 expected = PlainHash.digest(
            domain,
            keccak256(
                abi.encode(typeHash, statement.role, statement.enclave, statement.keyConfigs, statement.operator)
            )
        );
        assertEq(registry.statementDigest(statement), expected, "digest");
    }

    function test_register_RefusesNoRole() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _statement(KEY, EnclaveRole.None, OPERATOR);
        _refuse(statement, KEY, _result(statement), abi.encodeWithSelector(IEnclaveRegistry.RegistryRoleUnknown.selector));
    }

    function test_register_RefusesNoOperator() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _statement(KEY, EnclaveRole.Gateway, address(0));
        _refuse(statement, KEY, _result(statement), abi.encodeWithSelector(IEnclaveRegistry.RegistryZeroAddress.selector));
    }

    function test_register_RefusesAnotherKeysSignature() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        bytes memory refusal = abi.encodeWithSelector(
            IEnclaveRegistry.RegistryPossessionNotProven.selector, statement.enclave, vm.addr(KEY + 1)
        );
        _refuse(statement, KEY + 1, _result(statement), refusal);
    }

    function test_register_RefusesTheZeroEnclaveWithoutSignature() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        statement.enclave = EnclaveId.wrap(address(0));
        bytes memory hints = _hints(_result(statement));
        vm.expectRevert(
            abi.encodeWithSelector(
                IEnclaveRegistry.RegistryPossessionNotProven.selector, EnclaveId.wrap(address(0)), address(0)
            )
        );
        registry.register(statement, hex"01", hints, new bytes(65));
    }

    function test_register_RefusesOtherUserData() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        bytes32 expected = bytes32(result.userData);
        result.userData = abi.encodePacked(expected ^ bytes32(uint256(1)));
        bytes memory refusal = abi.encodeWithSelector(
            IEnclaveRegistry.RegistryUserDataMismatch.selector, expected, result.userData
        );
        _refuse(statement, KEY, result, refusal);
        result.userData = abi.encodePacked(expected, uint8(0));
        refusal = abi.encodeWithSelector(
            IEnclaveRegistry.RegistryUserDataMismatch.selector, expected, result.userData
        );
        _refuse(statement, KEY, result, refusal);
        result.userData = "";
        refusal = abi.encodeWithSelector(IEnclaveRegistry.RegistryUserDataMismatch.selector, expected, bytes(""));
        _refuse(statement, KEY, result, refusal);
    }

    function test_register_RefusesAStatementForAnotherRegistry() public {
        DeployedRegistry other = _newRegistry(0, true);
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        bytes memory hints = _hints(_result(statement));
        bytes memory possession = _signature(KEY, registry.statementDigest(statement));
        vm.expectPartialRevert(IEnclaveRegistry.RegistryPossessionNotProven.selector);
        other.register(statement, hex"01", hints, possession);
    }

    function test_register_RefusesUnapprovedMeasurement() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        result.measurement = OTHER;
        bytes memory refusal = abi.encodeWithSelector(
            IEnclaveRegistry.RegistryMeasurementNotApproved.selector, EnclaveRole.Gateway, OTHER
        );
        _refuse(statement, KEY, result, refusal);
    }

    function test_register_RefusesOldEvidence() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        uint64 oldest = uint64(START) - registry.EVIDENCE_AGE_MAX();
        result.issuedAt = oldest - 1;
        bytes memory refusal =
            abi.encodeWithSelector(IEnclaveRegistry.RegistryEvidenceTooOld.selector, oldest - 1, oldest);
        _refuse(statement, KEY, result, refusal);
        result.issuedAt = oldest;
        _register(statement, KEY, result);
    }

    function test_register_RefusesEvidenceFromTheFuture() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        uint64 latest = uint64(START) + registry.EVIDENCE_SKEW_MAX();
        result.issuedAt = latest + 1;
        bytes memory refusal =
            abi.encodeWithSelector(IEnclaveRegistry.RegistryEvidenceFromFuture.selector, latest + 1, latest);
        _refuse(statement, KEY, result, refusal);
        result.issuedAt = latest;
        _register(statement, KEY, result);
    }

    function test_register_RefusesExpiredEvidence() public {
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        result.validUntil = uint64(START) - 1;
        bytes memory refusal =
            abi.encodeWithSelector(IEnclaveRegistry.RegistryEvidenceExpired.selector, result.validUntil);
        _refuse(statement, KEY, result, refusal);
        result.validUntil = uint64(START);
        _register(statement, KEY, result);
    }

    function test_register_RefusesDevelopmentEvidenceUnlessDeployedForIt() public {
        registry = _newRegistry(0, false);
        registry.approveMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        result.development = true;
        _refuse(
            statement, KEY, result, abi.encodeWithSelector(IEnclaveRegistry.RegistryDevelopmentRefused.selector)
        );
        result.development = false;
        _register(statement, KEY, result);
    }

    // Renewal

    function test_register_AgainExtendsTheTimeAndNothingElse() public {
        EnclaveId enclave = _gateway(0);
        vm.warp(START + 1 days);
        _gateway(0);
        assertEq(registry.enclaveOf(enclave).endsAt, START + 1 days + registry.LIFETIME(), "end");
        assertEq(registry.enclaveCount(), 1, "count");
        assertEq(registry.keyConfigsOf(enclave)[0].expiresAt, START + registry.LIFETIME(), "a key grows no younger");
        assertEq(registry.keyConfigsOf(enclave)[1].hash, 0, "no further key");
    }

    function test_register_AgainWithTheSameOrOlderEvidenceChangesNothing() public {
        EnclaveId enclave = _gateway(0);
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        uint64 locked = Units.unwrap(registry.bondOf(OPERATOR).locked);
        vm.warp(START + 1 hours);
        vm.recordLogs();
        _register(statement, KEY, result);
        result.issuedAt -= 1;
        result.certificates = new bytes32[](0);
        _register(statement, KEY, result);
        assertEq(vm.getRecordedLogs().length, 0, "no event");
        assertEq(registry.enclaveOf(enclave).endsAt, START + registry.LIFETIME(), "end");
        assertEq(Units.unwrap(registry.bondOf(OPERATOR).locked), locked, "no second bond");
    }

    function test_register_RenewsUpToTheLastSecondWithoutAGap() public {
        EnclaveId enclave = _gateway(0);
        vm.warp(START + registry.LIFETIME() - 1);
        _gateway(0);
        vm.warp(START + registry.LIFETIME());
        _assertState(enclave, EnclaveState.Active);
        assertEq(registry.enclaveOf(enclave).endsAt, START + 2 * registry.LIFETIME() - 1, "end");
    }

    function test_register_AgainRefusesAChangedOperatorOrRole() public {
        EnclaveId enclave = _gateway(0);
        bytes memory refusal = abi.encodeWithSelector(IEnclaveRegistry.RegistryStatementChanged.selector, enclave);
        IEnclaveRegistry.EnclaveStatement memory statement = _statement(KEY, EnclaveRole.Gateway, STRANGER);
        _refuse(statement, KEY, _result(statement), refusal);
        statement = _statement(KEY, EnclaveRole.Issuer, OPERATOR);
        _refuse(statement, KEY, _result(statement), refusal);
    }

    function test_register_AgainRefusesAChangedMeasurement() public {
        EnclaveId enclave = _gateway(0);
        registry.approveMeasurement(EnclaveRole.Gateway, OTHER);
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        result.measurement = OTHER;
        _refuse(
            statement, KEY, result, abi.encodeWithSelector(IEnclaveRegistry.RegistryStatementChanged.selector, enclave)
        );
    }

    function test_register_AgainRefusesAnEndedEnclave() public {
        EnclaveId enclave = _gateway(0);
        vm.warp(START + registry.LIFETIME());
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        _refuse(statement, KEY, _result(statement), _ended(enclave, EnclaveState.Retired));
    }

    function test_register_AgainRefusesACompromisedEnclave() public {
        EnclaveId enclave = _gateway(0);
        _compromise(0);
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        _refuse(statement, KEY, _result(statement), _ended(enclave, EnclaveState.Compromised));
    }

    function _ended(EnclaveId enclave, EnclaveState state) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IEnclaveRegistry.RegistryEnclaveEnded.selector, enclave, state);
    }

    // States

    function test_stateOf_GoesFromActiveToRetiredToClosed() public {
        EnclaveId enclave = EnclaveId.wrap(vm.addr(KEY));
        _assertState(enclave, EnclaveState.None);
        _gateway(0);
        uint256 end = START + registry.LIFETIME();
        _assertState(enclave, EnclaveState.Active);
        vm.warp(end - 1);
        _assertState(enclave, EnclaveState.Active);
        vm.warp(end);
        _assertState(enclave, EnclaveState.Retired);
        vm.warp(end + registry.GRACE_PERIOD() - 1);
        _assertState(enclave, EnclaveState.Retired);
        vm.warp(end + registry.GRACE_PERIOD());
        _assertState(enclave, EnclaveState.Closed);
    }

    function test_settleable_AgreesWithStandingForEveryStateAndRole() public {
        EnclaveId[] memory ids = new EnclaveId[](5);
        ids[0] = _gateway(0);
        ids[1] = _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        ids[2] = EnclaveId.wrap(STRANGER);
        ids[3] = _gateway(3);
        ids[4] = _gateway(4);
        _compromise(3);
        vm.prank(OPERATOR);
        registry.retire(ids[4]);
        assertEq(registry.settleable(ids), 1 | 1 << 4, "active and retired gateways");
        vm.warp(START + registry.GRACE_PERIOD());
        assertEq(registry.settleable(ids), 1, "the retired one is closed");
        for (uint256 i = 0; i < ids.length; i++) {
            (EnclaveState state, EnclaveRole role) = registry.standingOf(ids[i]);
            bool may = role == EnclaveRole.Gateway && (state == EnclaveState.Active || state == EnclaveState.Retired);
            assertTrue(may == ((registry.settleable(ids) >> i) & 1 == 1), "standing");
        }
        _closeAll();
        assertEq(registry.settleable(ids), 0, "all closed");
    }

    function test_settleable_RefusesMoreThan256() public {
        assertEq(registry.settleable(new EnclaveId[](256)), 0, "256 are fine");
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryTooMany.selector, 256, 257));
        registry.settleable(new EnclaveId[](257));
    }

    function test_retire_EndsAnEnclaveAtItsOperatorsWord() public {
        EnclaveId enclave = _gateway(0);
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveRegistry.RegistryNotOperator.selector, OPERATOR, STRANGER)
        );
        vm.prank(STRANGER);
        registry.retire(enclave);
        vm.expectEmit(address(registry));
        emit IEnclaveRegistry.EnclaveRetired(enclave, uint40(START));
        vm.prank(OPERATOR);
        registry.retire(enclave);
        _assertState(enclave, EnclaveState.Retired);
        vm.expectRevert(_ended(enclave, EnclaveState.Retired));
        vm.prank(OPERATOR);
        registry.retire(enclave);
    }

    function test_invalidateCertificate_EndsAnEnclaveOfARevokedCertificate() public {
        EnclaveId enclave = _gateway(0);
        bytes32[] memory certificates = _certificates();
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNothingToInvalidate.selector, enclave));
        registry.invalidateCertificate(enclave, certificates, 0);
        verifier.revoke(certificates[0]);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNothingToInvalidate.selector, enclave));
        registry.invalidateCertificate(enclave, certificates, 1);
        vm.prank(STRANGER);
        registry.invalidateCertificate(enclave, certificates, 0);
        _assertState(enclave, EnclaveState.Retired);
        assertTrue(registry.enclaveOf(enclave).isBonded, "nothing is slashed");
    }

    function test_invalidateCertificate_RefusesCertificatesThatTheEnclaveDoesNotStandOn() public {
        EnclaveId enclave = _gateway(0);
        bytes32[] memory others = new bytes32[](1);
        others[0] = _certificates()[0];
        verifier.revoke(others[0]);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryOtherCertificates.selector, enclave));
        registry.invalidateCertificate(enclave, others, 0);
    }

    function test_invalidateCertificate_GoesByTheNewestEvidence() public {
        EnclaveId enclave = _gateway(0);
        bytes32[] memory former = _certificates();
        vm.warp(START + 1 days);
        IEnclaveRegistry.EnclaveStatement memory statement = _gatewayStatement();
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        result.certificates[1] = keccak256("next leaf");
        _register(statement, KEY, result);
        verifier.revoke(former[1]);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryOtherCertificates.selector, enclave));
        registry.invalidateCertificate(enclave, former, 1);
        verifier.revoke(result.certificates[1]);
        registry.invalidateCertificate(enclave, result.certificates, 1);
        _assertState(enclave, EnclaveState.Retired);
    }

    function test_invalidate_EndsAnEnclaveOfARevokedMeasurement() public {
        EnclaveId enclave = _gateway(0);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNothingToInvalidate.selector, enclave));
        registry.invalidate(enclave);
        registry.revokeMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        _assertState(enclave, EnclaveState.Active);
        vm.prank(STRANGER);
        registry.invalidate(enclave);
        _assertState(enclave, EnclaveState.Retired);
    }

    function test_markCompromised_IsTheSettlementContractsAlone() public {
        EnclaveId enclave = _gateway(0);
        vm.expectRevert(
            abi.encodeWithSelector(
                IEnclaveRegistry.RegistryNotSettlement.selector, address(settlement), address(this)
            )
        );
        registry.markCompromised(enclave, STRANGER);
        vm.prank(address(settlement));
        registry.markCompromised(enclave, STRANGER);
        _assertState(enclave, EnclaveState.Compromised);
        _closeAll();
        _assertState(enclave, EnclaveState.Compromised);
    }

    function test_markCompromised_RefusesAnUnknownEnclave() public {
        EnclaveId enclave = EnclaveId.wrap(vm.addr(KEY));
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryEnclaveUnknown.selector, enclave));
        vm.prank(address(settlement));
        registry.markCompromised(enclave, STRANGER);
    }

    // Key configurations

    function _announce(bytes32 hash) private {
        registry.announceKeyConfigs(EnclaveId.wrap(vm.addr(KEY)), hash, _announcement(KEY, hash));
    }

    function _announcement(uint256 key, bytes32 hash) private view returns (bytes memory) {
        bytes32 typeHash = keccak256("KeyConfigs(address enclave,bytes32 hash)");
        bytes32 domain = PlainHash.domain("Sealpath EnclaveRegistry", block.chainid, address(registry));
        return _signature(key, PlainHash.digest(domain, keccak256(abi.encode(typeHash, vm.addr(KEY), hash))));
    }

    /// Renews the enclave once a day up to `time`, so that it stays active.
    function _liveUntil(uint256 time) private {
        while (_now() + 1 days < time) {
            vm.warp(_now() + 1 days);
            _gateway(0);
        }
        vm.warp(time);
    }

    function test_announceKeyConfigs_WaitsForItsDelay() public {
        registry = _newRegistry(1 hours, true);
        registry.approveMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        EnclaveId enclave = _gateway(0);
        _announce(keccak256("second"));
        IEnclaveRegistry.KeyConfigs[2] memory keys = registry.keyConfigsOf(enclave);
        assertEq(keys[0].activeFrom, START, "the first is live at once");
        assertEq(keys[1].hash, keccak256("second"), "hash");
        assertEq(keys[1].activeFrom, START + 1 hours, "the second later");
        assertEq(keys[1].expiresAt, START + 1 hours + registry.LIFETIME(), "expiry");
    }

    function test_announceKeyConfigs_RefusesAThirdLiveOne() public {
        EnclaveId enclave = _gateway(0);
        _announce(keccak256("second"));
        bytes memory signature = _announcement(KEY, keccak256("third"));
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryKeyConfigsFull.selector, enclave));
        registry.announceKeyConfigs(enclave, keccak256("third"), signature);
    }

    function test_announceKeyConfigs_ReplacesAnExpiredOne() public {
        EnclaveId enclave = _gateway(0);
        _liveUntil(START + registry.LIFETIME());
        _announce(keccak256("second"));
        assertEq(registry.keyConfigsOf(enclave)[0].hash, keccak256("second"), "in the place of the first");
    }

    function test_announceKeyConfigs_RefusesAKnownOne() public {
        EnclaveId enclave = _gateway(0);
        _announce(keccak256("second"));
        bytes memory signature = _announcement(KEY, keccak256("second"));
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveRegistry.RegistryKeyConfigsKnown.selector, keccak256("second"))
        );
        registry.announceKeyConfigs(enclave, keccak256("second"), signature);
    }

    function test_announceKeyConfigs_RefusesAReplayOfOneThatLostItsPlace() public {
        EnclaveId enclave = _gateway(0);
        _announce(keccak256("second"));
        bytes memory replayed = _announcement(KEY, keccak256("second"));
        _liveUntil(START + registry.LIFETIME());
        _announce(keccak256("third"));
        _announce(keccak256("fourth"));
        _liveUntil(START + 2 * registry.LIFETIME());
        vm.expectRevert(
            abi.encodeWithSelector(IEnclaveRegistry.RegistryKeyConfigsKnown.selector, keccak256("second"))
        );
        registry.announceKeyConfigs(enclave, keccak256("second"), replayed);
    }

    function test_announceKeyConfigs_RefusesAnotherKeysSignature() public {
        EnclaveId enclave = _gateway(0);
        bytes memory signature = _announcement(KEY + 1, keccak256("second"));
        vm.expectRevert(
            abi.encodeWithSelector(
                IEnclaveRegistry.RegistryPossessionNotProven.selector, enclave, vm.addr(KEY + 1)
            )
        );
        registry.announceKeyConfigs(enclave, keccak256("second"), signature);
    }

    function test_announceKeyConfigs_RefusesAnEndedEnclave() public {
        EnclaveId enclave = _gateway(0);
        bytes memory signature = _announcement(KEY, keccak256("second"));
        _closeAll();
        vm.expectRevert(_ended(enclave, EnclaveState.Closed));
        registry.announceKeyConfigs(enclave, keccak256("second"), signature);
    }

    // Listing

    function test_liveEnclaves_PagesThroughActiveOnesOfARole() public {
        for (uint256 i = 0; i < 5; i++) {
            _gateway(i);
        }
        _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        _compromise(1);
        vm.prank(OPERATOR);
        registry.retire(EnclaveId.wrap(vm.addr(GATEWAY_KEY + 3)));
        (EnclaveId[] memory ids, IEnclaveRegistry.Enclave[] memory entries,) =
            registry.liveEnclaves(EnclaveRole.Gateway, 0, 3);
        assertEq(ids.length, 2, "the first page skips the compromised one");
        assertEq(EnclaveId.unwrap(ids[1]), vm.addr(GATEWAY_KEY + 2), "in order");
        assertEq(entries[1].operator, OPERATOR, "with its entry");
        IEnclaveRegistry.KeyConfigs[2][] memory keys;
        (ids,, keys) = registry.liveEnclaves(EnclaveRole.Gateway, 3, type(uint256).max);
        assertEq(ids.length, 1, "the second page skips the retired one and the issuer");
        assertEq(EnclaveId.unwrap(ids[0]), vm.addr(GATEWAY_KEY + 4), "the last");
        assertEq(keys[0][0].hash, _statement(GATEWAY_KEY + 4, EnclaveRole.Gateway, OPERATOR).keyConfigs, "its key");
        (ids,,) = registry.liveEnclaves(EnclaveRole.Gateway, 6, 10);
        assertEq(ids.length, 0, "past the end");
        (ids,,) = registry.liveEnclaves(EnclaveRole.Issuer, 0, 10);
        assertEq(ids.length, 1, "issuers");
        assertEq(registry.enclaveCount(), 6, "count");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {IEvidenceVerifier} from "../../contracts/interfaces/IEvidenceVerifier.sol";
import {IOperatorBonds} from "../../contracts/interfaces/IOperatorBonds.sol";
import {OpgTransfer} from "../../contracts/libraries/OpgTransfer.sol";
import {EnclaveId, EnclaveRole, Units} from "../../contracts/types/Types.sol";
import {SignedHead} from "../../contracts/types/Receipt.sol";
import {ReentrantToken} from "./support/OddTokens.sol";
import {TestOPG} from "./support/TestOPG.sol";
import {DeployedRegistry} from "./utils/Deployed.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

contract OperatorBondsTest is Stage {
    address private constant REPORTER = address(0x4E90);
    uint256 private _attacks;

    function _deposited(address operator) private view returns (uint64) {
        return Units.unwrap(registry.bondOf(operator).deposited);
    }

    function _locked(address operator) private view returns (uint64) {
        return Units.unwrap(registry.bondOf(operator).locked);
    }

    /// Registers gateway 0 as `sender` without depositing anything first.
    function _registerAs(address sender, bytes memory refusal) private {
        IEnclaveRegistry.EnclaveStatement memory statement = _statement(GATEWAY_KEY, EnclaveRole.Gateway, OPERATOR);
        bytes memory hints = _hints(_result(statement));
        bytes memory possession = _signature(GATEWAY_KEY, registry.statementDigest(statement));
        if (refusal.length != 0) vm.expectRevert(refusal);
        vm.prank(sender);
        registry.register(statement, hex"01", hints, possession);
    }

    function _report() private {
        SignedHead memory a = _logHead(0, 1, keccak256("one root"));
        SignedHead memory b = _logHead(0, 1, keccak256("another root"));
        vm.prank(REPORTER);
        settlement.reportContradiction(a, b);
    }

    // Deposits

    function test_depositBond_IsAnybodysToPayAndTheOperatorsToWithdraw() public {
        _depositBond(OPERATOR, 500);
        assertEq(_deposited(OPERATOR), 500, "deposited");
        assertEq(token.balanceOf(address(registry)), 500 * UNIT, "held");
        vm.prank(OPERATOR);
        registry.withdrawBond(Units.wrap(200));
        assertEq(_one(OPERATOR), 200, "withdrawn");
        assertEq(_deposited(OPERATOR), 300, "left");
        vm.expectRevert(
            abi.encodeWithSelector(
                IOperatorBonds.BondTooSmall.selector, OPERATOR, Units.wrap(301), Units.wrap(300)
            )
        );
        vm.prank(OPERATOR);
        registry.withdrawBond(Units.wrap(301));
    }

    function test_depositBond_RefusesNothing() public {
        vm.expectRevert(OpgTransfer.OpgZeroAmount.selector);
        registry.depositBond(OPERATOR, Units.wrap(0));
    }

    function testFuzz_bonds_KeepEveryUnit(uint64[8] memory amounts) public {
        uint256 held = 0;
        for (uint256 i = 0; i < amounts.length; i++) {
            uint64 amount = amounts[i] % 1_000_000 + 1;
            address operator = address(uint160(0xB000 + i % 3));
            _depositBond(operator, amount);
            uint64 back = amount / 3;
            if (back != 0) {
                vm.prank(operator);
                registry.withdrawBond(Units.wrap(back));
            }
            held += amount - back;
        }
        uint256 sum = uint256(_deposited(address(0xB000))) + _deposited(address(0xB001)) + _deposited(address(0xB002));
        assertEq(sum, held, "deposits");
        assertEq(token.balanceOf(address(registry)), held * UNIT, "held");
    }

    // Locking

    function test_register_LocksTheBondOfTheRole() public {
        EnclaveId gateway = _gateway(0);
        assertEq(_locked(OPERATOR), GATEWAY_BOND, "gateway");
        assertTrue(registry.enclaveOf(gateway).isBonded, "bonded");
        _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        assertEq(_locked(OPERATOR), GATEWAY_BOND + ISSUER_BOND, "issuer");
        uint64 free = _deposited(OPERATOR) - _locked(OPERATOR);
        vm.expectRevert(
            abi.encodeWithSelector(
                IOperatorBonds.BondTooSmall.selector, OPERATOR, Units.wrap(free + 1), Units.wrap(free)
            )
        );
        vm.prank(OPERATOR);
        registry.withdrawBond(Units.wrap(free + 1));
    }

    function test_register_RefusesWithoutAPriorDeposit() public {
        bytes memory refusal = abi.encodeWithSelector(
            IOperatorBonds.BondTooSmall.selector, OPERATOR, Units.wrap(GATEWAY_BOND), Units.wrap(GATEWAY_BOND - 1)
        );
        _depositBond(OPERATOR, GATEWAY_BOND - 1);
        _registerAs(OPERATOR, refusal);
        _depositBond(OPERATOR, 1);
        _registerAs(OPERATOR, "");
        assertEq(_locked(OPERATOR), GATEWAY_BOND, "locked");
    }

    function test_register_SpendsNobodysBondUnasked() public {
        _depositBond(OPERATOR, GATEWAY_BOND);
        _registerAs(STRANGER, abi.encodeWithSelector(IOperatorBonds.BondNotConsented.selector, OPERATOR, STRANGER));
        vm.prank(OPERATOR);
        registry.allowRegistrar(STRANGER, true);
        _registerAs(STRANGER, "");
        vm.prank(OPERATOR);
        registry.allowRegistrar(STRANGER, false);
        assertTrue(!registry.isRegistrar(OPERATOR, STRANGER), "no longer");
    }

    function test_register_AgainNeedsNobodysConsent() public {
        _gateway(0);
        vm.warp(START + 1 days);
        _registerAs(STRANGER, "");
        assertEq(_locked(OPERATOR), GATEWAY_BOND, "and locks nothing more");
    }

    function test_register_WithoutBondsNeedsNoConsent() public {
        DeployedRegistry.Terms memory terms = DeployedRegistry.Terms(0, true, Units.wrap(0), Units.wrap(0));
        registry = DeployedRegistry(
            _create(
                "contracts/EnclaveRegistry.sol/EnclaveRegistry", abi.encode(this, GUARDIAN, verifier, token, terms)
            )
        );
        registry.approveMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        _registerAs(STRANGER, "");
        assertEq(_locked(OPERATOR), 0, "nothing locked");
    }

    // Release

    function test_releaseBond_WaitsLongerThanAnEnclaveCanSettle() public {
        EnclaveId gateway = _gateway(0);
        assertTrue(registry.BOND_PERIOD() > registry.GRACE_PERIOD(), "longer than the grace period");
        uint40 until = uint40(START + registry.LIFETIME() + registry.BOND_PERIOD());
        vm.warp(until - 1);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryBondHeld.selector, gateway, until));
        registry.releaseBond(gateway);
        vm.warp(until);
        vm.prank(STRANGER);
        registry.releaseBond(gateway);
        assertEq(_locked(OPERATOR), 0, "unlocked");
        assertTrue(!registry.enclaveOf(gateway).isBonded, "released");
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNoBond.selector, gateway));
        registry.releaseBond(gateway);
    }

    function test_releaseBond_CountsFromTheEndOfARetiredEnclave() public {
        EnclaveId gateway = _gateway(0);
        vm.prank(OPERATOR);
        registry.retire(gateway);
        vm.warp(START + registry.BOND_PERIOD());
        registry.releaseBond(gateway);
        assertEq(_locked(OPERATOR), 0, "unlocked");
    }

    function test_releaseBond_RefusesAnUnknownEnclave() public {
        EnclaveId nobody = EnclaveId.wrap(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNoBond.selector, nobody));
        registry.releaseBond(nobody);
    }

    // Slashing

    function test_reportContradiction_SlashesTheBondAndRewardsTheReporter() public {
        EnclaveId gateway = _gateway(0);
        uint64 before = _deposited(OPERATOR);
        _report();
        assertEq(_deposited(OPERATOR), before - GATEWAY_BOND, "taken");
        assertEq(_locked(OPERATOR), 0, "not locked any more");
        assertEq(_deposited(REPORTER), GATEWAY_BOND / 5, "a fifth for the reporter");
        assertEq(Units.unwrap(registry.slashed()), GATEWAY_BOND - GATEWAY_BOND / 5, "the rest for the insurance");
        assertTrue(!registry.enclaveOf(gateway).isBonded, "gone");
        vm.prank(REPORTER);
        registry.withdrawBond(Units.wrap(GATEWAY_BOND / 5));
        assertEq(_one(REPORTER), GATEWAY_BOND / 5, "paid");
    }

    function test_reportContradiction_SlashesOnce() public {
        EnclaveId gateway = _gateway(0);
        _gateway(1);
        _report();
        _report();
        assertEq(_deposited(REPORTER), GATEWAY_BOND / 5, "one reward");
        assertEq(_locked(OPERATOR), GATEWAY_BOND, "the other enclave's bond is untouched");
        vm.warp(START + 365 days);
        vm.expectRevert(abi.encodeWithSelector(IEnclaveRegistry.RegistryNoBond.selector, gateway));
        registry.releaseBond(gateway);
    }

    function test_reportContradiction_SlashesAClosedEnclaveUntilItsRelease() public {
        EnclaveId gateway = _gateway(0);
        vm.warp(START + registry.LIFETIME() + registry.BOND_PERIOD() - 1);
        uint256 snapshot = vm.snapshotState();
        _report();
        assertEq(_deposited(REPORTER), GATEWAY_BOND / 5, "still held");
        vm.revertToState(snapshot);
        vm.warp(START + registry.LIFETIME() + registry.BOND_PERIOD());
        registry.releaseBond(gateway);
        _report();
        assertEq(_deposited(REPORTER), 0, "released");
    }

    function test_revocations_SlashNothing() public {
        EnclaveId gateway = _gateway(0);
        EnclaveId other = _gateway(1);
        uint64 before = _deposited(OPERATOR);
        verifier.revoke(_certificates()[0]);
        registry.invalidateCertificate(other, _certificates(), 0);
        registry.revokeMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        registry.invalidate(gateway);
        assertEq(_deposited(OPERATOR), before, "deposit");
        vm.warp(START + registry.BOND_PERIOD());
        registry.releaseBond(gateway);
        registry.releaseBond(other);
        assertEq(_locked(OPERATOR), 0, "both come back");
    }

    function test_insureSlashed_MovesTheRestToTheVaultsInsurance() public {
        _gateway(0);
        vm.expectRevert(IOperatorBonds.BondNothingSlashed.selector);
        registry.insureSlashed();
        _report();
        uint64 rest = GATEWAY_BOND - GATEWAY_BOND / 5;
        vm.prank(STRANGER);
        registry.insureSlashed();
        assertEq(Units.unwrap(settlement.insurance()), rest, "insurance");
        assertEq(token.balanceOf(address(vault)), rest * UNIT, "in the vault");
        assertEq(Units.unwrap(registry.slashed()), 0, "nothing left");
        assertEq(
            token.balanceOf(address(registry)), (uint256(_deposited(OPERATOR)) + _deposited(REPORTER)) * UNIT, "deposits"
        );
    }

    function test_bonds_CannotBeReentered() public {
        token = TestOPG(_create("test/contracts/support/OddTokens.sol/ReentrantToken", ""));
        registry = _newRegistry(0, true);
        _newVault();
        settlement = _newSettlement(PROTOCOL_BPS, SETTLER_BPS);
        _bindAndApprove();
        ReentrantToken odd = ReentrantToken(address(token));
        bytes[3] memory calls = [
            abi.encodeCall(registry.depositBond, (OPERATOR, Units.wrap(1))),
            abi.encodeCall(registry.withdrawBond, (Units.wrap(1))),
            abi.encodeCall(registry.insureSlashed, ())
        ];
        for (uint256 i = 0; i < calls.length; i++) {
            odd.arm(address(registry), calls[i]);
            _depositBond(OPERATOR, 500);
            _assertRefused(odd);
            vm.prank(OPERATOR);
            registry.withdrawBond(Units.wrap(500));
            _assertRefused(odd);
        }
        assertEq(_deposited(OPERATOR), 0, "each once");
        odd.arm(address(0), "");
        _gateway(0);
        _report();
        odd.arm(address(registry), calls[2]);
        registry.insureSlashed();
        _assertRefused(odd);
        assertEq(Units.unwrap(settlement.insurance()), GATEWAY_BOND - GATEWAY_BOND / 5, "insured once");
    }

    /// The token was moved since the last look, and what it called then was refused by the lock.
    function _assertRefused(ReentrantToken odd) private {
        assertTrue(odd.calls() > _attacks, "attacked");
        _attacks = odd.calls();
        assertEq(
            odd.lastRevert(),
            abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "refused"
        );
    }

    function test_insure_IsForWhoPays() public {
        _fund(STRANGER, 7);
        vm.prank(STRANGER);
        vault.insure(Units.wrap(7));
        assertEq(Units.unwrap(settlement.insurance()), 7, "insurance");
        vm.expectPartialRevert(bytes4(keccak256("SettlementNotVault(address,address)")));
        settlement.bookInsurance(Units.wrap(1));
    }
}

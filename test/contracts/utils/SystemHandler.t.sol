// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEnclaveRegistry} from "../../../contracts/interfaces/IEnclaveRegistry.sol";
import {EnclaveId, EnclaveRole, Units} from "../../../contracts/types/Types.sol";
import {CreditHandler} from "./CreditHandler.t.sol";
import {vm} from "./Vm.sol";

/// @title SystemHandler
/// What CreditHandler has people do around vault and settlement, and the bonds of two more operators beside it: laid, locked, freed, slashed and
/// insured, with a ledger of their own. Never reverts.
contract SystemHandler is CreditHandler {
    uint256 private constant OPERATORS = 2;
    /// The account that reports has a deposit too: its rewards.
    uint256 private constant REPORTER = OPERATORS;
    /// Numbers of these operators' gateways count from here.
    uint256 private constant FIRST_GATEWAY = 0x1000;

    struct Purse {
        uint256 deposited;
        uint256 locked;
        uint256 back;
    }

    struct Standing {
        uint256 owner;
        uint256 endsAt;
        bool isLocked;
        bool isCompromised;
    }

    Purse[OPERATORS + 1] public purses;
    Standing[] public standings;
    uint256 public slashed;
    uint256 public insured;

    function accountOf(uint256 o) public pure returns (address) {
        return address(uint160(0xB000 + o));
    }

    // Bonds

    function layBond(uint256 o, uint256 units) external {
        (o, units) = (o % purses.length, 1 + units % 300);
        token.mint(address(this), units * UNIT);
        token.approve(address(registry), units * UNIT);
        registry.depositBond(accountOf(o), Units.wrap(uint64(units)));
        purses[o].deposited += units;
        done["layBond"]++;
    }

    function takeBond(uint256 o, uint256 units) external {
        (o, units) = (o % purses.length, units % 400);
        Purse storage purse = purses[o];
        vm.prank(accountOf(o));
        (bool ok,) = address(registry).call(abi.encodeCall(registry.withdrawBond, (Units.wrap(uint64(units)))));
        if (!_note("takeBond", units <= purse.deposited - purse.locked, ok)) return;
        purse.deposited -= units;
        purse.back += units;
    }

    /// Registers another gateway: by its operator, now and then by somebody whom the operator did not ask.
    function join(uint256 o, uint256 who) external {
        o %= OPERATORS;
        Purse storage purse = purses[o];
        uint256 key = GATEWAY_KEY + FIRST_GATEWAY + standings.length;
        IEnclaveRegistry.EnclaveStatement memory statement = _statement(key, EnclaveRole.Gateway, accountOf(o));
        bytes memory hints = _hints(_result(statement));
        bytes memory possession = _signature(key, registry.statementDigest(statement));
        bool isOwner = who % 4 != 0;
        vm.prank(isOwner ? accountOf(o) : accountOf(REPORTER));
        (bool ok,) = address(registry).call(abi.encodeCall(registry.register, (statement, hex"01", hints, possession)));
        if (!_note("join", isOwner && purse.deposited - purse.locked >= GATEWAY_BOND, ok)) return;
        purse.locked += GATEWAY_BOND;
        standings.push(
            Standing({owner: o, endsAt: _now() + registry.LIFETIME(), isLocked: true, isCompromised: false})
        );
    }

    function quit(uint256 e) external {
        if (standings.length == 0) return;
        e %= standings.length;
        Standing storage standing = standings[e];
        vm.prank(accountOf(standing.owner));
        (bool ok,) = address(registry).call(abi.encodeCall(registry.retire, (_enclave(e))));
        if (_note("quit", !standing.isCompromised && _now() < standing.endsAt, ok)) standing.endsAt = _now();
    }

    function freeBond(uint256 e) external {
        if (standings.length == 0) return;
        e %= standings.length;
        Standing storage standing = standings[e];
        (bool ok,) = address(registry).call(abi.encodeCall(registry.releaseBond, (_enclave(e))));
        if (!_note("freeBond", standing.isLocked && _now() >= standing.endsAt + 14 days, ok)) return;
        standing.isLocked = false;
        purses[standing.owner].locked -= GATEWAY_BOND;
    }

    /// Two heads of one size, at any time: also after the end, and again.
    function contradict(uint256 e) external {
        if (standings.length == 0) return;
        e %= standings.length;
        Standing storage standing = standings[e];
        vm.prank(accountOf(REPORTER));
        settlement.reportContradiction(
            _logHead(FIRST_GATEWAY + e, 1, keccak256("one root")), _logHead(FIRST_GATEWAY + e, 1, keccak256("another"))
        );
        done["contradict"]++;
        standing.isCompromised = true;
        if (!standing.isLocked) return;
        standing.isLocked = false;
        Purse storage purse = purses[standing.owner];
        purse.locked -= GATEWAY_BOND;
        purse.deposited -= GATEWAY_BOND;
        purses[REPORTER].deposited += GATEWAY_BOND / 5;
        slashed += GATEWAY_BOND - GATEWAY_BOND / 5;
    }

    function insureSlashed() external {
        (bool ok,) = address(registry).call(abi.encodeCall(registry.insureSlashed, ()));
        if (!_note("insureSlashed", slashed != 0, ok)) return;
        insured += slashed;
        slashed = 0;
    }

    /// Days, in which everybody else's enclaves are renewed.
    function passDays(uint256 count) external {
        for (uint256 i = 0; i <= count % 8; i++) {
            this.pass(1 days);
        }
    }

    // Reading

    function standingCount() external view returns (uint256) {
        return standings.length;
    }

    function bondOf(uint256 o) external view returns (uint256 deposited, uint256 locked) {
        return (
            Units.unwrap(registry.bondOf(accountOf(o)).deposited), Units.unwrap(registry.bondOf(accountOf(o)).locked)
        );
    }

    function isBonded(uint256 e) external view returns (bool) {
        return registry.enclaveOf(_enclave(e)).isBonded;
    }

    /// What the registry holds for others than the ledger's: CreditHandler's operator.
    function otherBonds() external view returns (uint256) {
        return Units.unwrap(registry.bondOf(OPERATOR).deposited);
    }

    function registryAddress() external view returns (address) {
        return address(registry);
    }

    function insuredOnChain() external view returns (uint256) {
        return Units.unwrap(settlement.insurance());
    }

    function _enclave(uint256 e) private pure returns (EnclaveId) {
        return EnclaveId.wrap(vm.addr(GATEWAY_KEY + FIRST_GATEWAY + e));
    }
}

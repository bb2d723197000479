// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IReceiptSettlement} from "../../../contracts/interfaces/IReceiptSettlement.sol";
import {SignedHead} from "../../../contracts/types/Receipt.sol";
import {EnclaveId, EnclaveState, KeysetId, Units} from "../../../contracts/types/Types.sol";
import {Stage} from "./Stage.sol";
import {Vm, vm} from "./Vm.sol";

/// @title MoneyHandler
/// What people may do around one settlement contract, good and bad, in any order. Never reverts. Keeps what only events say.
/// Named `.t.sol` although it holds no test: only such files become contracts that the fuzzer knows.
contract MoneyHandler is Stage {
    uint256 public constant GATEWAYS = 3;
    uint256 public constant KEYSETS = 2;

    /// Who settles; the handler itself where nobody is named.
    address[3] private settlers = [SETTLER, STRANGER, address(this)];
    EnclaveId[GATEWAYS] private gateways;
    KeysetId[KEYSETS] private keysets;

    uint64[GATEWAYS] private swept;
    uint64[GATEWAYS] private lastCredited;
    bool public creditedFell;
    bool public sharesFell;

    /// After whatever is done, nothing that was credited may have gone.
    modifier watched() {
        _;
        for (uint256 i = 0; i < GATEWAYS; i++) {
            uint64 credited = _credited(gateways[i]);
            if (credited < lastCredited[i]) creditedFell = true;
            lastCredited[i] = credited;
            Units drawn = settlement.operatorPayoutOf(gateways[i]).drawn;
            if (Units.unwrap(settlement.operatorShareOf(gateways[i])) < Units.unwrap(drawn)) sharesFell = true;
        }
    }

    /// Shares of 3 % each: rounding them apart would show.
    function setUp() public override {
        _deploy(300, 300);
        for (uint256 i = 0; i < GATEWAYS; i++) {
            gateways[i] = _gateway(i);
        }
        keysets = [KEYSET, OTHER_KEYSET];
        for (uint256 k = 0; k < KEYSETS; k++) {
            _issuer(ISSUER_KEY + k, keysets[k], 1_000);
        }
    }

    // What people do

    function settleHead(uint256 i, uint256 leaves, uint256 fees, uint256 who) external watched {
        i %= GATEWAYS;
        IReceiptSettlement.Account memory account = settlement.accountOf(gateways[i]);
        SignedHead memory head = _earningsHead(
            i,
            account.size + 1 + uint64(leaves % 5),
            keccak256(abi.encode(leaves)),
            Units.unwrap(account.earned) + uint64(fees % 400)
        );
        vm.prank(settlers[who % 3]);
        _settle(head);
    }

    /// Stale, doubled and contradicting heads.
    function settleOddHead(uint256 i, uint256 size, uint256 fees) external watched {
        i %= GATEWAYS;
        IReceiptSettlement.Account memory account = settlement.accountOf(gateways[i]);
        SignedHead memory head = _earningsHead(
            i,
            uint64(bound(size, 0, uint256(account.size) + 1)),
            keccak256("odd"),
            uint64(bound(fees, 0, uint256(Units.unwrap(account.earned)) + 50))
        );
        _settle(head, head);
    }

    function clear(uint256 k, uint256 i, uint256 line, uint256 claim) external watched {
        (k, i) = (k % KEYSETS, i % GATEWAYS);
        uint64 deposited = Units.unwrap(vault.keysetOf(keysets[k]).deposited);
        uint64 claimed = Units.unwrap(settlement.keysetTotals(keysets[k]).claimed) + uint64(claim % 300);
        uint64 captured = Units.unwrap(settlement.clearedBy(keysets[k], gateways[i])) + uint64(line % 300);
        _settle(_clearing(ISSUER_KEY + k, keysets[k], deposited, claimed, _lines(gateways[i], captured)));
    }

    function endow(uint256 k, uint256 units) external watched {
        _endow(keysets[k % KEYSETS], uint64(1 + units % 300));
    }

    function insure(uint256 units) external watched {
        uint64 amount = uint64(1 + units % 200);
        _fund(PAYER, amount);
        vm.prank(PAYER);
        vault.insure(Units.wrap(amount));
    }

    function nameSettler(uint256 i, uint256 who, uint256 exclusiveSeconds) external watched {
        address settler = who % 4 == 3 ? address(0) : settlers[who % 4];
        vm.prank(OPERATOR);
        settlement.nameSettler(gateways[i % GATEWAYS], settler, uint16(exclusiveSeconds % 1_801));
    }

    function credit(uint256 i, uint256 who) external watched {
        vm.prank(settlers[who % 3]);
        settlement.credit(gateways[i % GATEWAYS]);
    }

    function thaw(uint256 i) external watched {
        try settlement.thaw(gateways[i % GATEWAYS]) {} catch {}
    }

    function withdraw(uint256 i) external watched {
        try settlement.withdraw(gateways[i % GATEWAYS]) {} catch {}
    }

    function drawOthers(uint256 who) external watched {
        try settlement.withdrawProtocol() {} catch {}
        try settlement.thawProtocol() {} catch {}
        vm.prank(settlers[who % 3]);
        try settlement.withdrawSettler() {} catch {}
        vm.prank(settlers[who % 3]);
        try settlement.thawSettler() {} catch {}
    }

    function pass(uint256 time, uint256 renewed) external watched {
        vm.warp(_now() + time % 40 hours);
        for (uint256 i = 0; i < GATEWAYS; i++) {
            if (renewed >> i & 1 == 1 && registry.stateOf(gateways[i]) == EnclaveState.Active) _gateway(i);
        }
    }

    function end(uint256 i, uint256 how) external watched {
        i %= GATEWAYS;
        if (how % 8 == 0) _compromise(i);
        if (how % 8 < 3 && registry.stateOf(gateways[i]) == EnclaveState.Active) {
            vm.prank(OPERATOR);
            registry.retire(gateways[i]);
        }
    }

    function sweep(uint256 i) external watched {
        i %= GATEWAYS;
        vm.recordLogs();
        try settlement.sweepUnmatched(gateways[i]) {
            swept[i] += _sweptNow();
        } catch {}
    }

    // What must hold

    /// Units the vault owes, sum of everything that somebody has a claim to or may get one.
    function owed() external view returns (uint256 units) {
        for (uint256 i = 0; i < GATEWAYS; i++) {
            units += _cleared(gateways[i]) - _credited(gateways[i]) - swept[i];
            units += Units.unwrap(settlement.operatorShareOf(gateways[i]));
            units -= Units.unwrap(settlement.operatorPayoutOf(gateways[i]).drawn);
        }
        for (uint256 k = 0; k < KEYSETS; k++) {
            units += Units.unwrap(vault.keysetOf(keysets[k]).deposited);
            units -= Units.unwrap(settlement.keysetTotals(keysets[k]).cleared);
        }
        for (uint256 s = 0; s < settlers.length; s++) {
            units += Units.unwrap(settlement.settlerEarned(settlers[s]));
            units -= Units.unwrap(settlement.settlerPayoutOf(settlers[s]).drawn);
        }
        units += Units.unwrap(settlement.protocolEarned()) - _one(PROTOCOL);
        units += Units.unwrap(settlement.insurance());
    }

    function held() external view returns (uint256 units) {
        return _one(address(vault));
    }

    function accountAt(uint256 i) external view returns (IReceiptSettlement.Account memory) {
        return settlement.accountOf(gateways[i]);
    }

    function keysetAt(uint256 k) external view returns (IReceiptSettlement.KeysetTotals memory totals, Units deposited) {
        return (settlement.keysetTotals(keysets[k]), vault.keysetOf(keysets[k]).deposited);
    }

    // Internal

    function _sweptNow() private returns (uint64 unmatched) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 j = 0; j < logs.length; j++) {
            if (logs[j].topics[0] == IReceiptSettlement.UnmatchedSwept.selector) {
                (unmatched,) = abi.decode(logs[j].data, (uint64, uint64));
            }
        }
    }
}

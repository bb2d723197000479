// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditDeposits} from "../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditKeysets} from "../../contracts/interfaces/ICreditKeysets.sol";
import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {SignedClearing} from "../../contracts/types/Receipt.sol";
import {EnclaveId, EnclaveRole} from "../../contracts/types/Types.sol";
import {CreditStage} from "./utils/CreditStage.sol";
import {vm} from "./utils/Vm.sol";

/// Where exits, refunds and successions meet clearings.
contract CreditClearingsTest is CreditStage {
    EnclaveId private gateway;

    function setUp() public override {
        super.setUp();
        gateway = _gateway(0);
    }

    function _exit(uint256 first, bytes memory exponents) private {
        Exits memory exits = _exits(first, exponents);
        _open(exits);
        vm.warp(_now() + 24 hours);
        vault.finishExits(exits.ids);
    }

    function _refuse(SignedClearing memory clearing) private {
        _expectClearingSkipped(
            KEYSET, EnclaveId.wrap(address(0)), IReceiptSettlement.ClearingRefusal.OutOfBounds
        );
        _settle(clearing);
    }

    function _assertTotals(uint64 issued, uint64 claimed, uint64 cleared) private view {
        IReceiptSettlement.KeysetTotals memory totals = settlement.keysetTotals(KEYSET);
        assertEq(totals.issued, issued, "issued");
        assertEq(totals.claimed, claimed, "claimed");
        assertEq(totals.cleared, cleared, "cleared");
    }

    function test_settle_RefusesAClearingThatExitsHaveLeftTooLittleFor() public {
        _endow(KEYSET, 1_000);
        // 8, 64 and 128 units.
        _exit(0, hex"030607");
        _refuse(_clearing(500, 301, gateway, 1));
        _settle(_clearing(500, 300, gateway, 300));
        _assertTotals(500, 300, 300);
        // One unit more leaves. What was captured before stays, and a clearing needs one more issued.
        _exit(3, hex"00");
        _refuse(_clearing(400, 100, gateway, 100));
        _refuse(_clearing(500, 300, gateway, 300));
        _settle(_clearing(501, 300, gateway, 300));
        _assertTotals(501, 300, 300);
    }

    /// Clearings that arrive in the wrong order are judged by the larger totals of both.
    function test_settle_TakesAnOlderClearingThatIsStillCovered() public {
        _endow(KEYSET, 1_000);
        _settle(_clearing(900, 300, gateway, 200));
        _exit(0, hex"030607");
        _settle(_clearing(ISSUER_KEY, KEYSET, 400, 250, _lines(_gateway(1), 100)));
        _assertTotals(900, 300, 300);
    }

    function test_settle_RefusesWhatRefundsHaveLeftTooLittleFor() public {
        address claimKey = _deposit(ICreditDeposits.DepositSize.One, 0);
        _deposit(ICreditDeposits.DepositSize.One, 1);
        // The issuer says it answered both, and did not.
        _settle(_clearing(2 * OPG, 300, gateway, 300));
        vm.warp(START + 1 hours);
        vm.prank(PAYER);
        vault.requestRefund(KEYSET, claimKey);
        _exit(0, hex"07");
        vm.warp(START + 26 hours);
        vault.finishRefund(KEYSET, claimKey);
        assertEq(_deposited(KEYSET), OPG, "one is left");
        _refuse(_clearing(OPG + 1, 300, gateway, 300));
        // Within what it once said it issued, beyond what is there.
        _refuse(_clearing(OPG, OPG - 127, gateway, 301));
        _settle(_clearing(OPG, OPG - 128, gateway, 301));
        _assertTotals(2 * OPG, OPG - 128, 301);
    }

    function test_settle_NeverRevertsOverExits() public {
        _endow(KEYSET, 1_000);
        _exit(0, hex"07");
        _refuse(_clearing(type(uint64).max, type(uint64).max, gateway, 1));
        _refuse(_clearing(0, 0, gateway, 1));
    }

    function test_settle_TakesClearingsOfTheNewWriterAlone() public {
        _endow(KEYSET, 1_000);
        uint256 successorKey = ISSUER_KEY + 9;
        EnclaveId successor = _register(successorKey, EnclaveRole.Issuer, OPERATOR);
        bytes32 typeHash = keccak256("Succession(bytes32 keyset,address successor)");
        bytes32 digest = _vaultDigest(keccak256(abi.encode(typeHash, KEYSET, successor)));
        (bytes32 r, bytes32 vs) = vm.signCompact(ISSUER_KEY, digest);
        _settle(_clearing(500, 100, gateway, 100));
        vault.takeOver(KEYSET, successor, r, vs);
        _expectClearingSkipped(
            KEYSET, EnclaveId.wrap(address(0)), IReceiptSettlement.ClearingRefusal.BadSignature
        );
        _settle(_clearing(500, 200, gateway, 200));
        _settle(_clearing(successorKey, KEYSET, 500, 200, _lines(gateway, 200)));
        _assertTotals(500, 200, 200);
    }

    function test_exits_AndClearingsShareOneKeysetsMoneyToTheLastUnit() public {
        _endow(KEYSET, 1_000);
        Exits memory exits = _exits(0, hex"07");
        _open(exits);
        _settle(_clearing(1_000, 873, gateway, 873));
        vm.warp(START + 24 hours);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetDrained.selector, 127, 128));
        vault.finishExits(exits.ids);
        _endow(KEYSET, 1);
        vault.finishExits(exits.ids);
        _settle(_earningsHead(0, 1, keccak256("root"), 873));
        settlement.thaw(gateway);
        settlement.thawProtocol();
        vm.warp(START + 48 hours);
        settlement.withdraw(gateway);
        settlement.withdrawProtocol();
        settlement.thawSettler();
        vm.warp(START + 72 hours);
        settlement.withdrawSettler();
        assertEq(_one(address(vault)), 0, "nothing is left, and nothing was short");
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditDeposits} from "../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditExits} from "../../contracts/interfaces/ICreditExits.sol";
import {Check} from "./utils/Check.sol";
import {CreditHandler} from "./utils/CreditHandler.t.sol";

/// What holds of credits' money whatever anybody does, against a ledger that knows nothing of the contracts.
contract CreditMoneyTest is Check {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    address private constant STRANGER = address(0x57A9);
    address private constant OPERATOR = address(0x0909);

    CreditHandler private handler;

    function setUp() public {
        handler = new CreditHandler();
        handler.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](12);
        selectors[0] = handler.buy.selector;
        selectors[1] = handler.requestRefund.selector;
        selectors[2] = handler.answer.selector;
        selectors[3] = handler.finishRefund.selector;
        selectors[4] = handler.openExit.selector;
        selectors[5] = handler.challenge.selector;
        selectors[6] = handler.finishExit.selector;
        selectors[7] = handler.clear.selector;
        selectors[8] = handler.earn.selector;
        selectors[9] = handler.draw.selector;
        selectors[10] = handler.pass.selector;
        selectors[11] = handler.togglePause.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    /// Every call went as the ledger says: also that what is paused is deposits alone, and that copies steal nothing.
    function invariant_nothingHappensThatTheLedgerDoesNotExpect() public view {
        require(bytes(handler.surprise()).length == 0, handler.surprise());
    }

    function invariant_keysetsAreCoveredAndBookedExactly() public view {
        for (uint256 k = 0; k < 2; k++) {
            (uint256 deposited, uint256 exited,, uint256 claimed,) = handler.books(k);
            (uint256 vaultDeposited, uint256 vaultExited, uint256 vaultClaimed) = handler.vaultBook(k);
            assertEq(vaultDeposited, deposited, "deposited");
            assertEq(vaultExited, exited, "exited");
            assertEq(vaultClaimed, claimed, "claimed");
            assertLe(claimed + exited, deposited, "covered");
        }
    }

    function invariant_vaultHoldsDepositsLessWhatLeft() public view {
        uint256 deposited = 0;
        uint256 exited = 0;
        uint256 claimed = 0;
        for (uint256 k = 0; k < 2; k++) {
            (uint256 d, uint256 e,, uint256 c,) = handler.books(k);
            deposited += d;
            exited += e;
            claimed += c;
        }
        uint256 drawn = handler.drawn();
        assertEq(handler.unitsOf(handler.vaultAddress()), deposited - exited - drawn, "held");
        assertLe(drawn, claimed, "drawn by operators");
    }

    /// Both enclaves signed at least what the operator has drawn.
    function invariant_operatorDrawsWhatBothSigned() public view {
        (,,,, uint256 first) = handler.books(0);
        (,,,, uint256 second) = handler.books(1);
        uint256 drawn = handler.unitsOf(OPERATOR);
        assertLe(drawn, handler.earned(), "earned");
        assertLe(drawn, first + second, "captured");
    }

    function invariant_everybodyHasWhatWasPaid() public view {
        assertEq(handler.unitsOf(handler.payerAddress()), handler.paidTo(handler.payerAddress()), "payer");
        for (uint160 i = 0; i < 3; i++) {
            assertEq(handler.unitsOf(address(0xE000 + i)), handler.paidTo(address(0xE000 + i)), "recipient");
        }
        assertEq(handler.unitsOf(STRANGER), 0, "thief");
    }

    function invariant_depositsAndExitsAreWhereTheLedgerHasThem() public view {
        (uint256 purchases, uint256 leavings) = handler.counts();
        for (uint256 i = 0; i < purchases; i++) {
            (,,,, ICreditDeposits.DepositState state) = handler.purchases(i);
            assertEq(uint256(handler.depositStateAt(i)), uint256(state), "deposit");
        }
        for (uint256 i = 0; i < leavings; i++) {
            (,,,, ICreditExits.ExitState state) = handler.leavings(i);
            assertEq(uint256(handler.exitStateAt(i)), uint256(state), "exit");
        }
    }

    /// The same actions in an order that reaches each of them, so that a handler which does nothing would show.
    function test_handler_ReachesEverything() public {
        for (uint256 i = 0; i < 9; i++) {
            handler.buy(i, i / 3, i);
        }
        handler.answer(0);
        handler.pass(2 hours);
        handler.requestRefund(1);
        handler.openExit(0, 2, 0);
        handler.openExit(1, 3, 1);
        handler.openExit(0, 4, 2);
        handler.challenge(0);
        handler.clear(0, 5_000_000, 4_000_000, 3_000_000);
        handler.earn(2_000_000);
        handler.draw();
        handler.pass(25 hours);
        handler.finishRefund(1);
        handler.finishExit(1);
        handler.finishExit(2);
        handler.draw();
        string[9] memory actions = [
            "buy",
            "requestRefund",
            "answer",
            "finishRefund",
            "openExit",
            "challenge",
            "finishExit",
            "clear",
            "draw"
        ];
        invariant_nothingHappensThatTheLedgerDoesNotExpect();
        for (uint256 i = 0; i < actions.length; i++) {
            assertTrue(handler.done(actions[i]) != 0, actions[i]);
        }
        assertEq(handler.done("buy"), 9, "bought");
        invariant_vaultHoldsDepositsLessWhatLeft();
        invariant_everybodyHasWhatWasPaid();
    }
}

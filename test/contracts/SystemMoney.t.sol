// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Check} from "./utils/Check.sol";
import {SystemHandler} from "./utils/SystemHandler.t.sol";

/// What holds of all OPG in registry, settlement and vault at once, whatever anybody does in whatever order.
contract SystemMoneyTest is Check {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    SystemHandler private handler;

    function setUp() public {
        handler = new SystemHandler();
        handler.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[20] memory all = [
            handler.buy.selector,
            handler.requestRefund.selector,
            handler.answer.selector,
            handler.finishRefund.selector,
            handler.openExit.selector,
            handler.challenge.selector,
            handler.finishExit.selector,
            handler.clear.selector,
            handler.earn.selector,
            handler.draw.selector,
            handler.pass.selector,
            handler.togglePause.selector,
            handler.layBond.selector,
            handler.takeBond.selector,
            handler.join.selector,
            handler.quit.selector,
            handler.freeBond.selector,
            handler.contradict.selector,
            handler.insureSlashed.selector,
            handler.passDays.selector
        ];
        bytes4[] memory selectors = new bytes4[](all.length);
        for (uint256 i = 0; i < all.length; i++) {
            selectors[i] = all[i];
        }
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    function invariant_nothingHappensThatTheLedgersDoNotExpect() public view {
        require(bytes(handler.surprise()).length == 0, handler.surprise());
    }

    /// The vault holds what was deposited and insured less what left: no bond pays a credit, no credit a bond.
    function invariant_vaultHoldsDepositsAndInsurance() public view {
        uint256 held = handler.insured();
        for (uint256 k = 0; k < 2; k++) {
            (uint256 deposited, uint256 exited,,,) = handler.books(k);
            held += deposited - exited;
        }
        assertEq(handler.unitsOf(handler.vaultAddress()), held - handler.drawn(), "held");
        assertEq(handler.insuredOnChain(), handler.insured(), "insurance");
    }

    function invariant_registryHoldsBondsAndWhatWasSlashed() public view {
        uint256 held = handler.slashed() + handler.otherBonds();
        for (uint256 o = 0; o < 3; o++) {
            (uint256 deposited, uint256 locked, uint256 back) = handler.purses(o);
            (uint256 depositedOnChain, uint256 lockedOnChain) = handler.bondOf(o);
            assertEq(depositedOnChain, deposited, "deposited");
            assertEq(lockedOnChain, locked, "locked");
            assertLe(locked, deposited, "covered");
            assertEq(handler.unitsOf(handler.accountOf(o)), back, "back");
            held += deposited;
        }
        assertEq(handler.unitsOf(handler.registryAddress()), held, "held");
    }

    /// Each enclave that locks a bond locks one of its own operator's.
    function invariant_bondsAreLockedByWhoStands() public view {
        uint256[3] memory locked;
        for (uint256 e = 0; e < handler.standingCount(); e++) {
            (uint256 owner,, bool isLocked,) = handler.standings(e);
            assertTrue(handler.isBonded(e) == isLocked, "bonded");
            if (isLocked) locked[owner] += 100;
        }
        for (uint256 o = 0; o < 3; o++) {
            (, uint256 booked,) = handler.purses(o);
            assertEq(locked[o], booked, "locked");
        }
    }

    /// The same actions in an order that reaches each of them, so that a handler which does nothing would show.
    function test_handler_ReachesEverything() public {
        handler.layBond(0, 250);
        handler.layBond(1, 120);
        handler.join(0, 1);
        handler.join(0, 2);
        handler.join(1, 0);
        handler.join(1, 3);
        handler.takeBond(0, 60);
        handler.takeBond(0, 20);
        handler.buy(0, 0, 0);
        handler.contradict(0);
        handler.contradict(0);
        handler.insureSlashed();
        handler.takeBond(2, 20);
        handler.quit(1);
        handler.freeBond(1);
        handler.passDays(7);
        handler.passDays(7);
        handler.freeBond(1);
        invariant_nothingHappensThatTheLedgersDoNotExpect();
        assertEq(handler.done("join"), 3, "join");
        assertEq(handler.done("contradict"), 2, "contradict");
        string[6] memory actions = ["layBond", "takeBond", "quit", "freeBond", "insureSlashed", "buy"];
        for (uint256 i = 0; i < actions.length; i++) {
            assertTrue(handler.done(actions[i]) != 0, actions[i]);
        }
        assertEq(handler.insured(), 80, "insured");
        invariant_vaultHoldsDepositsAndInsurance();
        invariant_registryHoldsBondsAndWhatWasSlashed();
        invariant_bondsAreLockedByWhoStands();
    }
}

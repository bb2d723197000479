// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {Units} from "../../contracts/types/Types.sol";
import {Check} from "./utils/Check.sol";
import {MoneyHandler} from "./utils/MoneyHandler.t.sol";

/// What holds of the money whatever anybody does.
contract MoneyTest is Check {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    MoneyHandler private handler;

    function setUp() public {
        handler = new MoneyHandler();
        handler.setUp();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](13);
        selectors[0] = handler.settleHead.selector;
        selectors[1] = handler.settleOddHead.selector;
        selectors[2] = handler.clear.selector;
        selectors[3] = handler.endow.selector;
        selectors[4] = handler.insure.selector;
        selectors[5] = handler.nameSettler.selector;
        selectors[6] = handler.credit.selector;
        selectors[7] = handler.thaw.selector;
        selectors[8] = handler.withdraw.selector;
        selectors[9] = handler.drawOthers.selector;
        selectors[10] = handler.pass.selector;
        selectors[11] = handler.end.selector;
        selectors[12] = handler.sweep.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    /// Not one unit more, not one less: nothing is owed twice and nothing gets lost.
    function invariant_vaultHoldsExactlyWhatIsOwed() public view {
        assertEq(handler.held(), handler.owed(), "held and owed");
    }

    function invariant_creditedIsAtMostEarnedAndCleared() public view {
        for (uint256 i = 0; i < handler.GATEWAYS(); i++) {
            IReceiptSettlement.Account memory account = handler.accountAt(i);
            assertLe(Units.unwrap(account.credited), Units.unwrap(account.earned), "earned");
            assertLe(Units.unwrap(account.credited), Units.unwrap(account.cleared), "cleared");
        }
        assertTrue(!handler.creditedFell(), "credited only grows");
        assertTrue(!handler.sharesFell(), "what was drawn stays covered");
    }

    function invariant_keysetsClearAtMostWhatIsBehindThem() public view {
        for (uint256 k = 0; k < handler.KEYSETS(); k++) {
            (IReceiptSettlement.KeysetTotals memory totals, Units deposited) = handler.keysetAt(k);
            assertLe(Units.unwrap(totals.cleared), Units.unwrap(totals.claimed), "claimed");
            assertLe(Units.unwrap(totals.claimed), Units.unwrap(totals.issued), "issued");
            assertLe(Units.unwrap(totals.issued), Units.unwrap(deposited), "deposited");
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {FeeSplit} from "../../contracts/libraries/FeeSplit.sol";
import {Check} from "./utils/Check.sol";

contract FeeSplitTest is Check {
    struct Shares {
        uint64 protocol;
        uint64 settler;
        uint64 operator;
    }

    function _bps(uint256 protocolBps, uint256 settlerBps) private pure returns (uint256 settler, uint256 both) {
        uint256 protocol = bound(protocolBps, 0, 1_000);
        settler = bound(settlerBps, 0, 1_000 - protocol);
        return (settler, protocol + settler);
    }

    function _shares(uint64 credited, uint256 settlerBps, uint256 bothBps) private pure returns (Shares memory shares) {
        (shares.protocol, shares.settler) = FeeSplit.growth(0, credited, settlerBps, bothBps);
        shares.operator = FeeSplit.operatorShare(credited, bothBps);
    }

    function testFuzz_shares_AddUpExactly(uint64 credited, uint256 protocolBps, uint256 settlerBps) public pure {
        (uint256 settler, uint256 both) = _bps(protocolBps, settlerBps);
        Shares memory shares = _shares(credited, settler, both);
        assertEq(uint256(shares.protocol) + shares.settler + shares.operator, credited, "sum");
        assertLe(shares.settler, uint256(credited) * settler / 10_000 + 1, "settler");
        assertLe(uint256(credited) * (10_000 - both) / 10_000, uint256(shares.operator) + 1, "operator");
    }

    function testFuzz_shares_NeverFall(uint64 credited, uint256 protocolBps, uint256 settlerBps) public pure {
        (uint256 settler, uint256 both) = _bps(protocolBps, settlerBps);
        credited = uint64(bound(credited, 0, type(uint64).max - 1));
        Shares memory less = _shares(credited, settler, both);
        Shares memory more = _shares(credited + 1, settler, both);
        assertLe(less.protocol, more.protocol, "protocol");
        assertLe(less.settler, more.settler, "settler");
        assertLe(less.operator, more.operator, "operator");
    }

    /// Two shares of 3 % that are rounded apart both grow from 33 to 34 units, and the operator's falls below what it may have drawn.
    function test_shares_NeverFallWhereTwoRoundingsMeet() public pure {
        for (uint64 credited = 0; credited < 1_000; credited++) {
            uint64 before = FeeSplit.operatorShare(credited, 600);
            assertLe(before, FeeSplit.operatorShare(credited + 1, 600), "operator");
        }
    }

    function testFuzz_growth_IsTheSameOnEveryWay(uint64 a, uint64 b, uint256 protocolBps, uint256 settlerBps)
        public
        pure
    {
        (uint256 settler, uint256 both) = _bps(protocolBps, settlerBps);
        (uint64 low, uint64 high) = a < b ? (a, b) : (b, a);
        (uint64 firstProtocol, uint64 firstSettler) = FeeSplit.growth(0, low, settler, both);
        (uint64 nextProtocol, uint64 nextSettler) = FeeSplit.growth(low, high, settler, both);
        (uint64 onceProtocol, uint64 onceSettler) = FeeSplit.growth(0, high, settler, both);
        assertEq(firstProtocol + nextProtocol, onceProtocol, "protocol");
        assertEq(firstSettler + nextSettler, onceSettler, "settler");
    }

    /// What others take of a unit they take whole; of what they take, the settler's part is rounded down.
    function test_shares_RoundAgainstTheSettlerAndTheOperator() public pure {
        Shares memory one = _shares(1, 100, 600);
        assertEq(one.protocol, 1, "all of one unit");
        assertEq(one.operator, 0, "none of it");
        Shares memory hundred = _shares(100, 100, 600);
        assertEq(hundred.protocol, 5, "5 %");
        assertEq(hundred.settler, 1, "1 %");
        Shares memory more = _shares(101, 100, 600);
        assertEq(more.protocol, 6, "the next unit is the protocol's");
        assertEq(more.settler, 1, "not the settler's");
    }

    function test_shares_AreTheOperatorsWhereNobodyElseTakesAny() public pure {
        Shares memory shares = _shares(type(uint64).max, 0, 0);
        assertEq(shares.operator, type(uint64).max, "all");
        assertEq(shares.protocol + shares.settler, 0, "none");
    }
}

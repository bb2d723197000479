// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CreditHash} from "../../contracts/credits/CreditHash.sol";
import {CreditId, KeysetId} from "../../contracts/types/Types.sol";
import {Check} from "./utils/Check.sol";
import {PlainBls} from "./utils/PlainBls.sol";
import {vm} from "./utils/Vm.sol";

contract CreditHashTest is Check {
    function _point(bytes32 message) private view returns (bytes memory point) {
        point = new bytes(128);
        uint256 target;
        assembly ("memory-safe") {
            target := add(point, 0x20)
        }
        CreditHash.writePoint(message, target);
    }

    function testFuzz_writePoint_IsThePlainVersions(bytes32 message) public view {
        assertEq(_point(message), PlainBls.hashToG1(message), "point");
    }

    /// Values of an independent library, noble-curves 2.
    function test_writePoint_IsHashToCurve() public view {
        assertEq(
            _point(0),
            hex"000000000000000000000000000000000bdcdc08cf7a4ebf0addc7c0d00a1949798095df0f9d0663c4516cbc1559ec05f456adaa8144f3c892917bd2836b746d0000000000000000000000000000000019bcca9d50e73d9b6fc9b9cda34625e48d42146e3a18d1419b3f69c386224b7cb4a0b5a5f8be7ddf8ed4d22e636896fe",
            "of zeros"
        );
        assertEq(
            _point(bytes32(type(uint256).max)),
            hex"0000000000000000000000000000000013e8b71cfb6ce1b2c341498329621a03cf45a7997b87a05c1543cba2bd14dee6ddf29326efcc27d3b62039f0bf46cdc00000000000000000000000000000000019413c6c472da563bec50e79b6fe68db40913bab9290a8392aa3b852560c527186cb25bd8b1b18c6200e5105efa1efb5",
            "of ones"
        );
    }

    function test_writePoint_TouchesNothingElse() public view {
        bytes memory before = hex"aa";
        bytes memory point = _point(bytes32(uint256(7)));
        bytes memory later = hex"bb";
        assertEq(before, hex"aa", "before it");
        assertEq(later, hex"bb", "behind it");
        assertEq(point, PlainBls.hashToG1(bytes32(uint256(7))), "the point");
        // Memory that was used and given back is not zero, and `new` clears what it allocates.
        assertEq(new bytes(768), abi.encodePacked(new uint256[](24)), "fresh memory");
    }

    /// Assembly has to pay: the plain version takes at least 2,000 gas more.
    function test_writePoint_IsCheaperThanThePlainVersion() public view {
        bytes memory point = new bytes(128);
        uint256 target;
        assembly ("memory-safe") {
            target := add(point, 0x20)
        }
        uint256 start = gasleft();
        CreditHash.writePoint(bytes32(uint256(1)), target);
        uint256 assemblyGas = start - gasleft();
        start = gasleft();
        PlainBls.hashToG1(bytes32(uint256(1)));
        uint256 plainGas = start - gasleft();
        assertLe(assemblyGas + 2_000, plainGas, "gas");
    }

    function test_creditId_DependsOnEverything() public {
        KeysetId keyset = KeysetId.wrap(keccak256("keyset"));
        bytes32 id = CreditId.unwrap(CreditHash.creditId(keyset, address(1), bytes32(uint256(2))));
        bytes32[4] memory others;
        others[0] = CreditId.unwrap(CreditHash.creditId(KeysetId.wrap(0), address(1), bytes32(uint256(2))));
        others[1] = CreditId.unwrap(CreditHash.creditId(keyset, address(2), bytes32(uint256(2))));
        others[2] = CreditId.unwrap(CreditHash.creditId(keyset, address(1), bytes32(uint256(3))));
        vm.chainId(5);
        others[3] = CreditId.unwrap(this.creditId(keyset, address(1), bytes32(uint256(2))));
        for (uint256 i = 0; i < 4; i++) {
            assertTrue(others[i] != id, "differs");
        }
    }

    function creditId(KeysetId keyset, address exitKey, bytes32 hashT) external view returns (CreditId) {
        return CreditHash.creditId(keyset, exitKey, hashT);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {SignedClearing, SignedHead} from "../../contracts/types/Receipt.sol";
import {EnclaveRole, EnclaveId} from "../../contracts/types/Types.sol";
import {SNAPSHOT} from "./utils/SnapshotVm.sol";
import {Stage} from "./utils/Stage.sol";

/// What registering and settling cost without the evidence, in steady state: the second time is the one that counts.
contract GasSnapshotSettlement is Stage {
    string private constant GROUP = "settlement";
    uint256 private constant HEADS = 10;

    function test_gas_settle_TenEarningsHeads() public {
        for (uint256 i = 0; i < HEADS; i++) {
            _clear(_gateway(i), 1_000_000);
        }
        settlement.settle(_heads(1), new SignedClearing[](0));
        settlement.settle(_heads(2), new SignedClearing[](0));
        SNAPSHOT.snapshotGasLastCall(GROUP, "ReceiptSettlement.settle, 10 earnings heads again");
    }

    function test_gas_settle_Clearing() public {
        EnclaveId gateway = _gateway(0);
        _issuer(ISSUER_KEY, KEYSET, 1_000_000);
        _settle(_clearing(10, 10, gateway, 10));
        _settle(_clearing(20, 20, gateway, 20));
        SNAPSHOT.snapshotGasLastCall(GROUP, "ReceiptSettlement.settle, a clearing of one line again");
    }

    function test_gas_register() public {
        _gateway(0);
        IEnclaveRegistry.EnclaveStatement memory statement = _statement(GATEWAY_KEY + 1, EnclaveRole.Gateway, OPERATOR);
        bytes memory hints = _hints(_result(statement));
        bytes memory possession = _signature(GATEWAY_KEY + 1, registry.statementDigest(statement));
        registry.register(statement, hex"01", hints, possession);
        SNAPSHOT.snapshotGasLastCall(GROUP, "EnclaveRegistry.register, evidence excluded");
    }

    function _heads(uint64 round) private view returns (SignedHead[] memory heads) {
        heads = new SignedHead[](HEADS);
        for (uint256 i = 0; i < HEADS; i++) {
            heads[i] = _earningsHead(i, round, keccak256(abi.encode(i, round)), round * 100);
        }
    }
}

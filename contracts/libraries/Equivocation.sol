// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IReceiptSettlement} from "../interfaces/IReceiptSettlement.sol";
import {HeadKind, SignedHead} from "../types/Receipt.sol";
import {LogRoot, Units} from "../types/Types.sol";
import {MerkleLog} from "./MerkleLog.sol";

/// @title Equivocation
/// When two heads of one enclave cannot both be true. A differing time alone is no contradiction: heads carry none.
library Equivocation {
    /// One size with two roots or two fee totals, or a larger log that earned less.
    function contradict(SignedHead calldata a, SignedHead calldata b) internal pure returns (bool) {
        bool bothEarn = a.kind == HeadKind.Earnings && b.kind == HeadKind.Earnings;
        uint64 feesA = Units.unwrap(a.fees);
        uint64 feesB = Units.unwrap(b.fees);
        if (a.size == b.size) return a.root != b.root || (bothEarn && feesA != feesB);
        return bothEarn && (a.size < b.size ? feesA > feesB : feesB > feesA);
    }

    /// Requires that the log of `head` has `node` at `index` of the row `level` above its leaves, complete below.
    function requireNode(SignedHead calldata head, uint8 level, uint64 index, bytes32 node, bytes32[] calldata path)
        internal
        pure
    {
        // 2^63 leaves are more than a log can have; the bound keeps the shifts below exact.
        bool isComplete = level < 63 && head.size != 0 && (uint256(index) + 1) << level <= head.size;
        require(isComplete, IReceiptSettlement.SettlementNodeIncomplete(head.size, level, index));
        (bool ok, bytes32 root) =
            MerkleLog.rootFromPath(MerkleLog.LOG_NODE_TAG, node, index, (head.size - 1) >> level, path);
        require(
            ok && root == LogRoot.unwrap(head.root),
            IReceiptSettlement.SettlementPathMismatch(head.root, LogRoot.wrap(root))
        );
    }
}

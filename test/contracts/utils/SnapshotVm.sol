// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// The cheatcodes that write `snapshots/<group>.json` (`hardhat test solidity --snapshot`) or compare with it (`--snapshot-check`).
interface SnapshotVm {
    /// Gas of the last call, as the callee's frame used it: no intrinsic gas, no calldata, refunds not taken off.
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256 gasUsed);
}

SnapshotVm constant SNAPSHOT = SnapshotVm(address(uint160(uint256(keccak256("hevm cheat code")))));

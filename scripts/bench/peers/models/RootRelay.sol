// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title RootRelay
/// What OpenGradient's `batchSettle` costs, as a model: a role, and an event with a root, a size and the identifier of a blob. Nothing is verified,
/// stored or paid. Written from its public description (OpenGradient/og-evm, InferenceSettlementRelay). Not their code, not for use.
contract RootRelay {
    bytes32 private constant RELAY_ROLE = keccak256("SETTLEMENT_RELAY_ROLE");
    mapping(bytes32 role => mapping(address account => bool)) public hasRole;

    event BatchSettlement(bytes32 indexed root, uint256 size, bytes blobId);

    constructor() {
        hasRole[RELAY_ROLE][msg.sender] = true;
    }

    function batchSettle(bytes32 root, uint256 size, bytes calldata blobId) external {
        require(hasRole[RELAY_ROLE][msg.sender], "role");
        emit BatchSettlement(root, size, blobId);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title IValidationRegistry
/// What a validator calls of the Validation Registry of ERC-8004 (Trustless Agents), as its authors have it deployed: version 1.1.0 of
/// their contracts, with a string as the tag. The ERC was in review when this was written; earlier drafts had a bytes32 there, and with
/// it other selectors.
interface IValidationRegistry {
    event ValidationRequest(
        address indexed validatorAddress, uint256 indexed agentId, string requestURI, bytes32 indexed requestHash
    );
    event ValidationResponse(
        address indexed validatorAddress,
        uint256 indexed agentId,
        bytes32 indexed requestHash,
        uint8 response,
        string responseURI,
        bytes32 responseHash,
        string tag
    );

    /// Asks `validatorAddress` to validate what `requestHash` commits to. For the owner or an operator of `agentId`; once for a hash.
    function validationRequest(
        address validatorAddress,
        uint256 agentId,
        string calldata requestURI,
        bytes32 requestHash
    ) external;

    /// Answers from 0 (failed) to 100 (passed). For the validator that was asked; a later answer replaces the one before.
    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata responseURI,
        bytes32 responseHash,
        string calldata tag
    ) external;

    /// What was asked and answered last. Reverts for a hash that nobody asked about.
    function getValidationStatus(bytes32 requestHash)
        external
        view
        returns (
            address validatorAddress,
            uint256 agentId,
            uint8 response,
            bytes32 responseHash,
            string memory tag,
            uint256 lastUpdate
        );
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IValidationRegistry} from "../../../contracts/examples/IValidationRegistry.sol";

/// @title TestValidationRegistry
/// The rules of ERC-8004's Validation Registry that a validator meets, for tests. Agents are owned by whom `setOwner` says, in place of an
/// identity registry.
contract TestValidationRegistry is IValidationRegistry {
    struct Validation {
        address validator;
        uint256 agentId;
        uint8 response;
        bytes32 responseHash;
        string tag;
        uint256 lastUpdate;
    }

    mapping(uint256 agentId => address) public ownerOf;
    mapping(bytes32 requestHash => Validation) private _validations;

    error NotAuthorized();
    error AlreadyAsked();
    error NeverAsked();
    error NotValidator();
    error ResponseTooLarge();

    function setOwner(uint256 agentId, address owner) external {
        ownerOf[agentId] = owner;
    }

    /// @inheritdoc IValidationRegistry
    function validationRequest(address validator, uint256 agentId, string calldata requestURI, bytes32 requestHash)
        external
    {
        require(_validations[requestHash].validator == address(0), AlreadyAsked());
        require(msg.sender == ownerOf[agentId], NotAuthorized());
        _validations[requestHash].validator = validator;
        _validations[requestHash].agentId = agentId;
        _validations[requestHash].lastUpdate = block.timestamp;
        emit ValidationRequest(validator, agentId, requestURI, requestHash);
    }

    /// @inheritdoc IValidationRegistry
    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata responseURI,
        bytes32 responseHash,
        string calldata tag
    ) external {
        Validation storage entry = _validations[requestHash];
        require(response <= 100, ResponseTooLarge());
        require(entry.validator != address(0), NeverAsked());
        require(msg.sender == entry.validator, NotValidator());
        entry.response = response;
        entry.responseHash = responseHash;
        entry.tag = tag;
        entry.lastUpdate = block.timestamp;
        emit ValidationResponse(msg.sender, entry.agentId, requestHash, response, responseURI, responseHash, tag);
    }

    /// @inheritdoc IValidationRegistry
    function getValidationStatus(bytes32 requestHash)
        external
        view
        returns (address, uint256, uint8, bytes32, string memory, uint256)
    {
        Validation storage entry = _validations[requestHash];
        require(entry.validator != address(0), NeverAsked());
        return (entry.validator, entry.agentId, entry.response, entry.responseHash, entry.tag, entry.lastUpdate);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Validations, Agents
/// What a validation request and its response cost under ERC-8004, as a model: the request is listed under agent and validator, the response is
/// stored with hash and tag, and both registries stand behind proxies (Proxies.sol). Written from the standard's text and its functions' results. Not their code,
/// not for use.
contract Agents {
    mapping(uint256 agentId => address owner) public ownerOf;

    function register(uint256 agentId) external {
        ownerOf[agentId] = msg.sender;
    }
}

contract Validations {
    struct Validation {
        address validator;
        uint256 agentId;
        uint8 response;
        bytes32 responseHash;
        string tag;
        uint256 lastUpdate;
        bool hasResponse;
    }

    Agents private _agents;
    mapping(bytes32 requestHash => Validation) private _validations;
    mapping(uint256 agentId => bytes32[]) private _ofAgent;
    mapping(address validator => bytes32[]) private _ofValidator;

    event ValidationRequest(
        address indexed validator,
        uint256 indexed agentId,
        string requestURI,
        bytes32 indexed requestHash
    );
    event ValidationResponse(
        address indexed validator,
        uint256 indexed agentId,
        bytes32 indexed requestHash,
        uint8 response,
        string responseURI,
        bytes32 responseHash,
        string tag
    );

    function initialize(Agents agents) external {
        require(address(_agents) == address(0), "initialized");
        _agents = agents;
    }

    function validationRequest(
        address validator,
        uint256 agentId,
        string calldata requestURI,
        bytes32 requestHash
    ) external {
        require(validator != address(0), "validator");
        require(_agents.ownerOf(agentId) == msg.sender, "owner");
        Validation storage validation = _validations[requestHash];
        require(validation.validator == address(0), "known");
        validation.validator = validator;
        validation.agentId = agentId;
        validation.lastUpdate = block.timestamp;
        _ofAgent[agentId].push(requestHash);
        _ofValidator[validator].push(requestHash);
        emit ValidationRequest(validator, agentId, requestURI, requestHash);
    }

    function validationResponse(
        bytes32 requestHash,
        uint8 response,
        string calldata responseURI,
        bytes32 responseHash,
        string calldata tag
    ) external {
        Validation storage validation = _validations[requestHash];
        require(validation.validator == msg.sender, "validator");
        require(response <= 100, "response");
        validation.response = response;
        validation.responseHash = responseHash;
        validation.tag = tag;
        validation.lastUpdate = block.timestamp;
        validation.hasResponse = true;
        emit ValidationResponse(
            validation.validator,
            validation.agentId,
            requestHash,
            response,
            responseURI,
            responseHash,
            tag
        );
    }
}

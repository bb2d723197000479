// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Attestations, Schemas
/// What writing one attestation with the Ethereum Attestation Service costs, as a model: the schema is looked up in a registry, and the whole attestation
/// is stored. Written from its public interface (ethereum-attestation-service/eas-contracts, IEAS and ISchemaRegistry). Not their code, not for use.
contract Schemas {
    struct SchemaRecord {
        bytes32 uid;
        address resolver;
        bool revocable;
        string schema;
    }

    mapping(bytes32 uid => SchemaRecord) private _records;

    function register(string calldata schema) external returns (bytes32 uid) {
        uid = keccak256(abi.encodePacked(schema, address(0), true));
        _records[uid] = SchemaRecord(uid, address(0), true, schema);
    }

    function getSchema(bytes32 uid) external view returns (SchemaRecord memory) {
        return _records[uid];
    }
}

contract Attestations {
    struct AttestationRequestData {
        address recipient;
        uint64 expirationTime;
        bool revocable;
        bytes32 refUID;
        bytes data;
        uint256 value;
    }

    struct AttestationRequest {
        bytes32 schema;
        AttestationRequestData data;
    }

    struct Attestation {
        bytes32 uid;
        bytes32 schema;
        uint64 time;
        uint64 expirationTime;
        uint64 revocationTime;
        bytes32 refUID;
        address recipient;
        address attester;
        bool revocable;
        bytes data;
    }

    Schemas private immutable SCHEMAS;
    mapping(bytes32 uid => Attestation) private _attestations;

    event Attested(address indexed recipient, address indexed attester, bytes32 uid, bytes32 indexed schemaUID);

    constructor(Schemas schemas) {
        SCHEMAS = schemas;
    }

    function attest(AttestationRequest calldata request) external payable returns (bytes32 uid) {
        Schemas.SchemaRecord memory schema = SCHEMAS.getSchema(request.schema);
        require(schema.uid != 0, "schema");
        AttestationRequestData calldata data = request.data;
        require(data.expirationTime == 0 || data.expirationTime > block.timestamp, "expired");
        require(schema.revocable || !data.revocable, "irrevocable");
        require(data.refUID == 0 || _attestations[data.refUID].uid != 0, "reference");
        require(schema.resolver == address(0) && msg.value == 0, "resolvers are not modelled");
        Attestation memory attestation = Attestation(
            0,
            request.schema,
            uint64(block.timestamp),
            data.expirationTime,
            0,
            data.refUID,
            data.recipient,
            msg.sender,
            data.revocable,
            data.data
        );
        for (uint32 bump = 0; ; bump++) {
            uid = keccak256(
                abi.encodePacked(
                    request.schema,
                    data.recipient,
                    msg.sender,
                    attestation.time,
                    data.expirationTime,
                    data.revocable,
                    data.refUID,
                    data.data,
                    bump
                )
            );
            if (_attestations[uid].uid == 0) break;
        }
        attestation.uid = uid;
        _attestations[uid] = attestation;
        emit Attested(data.recipient, msg.sender, uid, request.schema);
    }
}

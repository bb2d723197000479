// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Sha384Call} from "../sha384/Sha384Call.sol";
import {check, EvidenceCode} from "./EvidenceCode.sol";
import {NitroDocument} from "./NitroDocument.sol";
import {X509} from "./X509.sol";

/// @title Es384
/// ECDSA on P-384 with SHA-384 over ranges of calldata, through the two stand-alone contracts, with a stream of untrusted hints.
library Es384 {
    /// @param p384 A P384Verifier (contracts/attestation/p384/P384.sol has its calldata).
    /// @param sha384 A Sha384 (contracts/attestation/sha384).
    struct Contracts {
        address p384;
        address sha384;
    }

    /// @param key The public key that the next signature is under: x and y, 96 bytes.
    /// @param used Bytes of the hints consumed so far.
    struct Session {
        Contracts contracts;
        bytes32[3] key;
        uint256 used;
    }

    /// array(4), "Signature1", the protected header { alg: ES384 } and empty external data (RFC 9052 section 4.4); the payload follows.
    bytes private constant SIG_STRUCTURE_START = hex"846a5369676e61747572653144a101382240";

    function open(Contracts memory contracts) internal pure returns (Session memory session) {
        session.contracts = contracts;
    }

    /// The 96 bytes at `position`.
    function keyAt(bytes calldata data, uint256 position) internal pure returns (bytes32[3] memory key) {
        assembly ("memory-safe") {
            calldatacopy(key, add(data.offset, position), 0x60)
        }
    }

    /// Whether the session's key signed the certificate.
    function verifyCertificate(
        Session memory session,
        bytes calldata data,
        X509.Certificate memory certificate,
        bytes calldata hints
    ) internal view returns (bool) {
        bytes memory message = data[certificate.tbsStart:certificate.tbsEnd];
        bytes memory input = new bytes(240);
        _hashInto(session.contracts.sha384, message, input);
        _copyRight(input, 48, data, certificate.r, certificate.rLength);
        _copyRight(input, 96, data, certificate.s, certificate.sLength);
        return _verify(session, input, hints);
    }

    /// Whether the session's key signed the document.
    function verifyDocument(
        Session memory session,
        bytes calldata data,
        NitroDocument.Document memory document,
        bytes calldata hints
    ) internal view returns (bool) {
        bytes calldata payload = data[document.payload.start:document.payload.end];
        bytes memory message = bytes.concat(SIG_STRUCTURE_START, _bytesHead(payload.length), payload);
        bytes memory input = new bytes(240);
        _hashInto(session.contracts.sha384, message, input);
        _copyRight(input, 48, data, document.signature, 48);
        _copyRight(input, 96, data, document.signature + 48, 48);
        return _verify(session, input, hints);
    }

    /// Fills in the key, adds the next hints of the stream and asks the P-384 contract.
    function _verify(Session memory session, bytes memory input, bytes calldata hints) private view returns (bool) {
        uint256 start = session.used + 2;
        check(start <= hints.length, EvidenceCode.HINTS_LENGTH);
        uint256 end = start + uint16(bytes2(hints[session.used:start]));
        check(end <= hints.length, EvidenceCode.HINTS_LENGTH);
        session.used = end;
        bytes32[3] memory key = session.key;
        address p384 = session.contracts.p384;
        bool isSuccess;
        uint256 answer;
        // Memory-safe: the key fits the last 96 of the 240 bytes of `input`; behind the free memory pointer nothing is kept, so every
        // signature uses the same memory for its 16 kB. The verifier answers one word, 1; an account without code answers nothing.
        assembly ("memory-safe") {
            mcopy(add(input, 0xb0), key, 0x60)
            let pointer := mload(0x40)
            mcopy(pointer, add(input, 0x20), 0xf0)
            calldatacopy(add(pointer, 0xf0), add(hints.offset, start), sub(end, start))
            mstore(0x00, 0)
            isSuccess := staticcall(gas(), p384, pointer, add(0xf0, sub(end, start)), 0x00, 0x20)
            isSuccess := and(isSuccess, eq(returndatasize(), 0x20))
            answer := mload(0x00)
        }
        return isSuccess && answer == 1;
    }

    /// Writes the digest of `message` into the first 48 bytes of `input`.
    function _hashInto(address sha384, bytes memory message, bytes memory input) private view {
        bytes memory digest = Sha384Call.digestOf(sha384, message);
        assembly ("memory-safe") {
            mcopy(add(input, 0x20), add(digest, 0x20), 48)
        }
    }

    /// Copies `length` <= 48 bytes of calldata to the right end of the 48 bytes of `input` at `position`.
    function _copyRight(bytes memory input, uint256 position, bytes calldata data, uint256 start, uint256 length)
        private
        pure
    {
        assembly ("memory-safe") {
            calldatacopy(add(add(input, 0x20), sub(add(position, 48), length)), add(data.offset, start), length)
        }
    }

    /// The head of a CBOR byte string, shortest form; documents end far below 65,536 bytes.
    function _bytesHead(uint256 length) private pure returns (bytes memory) {
        if (length < 24) return abi.encodePacked(uint8(0x40 + length));
        return length < 256 ? abi.encodePacked(bytes1(0x58), uint8(length)) : abi.encodePacked(bytes1(0x59), uint16(length));
    }
}

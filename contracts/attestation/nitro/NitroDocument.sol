// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CborReader} from "./CborReader.sol";
import {check, EvidenceCode} from "./EvidenceCode.sol";

/// @title NitroDocument
/// AWS Nitro attestation documents: a COSE_Sign1 (RFC 9052) around a CBOR map. Parses, verifies nothing.
/// Twin of offchain/protocol/evidence/nitroDocument.ts: refuses what it refuses, with the same codes.
library NitroDocument {
    using CborReader for bytes;

    uint256 internal constant DOCUMENT_BYTES_MAX = 16_384;
    uint256 internal constant BUNDLE_COUNT_MAX = 8;
    uint256 internal constant CERTIFICATE_BYTES_MAX = 1_024;
    uint256 private constant OPTIONAL_BYTES_MAX = 1_024;
    uint256 private constant MODULE_ID_CHARS_MAX = 256;
    uint256 private constant PCR_BYTES = 48;
    uint256 private constant PCR_COUNT_MAX = 32;
    uint256 private constant SIGNATURE_BYTES = 96;
    uint256 private constant MAP_ENTRIES_MAX = 64;

    /// { 1: -35 }, that is alg: ES384, and nothing else.
    bytes32 private constant PROTECTED_ES384 = hex"a1013822";
    uint256 private constant COSE_SIGN1_TAG = 18;

    // Keys of the payload, as `CborReader.textId`: the text, and its length in the last byte.
    bytes32 private constant MODULE_ID = bytes32("module_id") | bytes32(uint256(9));
    bytes32 private constant DIGEST = bytes32("digest") | bytes32(uint256(6));
    bytes32 private constant TIMESTAMP = bytes32("timestamp") | bytes32(uint256(9));
    bytes32 private constant PCRS = bytes32("pcrs") | bytes32(uint256(4));
    bytes32 private constant CERTIFICATE = bytes32("certificate") | bytes32(uint256(11));
    bytes32 private constant CABUNDLE = bytes32("cabundle") | bytes32(uint256(8));
    bytes32 private constant PUBLIC_KEY = bytes32("public_key") | bytes32(uint256(10));
    bytes32 private constant USER_DATA = bytes32("user_data") | bytes32(uint256(9));
    bytes32 private constant NONCE = bytes32("nonce") | bytes32(uint256(5));
    bytes32 private constant SHA384 = bytes32("SHA384") | bytes32(uint256(6));

    /// The half-open range [start, end) of positions in the document; empty when the field is absent or null.
    struct Span {
        uint256 start;
        uint256 end;
    }

    /// @param payload The signed CBOR map.
    /// @param signature Position of r, s: 48 bytes each.
    /// @param timestampMs Milliseconds since the epoch: Nitro's unit, never ours.
    /// @param pcrs Positions of PCR0, PCR1 and PCR2, 48 bytes each, by index and never by order.
    /// @param bundle CA certificates, the root first; `bundleCount` of them.
    struct Document {
        Span payload;
        uint256 signature;
        uint256 timestampMs;
        uint256[3] pcrs;
        Span certificate;
        Span[BUNDLE_COUNT_MAX] bundle;
        uint256 bundleCount;
        Span userData;
    }

    /// Parses a document that must fill `data` exactly.
    function parse(bytes calldata data) internal pure returns (Document memory document) {
        check(data.length <= DOCUMENT_BYTES_MAX, EvidenceCode.DOCUMENT_SIZE);
        _parseCose(data, document);
        _parsePayload(data, document);
    }

    /// COSE_Sign1 = [ protected: bstr, unprotected: map, payload: bstr, signature: bstr ], tagged 18 or not.
    function _parseCose(bytes calldata data, Document memory document) private pure {
        uint256 end = data.length;
        (uint256 major, uint256 argument, uint256 pos) = data.readHead(0, end);
        if (major == CborReader.TAG && argument == COSE_SIGN1_TAG) (major, argument, pos) = data.readHead(pos, end);
        check(major == CborReader.ARRAY, EvidenceCode.CBOR_TYPE);
        uint256 count = 0;
        uint256 signatureEnd = 0;
        for (bool more;; count++) {
            (more, pos) = data.hasNext(pos, end, argument, count);
            if (!more) break;
            if (count == 0) pos = _readProtected(data, pos, end);
            else if (count == 1) pos = _readUnprotected(data, pos, end);
            else if (count == 2) pos = _into(document.payload, data, pos, end);
            else if (count == 3) (document.signature, pos) = data.readBytes(pos, end);
            else pos = data.skip(pos, end);
            if (count == 3) signatureEnd = pos;
        }
        check(pos == end, EvidenceCode.CBOR_TRAILING_BYTES);
        check(count == 4, EvidenceCode.COSE_STRUCTURE);
        check(signatureEnd - document.signature == SIGNATURE_BYTES, EvidenceCode.COSE_SIGNATURE_LENGTH);
    }

    function _readProtected(bytes calldata data, uint256 pos, uint256 end) private pure returns (uint256 next) {
        uint256 start;
        (start, next) = data.readBytes(pos, end);
        bool isEs384 = next - start == 4 && bytes4(bytes32(data.wordAt(start))) == bytes4(PROTECTED_ES384);
        check(isEs384, EvidenceCode.COSE_ALGORITHM);
    }

    /// Labels whose meaning is fixed by the protected header, alg (1) and crit (2), must not stand here (RFC 9052 section 3.1).
    function _readUnprotected(bytes calldata data, uint256 pos, uint256 end) private pure returns (uint256) {
        uint256 argument;
        (argument, pos) = data.readHeadOf(pos, end, CborReader.MAP);
        bytes32[] memory seen = new bytes32[](MAP_ENTRIES_MAX);
        for (uint256 count = 0;; count++) {
            bool more;
            (more, pos) = data.hasNext(pos, end, argument, count);
            if (!more) break;
            bytes32 label;
            (label, pos) = data.readKey(pos, end);
            _requireNew(seen, count, label);
            bool isProtectedOnly = label == CborReader.integerId(CborReader.UINT, 1)
                || label == CborReader.integerId(CborReader.UINT, 2);
            check(!isProtectedOnly, EvidenceCode.COSE_HEADER);
            pos = data.skip(pos, end);
        }
        return pos;
    }

    /// Unknown keys are stepped over: the whole payload is signed, and AWS adds fields.
    function _parsePayload(bytes calldata data, Document memory document) private pure {
        uint256 pos = document.payload.start;
        uint256 end = document.payload.end;
        uint256 argument;
        (argument, pos) = data.readHeadOf(pos, end, CborReader.MAP);
        bytes32[] memory seen = new bytes32[](MAP_ENTRIES_MAX);
        // One bit for each required field: module_id, digest, timestamp, pcrs, certificate, cabundle.
        uint256 found = 0;
        for (uint256 count = 0;; count++) {
            bool more;
            (more, pos) = data.hasNext(pos, end, argument, count);
            if (!more) break;
            bytes32 key;
            (key, pos) = data.readKey(pos, end);
            _requireNew(seen, count, key);
            uint256 bit;
            (pos, bit) = _readField(data, pos, end, key, document);
            found |= bit;
        }
        check(pos == end, EvidenceCode.CBOR_TRAILING_BYTES);
        check(found & 64 == 0, EvidenceCode.FIELD_VALUE);
        check(found == 63, EvidenceCode.FIELD_MISSING);
        for (uint256 i = 0; i < 3; i++) {
            check(document.pcrs[i] != 0, EvidenceCode.PCR_MISSING);
        }
    }

    function _readField(bytes calldata data, uint256 pos, uint256 end, bytes32 key, Document memory document)
        private
        pure
        returns (uint256 next, uint256 bit)
    {
        if (key == PCRS) return (_readPcrs(data, pos, end, document), 1);
        if (key == CABUNDLE) return (_readBundle(data, pos, end, document), 2);
        if (key == CERTIFICATE) {
            next = _into(document.certificate, data, pos, end);
            _requireLength(document.certificate, CERTIFICATE_BYTES_MAX);
            return (next, 4);
        }
        if (key == TIMESTAMP) {
            (document.timestampMs, next) = data.readUint(pos, end);
            return (next, 8);
        }
        if (key == MODULE_ID || key == DIGEST) {
            uint256 start;
            (start, next) = data.readText(pos, end);
            uint256 length = next - start;
            if (key == MODULE_ID) {
                check(length != 0 && length <= MODULE_ID_CHARS_MAX, EvidenceCode.FIELD_LENGTH);
                return (next, 16);
            }
            // A wrong digest is noted and refused at the end, as the twin does.
            bool isSha384 = length < 32 && CborReader.textId(data.wordAt(start), length) == SHA384;
            return (next, isSha384 ? 32 : 32 | 64);
        }
        if (key == USER_DATA) return (_readOptional(document.userData, data, pos, end), 0);
        Span memory unused;
        if (key == PUBLIC_KEY || key == NONCE) return (_readOptional(unused, data, pos, end), 0);
        return (data.skip(pos, end), 0);
    }

    function _readPcrs(bytes calldata data, uint256 pos, uint256 end, Document memory document)
        private
        pure
        returns (uint256)
    {
        uint256 argument;
        (argument, pos) = data.readHeadOf(pos, end, CborReader.MAP);
        uint256 seen = 0;
        for (uint256 count = 0;; count++) {
            bool more;
            (more, pos) = data.hasNext(pos, end, argument, count);
            if (!more) break;
            (uint256 major, uint256 index, uint256 next) = data.readHead(pos, end);
            if (major != CborReader.UINT || index >= PCR_COUNT_MAX) {
                // Whatever key it is, it is refused; the reader says first whether it is one at all.
                data.readKey(pos, end);
                check(false, EvidenceCode.PCR_INDEX);
            }
            check((seen >> index) & 1 == 0, EvidenceCode.CBOR_DUPLICATE_KEY);
            seen |= 1 << index;
            uint256 start;
            (start, pos) = data.readBytes(next, end);
            check(pos - start == PCR_BYTES, EvidenceCode.PCR_LENGTH);
            if (index < 3) document.pcrs[index] = start;
        }
        return pos;
    }

    function _readBundle(bytes calldata data, uint256 pos, uint256 end, Document memory document)
        private
        pure
        returns (uint256)
    {
        uint256 argument;
        (argument, pos) = data.readHeadOf(pos, end, CborReader.ARRAY);
        uint256 count = 0;
        for (bool more;; count++) {
            (more, pos) = data.hasNext(pos, end, argument, count);
            if (!more) break;
            check(count < BUNDLE_COUNT_MAX, EvidenceCode.BUNDLE_LENGTH);
            pos = _into(document.bundle[count], data, pos, end);
            _requireLength(document.bundle[count], CERTIFICATE_BYTES_MAX);
        }
        check(count != 0, EvidenceCode.BUNDLE_LENGTH);
        document.bundleCount = count;
        return pos;
    }

    function _readOptional(Span memory span, bytes calldata data, uint256 pos, uint256 end)
        private
        pure
        returns (uint256 next)
    {
        if (data.isNull(pos, end)) return pos + 1;
        next = _into(span, data, pos, end);
        _requireLength(span, OPTIONAL_BYTES_MAX);
    }

    function _into(Span memory span, bytes calldata data, uint256 pos, uint256 end) private pure returns (uint256 next) {
        (span.start, next) = data.readBytes(pos, end);
        span.end = next;
    }

    function _requireLength(Span memory span, uint256 bytesMax) private pure {
        check(span.end - span.start <= bytesMax, EvidenceCode.FIELD_LENGTH);
    }

    function _requireNew(bytes32[] memory seen, uint256 count, bytes32 key) private pure {
        check(count < MAP_ENTRIES_MAX, EvidenceCode.CBOR_ENTRIES);
        for (uint256 i = 0; i < count; i++) {
            check(seen[i] != key, EvidenceCode.CBOR_DUPLICATE_KEY);
        }
        seen[count] = key;
    }
}

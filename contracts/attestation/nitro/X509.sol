// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CborReader} from "./CborReader.sol";
import {DerReader} from "./DerReader.sol";
import {check, EvidenceCode} from "./EvidenceCode.sol";

/// @title X509
/// X.509 v3 certificates as the Nitro PKI issues them (RFC 5280): P-384 keys, ecdsa-with-SHA384, everything else refused. Parses,
/// verifies nothing: that a key is a point of the curve is checked when it is used. Twin of offchain/protocol/evidence/certificate*.ts.
library X509 {
    using DerReader for bytes;

    /// AlgorithmIdentifier { ecdsa-with-SHA384 }, no parameters (RFC 5758 section 3.2).
    bytes10 private constant ECDSA_WITH_SHA384 = hex"06082a8648ce3d040303";
    /// AlgorithmIdentifier { id-ecPublicKey, secp384r1 } (RFC 5480 section 2.1).
    bytes16 private constant EC_KEY_P384 = hex"06072a8648ce3d020106052b81040022";
    /// INTEGER 2, which is v3.
    bytes3 private constant VERSION_3 = hex"020102";
    /// 2.5.29.19 and 2.5.29.15.
    bytes3 private constant BASIC_CONSTRAINTS = hex"551d13";
    bytes3 private constant KEY_USAGE = hex"551d0f";
    /// Bits 0 and 5 of KeyUsage, counted from the most significant bit of the first byte.
    uint256 private constant DIGITAL_SIGNATURE = 0x80;
    uint256 private constant KEY_CERT_SIGN = 0x04;
    uint256 private constant SERIAL_BYTES_MAX = 20;
    uint256 private constant EXTENSIONS_MAX = 32;
    uint256 internal constant NO_PATH_LENGTH = type(uint8).max;

    /// Positions are in the calldata that was parsed.
    /// @param tbsStart The signed part, tag and length included.
    /// @param revocationId keccak256(keccak256(issuer's Name), serial): what a revocation names.
    /// @param issuerHash keccak256 of the issuer's encoded Name; names are compared byte by byte.
    /// @param notBefore First second of validity; `notAfter` is the last one, included.
    /// @param key Position of the public key's x and y, 48 bytes each.
    /// @param pathLength How many CA certificates may follow before the leaf; NO_PATH_LENGTH for no bound.
    /// @param r Position and length of the signature's r without leading zeros; s likewise.
    struct Certificate {
        uint256 tbsStart;
        uint256 tbsEnd;
        bytes32 revocationId;
        bytes32 issuerHash;
        bytes32 subjectHash;
        uint256 notBefore;
        uint256 notAfter;
        uint256 key;
        bool isCa;
        uint256 pathLength;
        bool canSignCertificates;
        bool canSignData;
        uint256 r;
        uint256 rLength;
        uint256 s;
        uint256 sLength;
    }

    /// Where the signed part of a certificate lies: enough to look it up in a cache.
    function tbsOf(bytes calldata data, uint256 start, uint256 end) internal pure returns (uint256 tbs, uint256 tbsEnd) {
        tbs = data.readWrapper(start, end, DerReader.SEQUENCE);
        (, tbsEnd) = data.readTag(tbs, end, DerReader.SEQUENCE);
    }

    /// Parses one certificate that must fill the positions from `start` to `end`.
    function parse(bytes calldata data, uint256 start, uint256 end) internal pure returns (Certificate memory certificate) {
        uint256 pos = data.readWrapper(start, end, DerReader.SEQUENCE);
        certificate.tbsStart = pos;
        uint256 tbs;
        (tbs, pos) = data.readTag(pos, end, DerReader.SEQUENCE);
        certificate.tbsEnd = pos;
        pos = _readAlgorithm(data, pos, end);
        (uint256 bits, uint256 bitsEnd) = data.readBits(pos, end);
        _parseSignature(data, bits, bitsEnd, certificate);
        DerReader.close(bitsEnd, end);
        _parseTbs(data, tbs, certificate.tbsEnd, certificate);
    }

    function _parseTbs(bytes calldata data, uint256 pos, uint256 end, Certificate memory certificate) private pure {
        pos = _readVersion(data, pos, end);
        uint256 serial;
        (serial, pos) = data.readUint(pos, end, SERIAL_BYTES_MAX);
        uint256 serialNumber = _unsigned(data, serial, pos);
        check(serialNumber != 0, EvidenceCode.CERTIFICATE_SERIAL);
        pos = _readAlgorithm(data, pos, end);
        (certificate.issuerHash, pos) = _readName(data, pos, end);
        certificate.revocationId = keccak256(abi.encode(certificate.issuerHash, serialNumber));
        (uint256 validity, uint256 validityEnd) = data.readTag(pos, end, DerReader.SEQUENCE);
        (certificate.notBefore, validity) = _readTime(data, validity, validityEnd);
        (certificate.notAfter, validity) = _readTime(data, validity, validityEnd);
        DerReader.close(validity, validityEnd);
        (certificate.subjectHash, pos) = _readName(data, validityEnd, end);
        (certificate.key, pos) = _readPublicKey(data, pos, end);
        check(data.isNext(pos, end, DerReader.CONTEXT_3), EvidenceCode.CERTIFICATE_EXTENSION);
        (uint256 extensions, uint256 extensionsEnd) = data.readTag(pos, end, DerReader.CONTEXT_3);
        _parseExtensions(data, extensions, extensionsEnd, certificate);
        DerReader.close(extensionsEnd, end);
    }

    function _readVersion(bytes calldata data, uint256 pos, uint256 end) private pure returns (uint256 next) {
        check(data.isNext(pos, end, DerReader.CONTEXT_0), EvidenceCode.CERTIFICATE_VERSION);
        uint256 content;
        (content, next) = data.readTag(pos, end, DerReader.CONTEXT_0);
        bool isVersion3 = next - content == 3 && bytes3(bytes32(CborReader.wordAt(data, content))) == VERSION_3;
        check(isVersion3, EvidenceCode.CERTIFICATE_VERSION);
    }

    /// Both places that name the signature algorithm must say the same single thing.
    function _readAlgorithm(bytes calldata data, uint256 pos, uint256 end) private pure returns (uint256 next) {
        uint256 content;
        (content, next) = data.readTag(pos, end, DerReader.SEQUENCE);
        bool isKnown = next - content == 10 && bytes10(bytes32(CborReader.wordAt(data, content))) == ECDSA_WITH_SHA384;
        check(isKnown, EvidenceCode.CERTIFICATE_ALGORITHM);
    }

    /// A Name that is not empty, of SETs with one attribute each; answers the hash of its full encoding.
    function _readName(bytes calldata data, uint256 pos, uint256 end) private pure returns (bytes32 hash, uint256 next) {
        uint256 part;
        (part, next) = data.readTag(pos, end, DerReader.SEQUENCE);
        check(part != next, EvidenceCode.DER_VALUE);
        while (part < next) {
            (uint256 set, uint256 setEnd) = data.readTag(part, next, DerReader.SET);
            uint256 attribute = data.readWrapper(set, setEnd, DerReader.SEQUENCE);
            (, attribute) = data.readTag(attribute, setEnd, DerReader.OID);
            (,, attribute) = data.read(attribute, setEnd);
            DerReader.close(attribute, setEnd);
            part = setEnd;
        }
        hash = keccak256(data[pos:next]);
    }

    function _readPublicKey(bytes calldata data, uint256 pos, uint256 end)
        private
        pure
        returns (uint256 key, uint256 next)
    {
        uint256 info;
        (info, next) = data.readTag(pos, end, DerReader.SEQUENCE);
        (uint256 algorithm, uint256 algorithmEnd) = data.readTag(info, next, DerReader.SEQUENCE);
        bool isP384 =
            algorithmEnd - algorithm == 16 && bytes16(bytes32(CborReader.wordAt(data, algorithm))) == EC_KEY_P384;
        check(isP384, EvidenceCode.CERTIFICATE_KEY);
        uint256 keyEnd;
        (key, keyEnd) = data.readBits(algorithmEnd, next);
        DerReader.close(keyEnd, next);
        check(keyEnd - key == 97 && CborReader.byteAt(data, key) == 4, EvidenceCode.CERTIFICATE_KEY);
        key++;
    }

    /// Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }. That both are in range is the signature check's to say.
    function _parseSignature(bytes calldata data, uint256 pos, uint256 end, Certificate memory certificate)
        private
        pure
    {
        pos = data.readWrapper(pos, end, DerReader.SEQUENCE);
        uint256 next;
        (certificate.r, next) = data.readUint(pos, end, 48);
        certificate.rLength = next - certificate.r;
        (certificate.s, pos) = data.readUint(next, end, 48);
        certificate.sLength = pos - certificate.s;
        DerReader.close(pos, end);
    }

    /// Unknown extensions are skipped, unless they are critical; none may come twice.
    function _parseExtensions(bytes calldata data, uint256 pos, uint256 end, Certificate memory certificate)
        private
        pure
    {
        pos = data.readWrapper(pos, end, DerReader.SEQUENCE);
        bytes32[] memory seen = new bytes32[](EXTENSIONS_MAX);
        certificate.pathLength = NO_PATH_LENGTH;
        for (uint256 count = 0; pos < end; count++) {
            (uint256 field, uint256 extensionEnd) = data.readTag(pos, end, DerReader.SEQUENCE);
            (uint256 id, uint256 idEnd) = data.readTag(field, extensionEnd, DerReader.OID);
            bool isCritical;
            (isCritical, field) = data.readFlag(idEnd, extensionEnd);
            (uint256 value, uint256 valueEnd) = data.readTag(field, extensionEnd, DerReader.OCTET_STRING);
            DerReader.close(valueEnd, extensionEnd);
            _requireNew(seen, count, keccak256(data[id:idEnd]));
            bytes3 shortId = idEnd - id == 3 ? bytes3(bytes32(CborReader.wordAt(data, id))) : bytes3(0);
            if (shortId == BASIC_CONSTRAINTS) _parseConstraints(data, value, valueEnd, certificate);
            else if (shortId == KEY_USAGE) _parseKeyUsage(data, value, valueEnd, certificate);
            else check(!isCritical, EvidenceCode.CERTIFICATE_EXTENSION_CRITICAL);
            pos = extensionEnd;
        }
    }

    function _requireNew(bytes32[] memory seen, uint256 count, bytes32 id) private pure {
        check(count < EXTENSIONS_MAX, EvidenceCode.CERTIFICATE_EXTENSION);
        for (uint256 i = 0; i < count; i++) {
            check(seen[i] != id, EvidenceCode.CERTIFICATE_EXTENSION_DUPLICATE);
        }
        seen[count] = id;
    }

    /// BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }
    function _parseConstraints(bytes calldata data, uint256 pos, uint256 end, Certificate memory certificate)
        private
        pure
    {
        pos = data.readWrapper(pos, end, DerReader.SEQUENCE);
        (certificate.isCa, pos) = data.readFlag(pos, end);
        if (pos < end) {
            // One byte of magnitude is far above any chain taken here, and cannot wrap.
            (uint256 start, uint256 next) = data.readUint(pos, end, 1);
            certificate.pathLength = _unsigned(data, start, next);
            DerReader.close(next, end);
            check(certificate.isCa, EvidenceCode.CERTIFICATE_EXTENSION);
        }
    }

    /// KeyUsage ::= BIT STRING of nine named bits; DER drops trailing zero bits (X.690 section 11.2.2).
    function _parseKeyUsage(bytes calldata data, uint256 pos, uint256 end, Certificate memory certificate) private pure {
        uint256 next;
        (pos, next) = data.readTag(pos, end, DerReader.BIT_STRING);
        DerReader.close(next, end);
        uint256 length = end - pos;
        check(length == 2 || length == 3, EvidenceCode.CERTIFICATE_EXTENSION);
        uint256 unusedBits = CborReader.byteAt(data, pos);
        uint256 last = CborReader.byteAt(data, end - 1);
        bool isCanonical = unusedBits <= 7 && last & ((2 << unusedBits) - 1) == 1 << unusedBits;
        check(isCanonical, EvidenceCode.CERTIFICATE_EXTENSION);
        uint256 usage = CborReader.byteAt(data, pos + 1);
        certificate.canSignCertificates = usage & KEY_CERT_SIGN != 0;
        certificate.canSignData = usage & DIGITAL_SIGNATURE != 0;
    }

    /// UTCTime (YYMMDDHHMMSSZ, 1950 to 2049) or, from 2050 on, GeneralizedTime (YYYYMMDDHHMMSSZ), in seconds since the epoch. Dates
    /// before 1970 and dates that do not exist are refused.
    function _readTime(bytes calldata data, uint256 pos, uint256 end) private pure returns (uint256 time, uint256 next) {
        (uint256 tag, uint256 content, uint256 contentEnd) = data.read(pos, end);
        next = contentEnd;
        uint256 length = contentEnd - content;
        bool isUtc = tag == DerReader.UTC_TIME && length == 13;
        bool isGeneralized = tag == DerReader.GENERALIZED_TIME && length == 15;
        check(isUtc || isGeneralized, EvidenceCode.CERTIFICATE_DATE);
        check(CborReader.byteAt(data, contentEnd - 1) == 0x5a, EvidenceCode.CERTIFICATE_DATE);
        uint256 year;
        if (isUtc) {
            year = _twoDigits(data, content);
            year += year < 50 ? 2000 : 1900;
            content += 2;
        } else {
            year = _twoDigits(data, content) * 100 + _twoDigits(data, content + 2);
            check(year >= 2050, EvidenceCode.CERTIFICATE_DATE);
            content += 4;
        }
        time = _toSeconds(year, data, content);
    }

    function _toSeconds(uint256 year, bytes calldata data, uint256 pos) private pure returns (uint256) {
        uint256 month = _twoDigits(data, pos);
        uint256 day = _twoDigits(data, pos + 2);
        uint256 hour = _twoDigits(data, pos + 4);
        uint256 minute = _twoDigits(data, pos + 6);
        uint256 second = _twoDigits(data, pos + 8);
        bool exists = year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= _daysIn(year, month) && hour < 24
            && minute < 60 && second < 60;
        check(exists, EvidenceCode.CERTIFICATE_DATE);
        return ((_daysBefore(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    }

    function _daysIn(uint256 year, uint256 month) private pure returns (uint256) {
        if (month == 2) return _isLeap(year) ? 29 : 28;
        return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
    }

    function _isLeap(uint256 year) private pure returns (bool) {
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    }

    /// Days from 1 January 1970 to the first of the month, by counting years from March: a leap day then ends its year.
    function _daysBefore(uint256 year, uint256 month) private pure returns (uint256) {
        uint256 y = month <= 2 ? year - 1 : year;
        uint256 monthFromMarch = month <= 2 ? month + 9 : month - 3;
        // Days before the month in a year from March (153 days in five months), and leap days of all years before; 719_468 days lie
        // between 1 March of the year 0 and 1 January 1970.
        return 365 * y + y / 4 - y / 100 + y / 400 + (153 * monthFromMarch + 2) / 5 - 719_468;
    }

    function _twoDigits(bytes calldata data, uint256 pos) private pure returns (uint256) {
        uint256 tens = CborReader.byteAt(data, pos);
        uint256 ones = CborReader.byteAt(data, pos + 1);
        check(tens >= 0x30 && tens <= 0x39 && ones >= 0x30 && ones <= 0x39, EvidenceCode.CERTIFICATE_DATE);
        return (tens - 0x30) * 10 + ones - 0x30;
    }

    /// The bytes from `start` to `end`, at most 32, as a number.
    function _unsigned(bytes calldata data, uint256 start, uint256 end) private pure returns (uint256) {
        return start == end ? 0 : CborReader.wordAt(data, start) >> (256 - 8 * (end - start));
    }
}

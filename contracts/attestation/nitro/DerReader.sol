// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CborReader} from "./CborReader.sol";
import {check, EvidenceCode} from "./EvidenceCode.sol";

/// @title DerReader
/// A strict DER reader (ITU-T X.690) over calldata: definite, minimal lengths, positions out, every wrapper consumed by its caller.
/// Twin of offchain/protocol/evidence/der.ts: refuses what it refuses, with the same codes.
library DerReader {
    uint256 internal constant BOOLEAN = 0x01;
    uint256 internal constant INTEGER = 0x02;
    uint256 internal constant BIT_STRING = 0x03;
    uint256 internal constant OCTET_STRING = 0x04;
    uint256 internal constant OID = 0x06;
    uint256 internal constant UTC_TIME = 0x17;
    uint256 internal constant GENERALIZED_TIME = 0x18;
    uint256 internal constant SEQUENCE = 0x30;
    uint256 internal constant SET = 0x31;
    uint256 internal constant CONTEXT_0 = 0xa0;
    uint256 internal constant CONTEXT_3 = 0xa3;

    /// The next element, whatever its tag: its content lies from `content` to `next`. Tags of more than one byte are refused.
    function read(bytes calldata data, uint256 pos, uint256 end)
        internal
        pure
        returns (uint256 tag, uint256 content, uint256 next)
    {
        // Positions stay below calldata's length and lengths below 65,536, so no sum here can overflow.
        unchecked {
            check(pos < end, EvidenceCode.DER_TRUNCATED);
            uint256 word = CborReader.wordAt(data, pos);
            tag = word >> 248;
            check(tag & 0x1f != 0x1f, EvidenceCode.DER_TAG);
            check(pos + 1 < end, EvidenceCode.DER_TRUNCATED);
            uint256 length = (word >> 240) & 0xff;
            content = pos + 2;
            if (length >= 0x80) {
                // Two length bytes reach 65,535, far above any certificate taken here. 0x80 is BER's indefinite length.
                uint256 lengthBytes = length & 0x7f;
                check(lengthBytes == 1 || lengthBytes == 2, EvidenceCode.DER_LENGTH);
                content += lengthBytes;
                check(content <= end, EvidenceCode.DER_TRUNCATED);
                length = lengthBytes == 1 ? (word >> 232) & 0xff : (word >> 224) & 0xffff;
                check(length >= (lengthBytes == 1 ? 0x80 : 0x100), EvidenceCode.DER_LENGTH);
            }
            check(length <= end - content, EvidenceCode.DER_TRUNCATED);
            next = content + length;
        }
    }

    /// The next element, which must have `tag`.
    function readTag(bytes calldata data, uint256 pos, uint256 end, uint256 tag)
        internal
        pure
        returns (uint256 content, uint256 next)
    {
        uint256 actual;
        (actual, content, next) = read(data, pos, end);
        check(actual == tag, EvidenceCode.DER_TAG);
    }

    /// The next element, which must have `tag` and end exactly at `end`: a wrapper.
    function readWrapper(bytes calldata data, uint256 pos, uint256 end, uint256 tag)
        internal
        pure
        returns (uint256 content)
    {
        uint256 next;
        (content, next) = readTag(data, pos, end, tag);
        close(next, end);
    }

    /// Whether the next element has `tag`; false at the end.
    function isNext(bytes calldata data, uint256 pos, uint256 end, uint256 tag) internal pure returns (bool) {
        return pos < end && CborReader.byteAt(data, pos) == tag;
    }

    /// An INTEGER that is not negative, in its shortest form, of at most `bytesMax` bytes of magnitude: they lie from `start` to `next`.
    function readUint(bytes calldata data, uint256 pos, uint256 end, uint256 bytesMax)
        internal
        pure
        returns (uint256 start, uint256 next)
    {
        (start, next) = readTag(data, pos, end, INTEGER);
        check(start < next, EvidenceCode.DER_VALUE);
        uint256 first = CborReader.byteAt(data, start);
        check(first < 0x80, EvidenceCode.DER_VALUE);
        if (first == 0) {
            if (next - start > 1) check(CborReader.byteAt(data, start + 1) >= 0x80, EvidenceCode.DER_VALUE);
            start++;
        }
        check(next - start <= bytesMax, EvidenceCode.DER_VALUE);
    }

    /// A BOOLEAN with DEFAULT FALSE: absent is false, and DER allows no encoding but 0xff for true.
    function readFlag(bytes calldata data, uint256 pos, uint256 end) internal pure returns (bool flag, uint256 next) {
        if (!isNext(data, pos, end, BOOLEAN)) return (false, pos);
        uint256 content;
        (content, next) = readTag(data, pos, end, BOOLEAN);
        check(next - content == 1 && CborReader.byteAt(data, content) == 0xff, EvidenceCode.DER_VALUE);
        return (true, next);
    }

    /// A BIT STRING without unused bits: its bytes lie from `start` to `next`.
    function readBits(bytes calldata data, uint256 pos, uint256 end)
        internal
        pure
        returns (uint256 start, uint256 next)
    {
        (start, next) = readTag(data, pos, end, BIT_STRING);
        check(start < next && CborReader.byteAt(data, start) == 0, EvidenceCode.DER_VALUE);
        start++;
    }

    /// Requires that everything up to `end` was read.
    function close(uint256 pos, uint256 end) internal pure {
        check(pos == end, EvidenceCode.DER_TRAILING_BYTES);
    }
}

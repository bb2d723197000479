// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {check, EvidenceCode} from "./EvidenceCode.sol";

/// @title CborReader
/// A strict CBOR reader (RFC 8949) over calldata: positions in, positions out, nothing decoded that nobody asked for.
/// Twin of offchain/protocol/evidence/cbor.ts: refuses what it refuses, with the same codes.
/// Every function reads from position `pos` of `data`, never at or after `end`, and answers the position behind what it read.
library CborReader {
    uint256 internal constant UINT = 0;
    uint256 internal constant NEGATIVE = 1;
    uint256 internal constant BYTES = 2;
    uint256 internal constant TEXT = 3;
    uint256 internal constant ARRAY = 4;
    uint256 internal constant MAP = 5;
    uint256 internal constant TAG = 6;
    uint256 private constant SIMPLE = 7;
    uint256 private constant NULL_BYTE = 0xf6;
    uint256 private constant BREAK_BYTE = 0xff;
    /// Argument of an indefinite container: above every real length.
    uint256 internal constant INDEFINITE = type(uint256).max;
    uint256 private constant DEPTH_MAX = 8;
    /// 2^53 - 1: the largest integer that TypeScript reads exactly.
    uint256 private constant SAFE_INTEGER_MAX = 0x1fffffffffffff;

    /// An item's head (section 3): the major type and the shortest form of its argument; INDEFINITE for an indefinite container.
    function readHead(bytes calldata data, uint256 pos, uint256 end)
        internal
        pure
        returns (uint256 major, uint256 argument, uint256 next)
    {
        check(pos < end, EvidenceCode.CBOR_TRUNCATED);
        // Positions stay below calldata's length, so no sum here can overflow.
        unchecked {
            uint256 first = byteAt(data, pos);
            major = first >> 5;
            argument = first & 31;
            next = pos + 1;
            if (argument < 24) return (major, argument, next);
            if (argument == 31 && (major == ARRAY || major == MAP)) return (major, INDEFINITE, next);
            // 28 to 30 are reserved; strings in pieces and a break outside a container are never part of a document.
            check(argument < 28, EvidenceCode.CBOR_TYPE);
            uint256 info = argument;
            uint256 length = 1 << (info - 24);
            check(length <= end - next, EvidenceCode.CBOR_TRUNCATED);
            argument = wordAt(data, next) >> (256 - 8 * length);
            next += length;
            // For floats the bytes are the value itself. A simple value below 32 in two bytes is not well formed.
            uint256 least;
            if (major == SIMPLE) least = info == 24 ? 32 : 0;
            else least = info == 24 ? 24 : 1 << (4 * length);
            check(argument >= least, EvidenceCode.CBOR_NOT_MINIMAL);
        }
    }

    /// The head of an item that must be of type `major`.
    function readHeadOf(bytes calldata data, uint256 pos, uint256 end, uint256 major)
        internal
        pure
        returns (uint256 argument, uint256 next)
    {
        uint256 actual;
        (actual, argument, next) = readHead(data, pos, end);
        check(actual == major, EvidenceCode.CBOR_TYPE);
    }

    /// Where the content of a byte string lies: from `start` to `next`.
    function readBytes(bytes calldata data, uint256 pos, uint256 end) internal pure returns (uint256 start, uint256 next) {
        uint256 length;
        (length, start) = readHeadOf(data, pos, end, BYTES);
        next = _contentEnd(start, end, length);
    }

    /// Where the content of a text string lies. Text is ASCII here: documents hold no other, and it needs no UTF-8 rules.
    function readText(bytes calldata data, uint256 pos, uint256 end) internal pure returns (uint256 start, uint256 next) {
        uint256 length;
        (length, start) = readHeadOf(data, pos, end, TEXT);
        next = _textEnd(data, start, end, length);
    }

    /// An unsigned integer below 2^53.
    function readUint(bytes calldata data, uint256 pos, uint256 end) internal pure returns (uint256 value, uint256 next) {
        (value, next) = readHeadOf(data, pos, end, UINT);
        check(value <= SAFE_INTEGER_MAX, EvidenceCode.CBOR_INTEGER_RANGE);
    }

    /// Whether a null is next.
    function isNull(bytes calldata data, uint256 pos, uint256 end) internal pure returns (bool) {
        return pos < end && byteAt(data, pos) == NULL_BYTE;
    }

    /// Whether a container of `argument` items, `count` of them read, has another one; consumes an indefinite container's break.
    function hasNext(bytes calldata data, uint256 pos, uint256 end, uint256 argument, uint256 count)
        internal
        pure
        returns (bool, uint256 next)
    {
        if (argument != INDEFINITE) return (count < argument, pos);
        if (pos < end && byteAt(data, pos) == BREAK_BYTE) return (false, pos + 1);
        return (true, pos);
    }

    /// A map's key, an integer or text. `id` tells keys apart: short text as it stands, with its length in the last byte; any other
    /// key by its hash.
    function readKey(bytes calldata data, uint256 pos, uint256 end) internal pure returns (bytes32 id, uint256 next) {
        (uint256 major, uint256 argument, uint256 start) = readHead(data, pos, end);
        if (major == TEXT) {
            next = _textEnd(data, start, end, argument);
            if (argument < 32) return (textId(wordAt(data, start), argument), next);
            return (keccak256(data[start:next]), next);
        }
        check(major == UINT || major == NEGATIVE, EvidenceCode.CBOR_TYPE);
        check(argument <= SAFE_INTEGER_MAX, EvidenceCode.CBOR_INTEGER_RANGE);
        return (integerId(major, argument), start);
    }

    /// The `id` of an integer key of either sign.
    function integerId(uint256 major, uint256 argument) internal pure returns (bytes32) {
        return keccak256(abi.encode(major, argument));
    }

    /// The `id` of a text of `length` < 32 bytes that begins `word`.
    function textId(uint256 word, uint256 length) internal pure returns (bytes32) {
        // length < 32: the shift is from 8 to 256, and one of 256 yields zero, as an empty text should.
        unchecked {
            return bytes32(((word >> (256 - 8 * length)) << (256 - 8 * length)) | length);
        }
    }

    /// Steps over one well-formed item of any type. Keys inside it are not compared with each other: nobody reads them.
    function skip(bytes calldata data, uint256 pos, uint256 end) internal pure returns (uint256) {
        // Open containers stand on a list instead of the call stack: how many items each still expects. Indefinite ones count up from 0;
        // an odd count at the end of a map is a key without its value.
        uint256[DEPTH_MAX] memory left;
        uint256[DEPTH_MAX] memory kind;
        uint256 depth = 0;
        do {
            if (depth > 0 && kind[depth - 1] != 0) {
                (bool more, uint256 next) = hasNext(data, pos, end, INDEFINITE, 0);
                if (!more) {
                    check(kind[depth - 1] != MAP || left[depth - 1] % 2 == 0, EvidenceCode.CBOR_TYPE);
                    pos = next;
                    depth--;
                    depth = _closeFull(left, kind, depth);
                    continue;
                }
                left[depth - 1]++;
            } else if (depth > 0) {
                left[depth - 1]--;
            }
            uint256 major;
            uint256 argument;
            (major, argument, pos) = readHead(data, pos, end);
            if (major == BYTES) {
                pos = _contentEnd(pos, end, argument);
            } else if (major == TEXT) {
                pos = _textEnd(data, pos, end, argument);
            } else if (major == ARRAY || major == MAP || major == TAG) {
                check(depth < DEPTH_MAX, EvidenceCode.CBOR_DEPTH);
                bool isIndefinite = argument == INDEFINITE;
                kind[depth] = isIndefinite ? major : 0;
                // A length above what is left to read fails for want of bytes; doubling 64 bits cannot overflow.
                left[depth] = isIndefinite ? 0 : major == TAG ? 1 : major == MAP ? 2 * argument : argument;
                depth++;
            }
            depth = _closeFull(left, kind, depth);
        } while (depth > 0);
        return pos;
    }

    /// The byte at `pos`, which must be below data's length.
    function byteAt(bytes calldata data, uint256 pos) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := byte(0, calldataload(add(data.offset, pos)))
        }
    }

    /// The 32 bytes from `pos`. Behind data's end they are whatever calldata holds, or zero: callers shift or compare them away.
    function wordAt(bytes calldata data, uint256 pos) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, pos))
        }
    }

    /// Pops definite containers that expect nothing more.
    function _closeFull(uint256[DEPTH_MAX] memory left, uint256[DEPTH_MAX] memory kind, uint256 depth)
        private
        pure
        returns (uint256)
    {
        while (depth > 0 && kind[depth - 1] == 0 && left[depth - 1] == 0) depth--;
        return depth;
    }

    function _contentEnd(uint256 start, uint256 end, uint256 length) private pure returns (uint256) {
        check(length <= end - start, EvidenceCode.CBOR_TRUNCATED);
        return start + length;
    }

    function _textEnd(bytes calldata data, uint256 start, uint256 end, uint256 length)
        private
        pure
        returns (uint256 next)
    {
        next = _contentEnd(start, end, length);
        // The top bit of every byte, in words; the last word's bytes behind the text are shifted out.
        unchecked {
            uint256 highBits = 0;
            for (uint256 pos = start; pos < next; pos += 32) {
                uint256 word = wordAt(data, pos);
                if (next - pos < 32) word = word >> (256 - 8 * (next - pos));
                highBits |= word;
            }
            uint256 mask = 0x8080808080808080808080808080808080808080808080808080808080808080;
            check(highBits & mask == 0, EvidenceCode.CBOR_TEXT);
        }
    }
}

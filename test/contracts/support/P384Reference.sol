// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {P384} from "../../../contracts/attestation/p384/P384.sol";
import {Sha384Call} from "../../../contracts/attestation/sha384/Sha384Call.sol";
import {Sha384Reference} from "../../../contracts/attestation/sha384/Sha384Reference.sol";

/// @title P384Reference
/// ECDSA on P-384 the slow and plain way: no hints, Jacobian double-and-add, every product reduced by MODEXP. Shares no code, no formula and
/// no number format with contracts/attestation/p384, of which it is the differential oracle.
contract P384Reference {
    /// hi·2^256 + lo.
    struct Wide {
        uint256 hi;
        uint256 lo;
    }

    /// Jacobian: x = X/Z², y = Y/Z³; Z = 0 is the point at infinity.
    struct Point {
        Wide x;
        Wide y;
        Wide z;
    }

    uint256 private constant P_HI = 0xffffffffffffffffffffffffffffffff;
    uint256 private constant P_LO = 0xfffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff;
    uint256 private constant N_HI = 0xffffffffffffffffffffffffffffffff;
    uint256 private constant N_LO = 0xffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973;
    uint256 private constant B_HI = 0xb3312fa7e23ee7e4988e056be3f82d19;
    uint256 private constant B_LO = 0x181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef;
    uint256 private constant GX_HI = 0xaa87ca22be8b05378eb1c71ef320ad74;
    uint256 private constant GX_LO = 0x6e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7;
    uint256 private constant GY_HI = 0x3617de4a96262c6f5d9e98bf9292dc29;
    uint256 private constant GY_LO = 0xf8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f;

    /// FIPS 186-5 section 6.4.2 on the first 240 bytes of the verifier's calldata: hash, r, s, x, y.
    function verify(bytes calldata input) external view returns (bool) {
        Wide memory r = _read(input, 48);
        Wide memory s = _read(input, 96);
        Point memory q = Point(_read(input, 144), _read(input, 192), Wide(0, 1));
        if (_isZero(r) || _isZero(s) || !_isLess(r, _n()) || !_isLess(s, _n())) return false;
        if (!_isLess(q.x, _p()) || !_isLess(q.y, _p()) || !_isOnCurve(q)) return false;
        Wide memory inverse = _power(s, Wide(N_HI, N_LO - 2), _n());
        Point memory sum =
            _shamir(_mul(_read(input, 0), inverse, _n()), _mul(r, inverse, _n()), q);
        if (_isZero(sum.z)) return false;
        // x_R = X/Z² is r or r + n, compared without a division.
        Wide memory zz = _mul(sum.z, sum.z, _p());
        if (_isEqual(_mul(r, zz, _p()), sum.x)) return true;
        if (!_isLess(r, _subtract(_p(), _n()))) return false;
        return _isEqual(_mul(_add(r, _n(), _p()), zz, _p()), sum.x);
    }

    /// u1·G + u2·Q, one bit of both scalars at a time.
    function _shamir(Wide memory u1, Wide memory u2, Point memory q) private view returns (Point memory sum) {
        Point memory g = Point(Wide(GX_HI, GX_LO), Wide(GY_HI, GY_LO), Wide(0, 1));
        Point memory both = _sum(g, q);
        sum = Point(Wide(0, 0), Wide(0, 0), Wide(0, 0));
        uint256 mark = _freeMemory();
        for (uint256 i = 384; i > 0; i--) {
            Point memory next = _double(sum);
            bool isG = _bit(u1, i - 1);
            bool isQ = _bit(u2, i - 1);
            if (isG && isQ) next = _sum(next, both);
            else if (isG) next = _sum(next, g);
            else if (isQ) next = _sum(next, q);
            (sum.x.hi, sum.x.lo) = (next.x.hi, next.x.lo);
            (sum.y.hi, sum.y.lo) = (next.y.hi, next.y.lo);
            (sum.z.hi, sum.z.lo) = (next.z.hi, next.z.lo);
            // Everything made since the mark is dead: `sum` was there before.
            _release(mark);
        }
    }

    function _freeMemory() private pure returns (uint256 mark) {
        assembly ("memory-safe") {
            mark := mload(0x40)
        }
    }

    /// The caller uses nothing allocated after `mark` any more.
    function _release(uint256 mark) private pure {
        assembly ("memory-safe") {
            mstore(0x40, mark)
        }
    }

    /// https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian.html, doubling "dbl-1998-cmo-2" with a = −3.
    function _double(Point memory a) private view returns (Point memory c) {
        if (_isZero(a.z)) return a;
        Wide memory yy = _times(a.y, a.y);
        Wide memory zz = _times(a.z, a.z);
        Wide memory t = _times(a.x, yy);
        Wide memory s = _double4(t);
        Wide memory m = _times(_minus(a.x, zz), _plus(a.x, zz));
        m = _plus(m, _plus(m, m));
        c.x = _minus(_times(m, m), _plus(s, s));
        Wide memory yyyy = _times(yy, yy);
        yyyy = _double4(yyyy);
        c.y = _minus(_times(m, _minus(s, c.x)), _plus(yyyy, yyyy));
        c.z = _times(_plus(a.y, a.y), a.z);
    }

    /// The same page, addition "add-1998-cmo-2", with the exceptional cases.
    function _sum(Point memory a, Point memory b) private view returns (Point memory c) {
        if (_isZero(a.z)) return b;
        if (_isZero(b.z)) return a;
        Wide memory za = _times(a.z, a.z);
        Wide memory zb = _times(b.z, b.z);
        Wide memory u = _times(a.x, zb);
        Wide memory s = _times(a.y, _times(b.z, zb));
        Wide memory h = _minus(_times(b.x, za), u);
        Wide memory r = _minus(_times(b.y, _times(a.z, za)), s);
        if (_isZero(h)) return _isZero(r) ? _double(a) : c;
        Wide memory hh = _times(h, h);
        Wide memory hhh = _times(h, hh);
        Wide memory v = _times(u, hh);
        c.x = _minus(_minus(_times(r, r), hhh), _plus(v, v));
        c.y = _minus(_times(r, _minus(v, c.x)), _times(s, hhh));
        c.z = _times(_times(a.z, b.z), h);
    }

    function _isOnCurve(Point memory q) private view returns (bool) {
        Wide memory cube = _times(q.x, _times(q.x, q.x));
        Wide memory triple = _plus(q.x, _plus(q.x, q.x));
        return _isEqual(_times(q.y, q.y), _plus(_minus(cube, triple), Wide(B_HI, B_LO)));
    }

    function _times(Wide memory a, Wide memory b) private view returns (Wide memory) {
        return _mul(a, b, _p());
    }

    function _plus(Wide memory a, Wide memory b) private pure returns (Wide memory) {
        return _add(a, b, _p());
    }

    function _minus(Wide memory a, Wide memory b) private pure returns (Wide memory) {
        return _isLess(a, b) ? _subtract(_rawAdd(a, _p()), b) : _subtract(a, b);
    }

    function _double4(Wide memory a) private pure returns (Wide memory) {
        Wide memory twice = _plus(a, a);
        return _plus(twice, twice);
    }

    /// a·b mod m by schoolbook multiplication on limbs of 128 bits and MODEXP with exponent 1.
    function _mul(Wide memory a, Wide memory b, Wide memory m) private view returns (Wide memory) {
        uint256 mask = type(uint128).max;
        uint256[3] memory x = [a.lo & mask, a.lo >> 128, a.hi];
        uint256[3] memory y = [b.lo & mask, b.lo >> 128, b.hi];
        uint256[6] memory limbs;
        unchecked {
            // limb + x·y + carry ≤ (2^128−1) + (2^128−1)² + (2^128−1) < 2^256.
            for (uint256 i = 0; i < 3; i++) {
                uint256 carry = 0;
                for (uint256 j = 0; j < 3; j++) {
                    uint256 sum = limbs[i + j] + x[i] * y[j] + carry;
                    limbs[i + j] = sum & mask;
                    carry = sum >> 128;
                }
                limbs[i + 3] = carry;
            }
        }
        return _modexp(
            abi.encodePacked(
                uint256(96),
                uint256(1),
                uint256(48),
                (limbs[5] << 128) | limbs[4],
                (limbs[3] << 128) | limbs[2],
                (limbs[1] << 128) | limbs[0],
                uint8(1),
                uint128(m.hi),
                m.lo
            )
        );
    }

    function _power(Wide memory a, Wide memory exponent, Wide memory m) private view returns (Wide memory) {
        return _modexp(
            abi.encodePacked(
                uint256(48),
                uint256(48),
                uint256(48),
                uint128(a.hi),
                a.lo,
                uint128(exponent.hi),
                exponent.lo,
                uint128(m.hi),
                m.lo
            )
        );
    }

    function _modexp(bytes memory input) private view returns (Wide memory) {
        (bool isSuccess, bytes memory output) = address(5).staticcall(input);
        assert(isSuccess && output.length == 48);
        uint256 hi;
        uint256 lo;
        assembly ("memory-safe") {
            hi := shr(128, mload(add(output, 32)))
            lo := mload(add(output, 48))
        }
        return Wide(hi, lo);
    }

    function _add(Wide memory a, Wide memory b, Wide memory m) private pure returns (Wide memory) {
        Wide memory sum = _rawAdd(a, b);
        return _isLess(sum, m) ? sum : _subtract(sum, m);
    }

    /// Both below 2^384, so the high word cannot overflow.
    function _rawAdd(Wide memory a, Wide memory b) private pure returns (Wide memory) {
        unchecked {
            uint256 lo = a.lo + b.lo;
            return Wide(a.hi + b.hi + (lo < a.lo ? 1 : 0), lo);
        }
    }

    /// a ≥ b.
    function _subtract(Wide memory a, Wide memory b) private pure returns (Wide memory) {
        unchecked {
            return Wide(a.hi - b.hi - (a.lo < b.lo ? 1 : 0), a.lo - b.lo);
        }
    }

    function _read(bytes calldata input, uint256 offset) private pure returns (Wide memory) {
        return Wide(uint128(bytes16(input[offset:offset + 16])), uint256(bytes32(input[offset + 16:offset + 48])));
    }

    function _bit(Wide memory a, uint256 index) private pure returns (bool) {
        return (index < 256 ? a.lo >> index : a.hi >> (index - 256)) & 1 == 1;
    }

    function _isZero(Wide memory a) private pure returns (bool) {
        return a.hi == 0 && a.lo == 0;
    }

    function _isLess(Wide memory a, Wide memory b) private pure returns (bool) {
        return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
    }

    function _isEqual(Wide memory a, Wide memory b) private pure returns (bool) {
        return a.hi == b.hi && a.lo == b.lo;
    }

    function _p() private pure returns (Wide memory) {
        return Wide(P_HI, P_LO);
    }

    function _n() private pure returns (Wide memory) {
        return Wide(N_HI, N_LO);
    }
}

/// @title CryptographyCaller
/// The two libraries as a contract sees them.
contract CryptographyCaller {
    function accepts(address verifier, bytes calldata input) external view returns (bool) {
        return P384.accepts(verifier, input);
    }

    function digestOf(address sha384, bytes calldata message) external view returns (bytes memory) {
        return Sha384Call.digestOf(sha384, message);
    }

    function referenceDigestOf(bytes calldata message) external pure returns (bytes memory) {
        return Sha384Reference.digestOf(message);
    }
}

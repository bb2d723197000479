// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title PlainBls
/// BLS12-381 as RFC 9380 and EIP-2537 say it, by abi.encodePacked: what the optimised version is compared with, and what makes signatures in
/// tests.
library PlainBls {
    bytes private constant DST = "SEALPATH-CREDIT-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_";
    bytes private constant P =
        hex"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    bytes internal constant G1 =
        hex"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1";
    bytes private constant G2 =
        hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb80000000000000000000000000000000013e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e000000000000000000000000000000000ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801000000000000000000000000000000000606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be";
    /// Order of the groups.
    uint256 internal constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    /// hash_to_curve, RFC 9380 section 3.
    function hashToG1(bytes32 message) internal view returns (bytes memory) {
        bytes memory uniform = _expand(message);
        bytes memory first = _call(0x10, _reduced(_part(uniform, 0)));
        bytes memory second = _call(0x10, _reduced(_part(uniform, 64)));
        return add(first, second);
    }

    function add(bytes memory a, bytes memory b) internal view returns (bytes memory) {
        return _call(0x0b, bytes.concat(a, b));
    }

    function multiply(bytes memory point, uint256 factor) internal view returns (bytes memory) {
        return _call(0x0c, bytes.concat(point, bytes32(factor)));
    }

    /// The public key of a secret one.
    function publicKey(uint256 secretKey) internal view returns (bytes memory) {
        return _call(0x0e, bytes.concat(G2, bytes32(secretKey)));
    }

    /// The inverse of a factor: blinding taken off.
    function inverse(uint256 factor) internal view returns (uint256) {
        bytes memory answer = _call(
            0x05,
            abi.encode(uint256(32), uint256(32), uint256(32), factor, ORDER - 2, ORDER)
        );
        return uint256(bytes32(answer));
    }

    /// expand_message_xmd, RFC 9380 section 5.3.1, to 128 bytes.
    function _expand(bytes32 message) private pure returns (bytes memory) {
        bytes memory dst = bytes.concat(DST, bytes1(uint8(DST.length)));
        bytes32 b0 = sha256(bytes.concat(new bytes(64), message, hex"008000", dst));
        bytes32 b1 = sha256(bytes.concat(b0, hex"01", dst));
        bytes32 b2 = sha256(bytes.concat(b0 ^ b1, hex"02", dst));
        bytes32 b3 = sha256(bytes.concat(b0 ^ b2, hex"03", dst));
        bytes32 b4 = sha256(bytes.concat(b0 ^ b3, hex"04", dst));
        return bytes.concat(b1, b2, b3, b4);
    }

    function _part(bytes memory uniform, uint256 offset) private pure returns (bytes memory part) {
        part = new bytes(64);
        for (uint256 i = 0; i < 64; i++) {
            part[i] = uniform[offset + i];
        }
    }

    /// 64 bytes modulo p, as a field element of EIP-2537.
    function _reduced(bytes memory value) private view returns (bytes memory) {
        bytes memory input = bytes.concat(bytes32(uint256(64)), bytes32(uint256(1)), bytes32(uint256(48)), value);
        return bytes.concat(bytes16(0), _call(0x05, bytes.concat(input, hex"01", P)));
    }

    function _call(uint160 precompile, bytes memory input) private view returns (bytes memory) {
        (bool isFine, bytes memory answer) = address(precompile).staticcall(input);
        require(isFine, "a precompile refused");
        return answer;
    }
}

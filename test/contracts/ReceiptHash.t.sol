// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {ReceiptHash} from "../../contracts/libraries/ReceiptHash.sol";
import {Captured, HeadKind, PublicReceipt, SignedClearing, SignedHead} from "../../contracts/types/Receipt.sol";
import {
    ClaimSource,
    EnclaveId,
    KeysetId,
    LeafHash,
    LogRoot,
    Outcome,
    Units
} from "../../contracts/types/Types.sol";
import {Check} from "./utils/Check.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {vm} from "./utils/Vm.sol";

/// The optimised hashes against plain ones.
contract ReceiptHashTest is Check {
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    function publicHash(PublicReceipt calldata receipt) external pure returns (bytes32) {
        return ReceiptHash.publicHash(receipt);
    }

    function leaf(PublicReceipt calldata receipt, bytes32 privateHash) external pure returns (LeafHash) {
        return ReceiptHash.leaf(receipt, privateHash);
    }

    function headHash(SignedHead calldata head) external pure returns (bytes32) {
        return ReceiptHash.headHash(head);
    }

    function signerOf(SignedHead calldata head, bytes32 domain) external pure returns (address) {
        return ReceiptHash.signerOf(head, domain);
    }

    function clearingHash(SignedClearing calldata clearing) external pure returns (bytes32) {
        return ReceiptHash.clearingHash(clearing);
    }

    function _word(uint256 seed, uint256 i) private pure returns (bytes32) {
        return keccak256(abi.encode(seed, i));
    }

    function _receipt(uint256 seed) private pure returns (PublicReceipt memory) {
        return PublicReceipt({
            version: uint16(uint256(_word(seed, 0))),
            enclave: EnclaveId.wrap(address(uint160(uint256(_word(seed, 1))))),
            model: _word(seed, 2),
            source: ClaimSource(uint256(_word(seed, 3)) % 4),
            origin: _word(seed, 4),
            request: _word(seed, 5),
            output: _word(seed, 6),
            nonce: _word(seed, 7),
            outcome: Outcome(uint256(_word(seed, 8)) % 6)
        });
    }

    function _head(uint256 seed) private pure returns (SignedHead memory) {
        return SignedHead({
            enclave: EnclaveId.wrap(address(uint160(uint256(_word(seed, 1))))),
            kind: HeadKind(seed % 2),
            size: uint64(uint256(_word(seed, 2))),
            root: LogRoot.wrap(_word(seed, 3)),
            fees: Units.wrap(uint64(uint256(_word(seed, 4)))),
            r: _word(seed, 5),
            vs: _word(seed, 6)
        });
    }

    function testFuzz_publicHash_EqualsThePlainOne(uint256 seed) public view {
        PublicReceipt memory receipt = _receipt(seed);
        assertEq(this.publicHash(receipt), PlainHash.publicHash(receipt), "public hash");
    }

    function testFuzz_leaf_EqualsThePlainOne(uint256 seed, bytes32 privateHash) public view {
        PublicReceipt memory receipt = _receipt(seed);
        assertEq(
            LeafHash.unwrap(this.leaf(receipt, privateHash)), PlainHash.leaf(receipt, privateHash), "leaf"
        );
    }

    function testFuzz_headHash_EqualsThePlainOne(uint256 seed) public view {
        SignedHead memory head = _head(seed);
        assertEq(this.headHash(head), PlainHash.headHash(head), "head hash");
    }

    function test_headHash_OfALogHeadLeavesFeesOut() public view {
        SignedHead memory head = _head(2);
        bytes32 before = this.headHash(head);
        head.fees = Units.wrap(Units.unwrap(head.fees) ^ 1);
        assertEq(this.headHash(head), before, "unsigned");
        head.kind = HeadKind.Earnings;
        assertTrue(this.headHash(head) != before, "another type");
    }

    function testFuzz_clearingHash_EqualsThePlainOne(uint256 seed, uint8 lines) public view {
        SignedClearing memory clearing = SignedClearing({
            keyset: KeysetId.wrap(_word(seed, 0)),
            issued: Units.wrap(uint64(uint256(_word(seed, 1)))),
            captured: Units.wrap(uint64(uint256(_word(seed, 2)))),
            enclaves: new Captured[](lines % 20),
            r: 0,
            vs: 0
        });
        for (uint256 i = 0; i < clearing.enclaves.length; i++) {
            clearing.enclaves[i] = Captured(
                EnclaveId.wrap(address(uint160(uint256(_word(seed, 10 + i))))),
                Units.wrap(uint64(uint256(_word(seed, 40 + i))))
            );
        }
        assertEq(this.clearingHash(clearing), PlainHash.clearingHash(clearing), "clearing hash");
    }

    function testFuzz_commitment_EqualsThePlainOne(uint8 tag, bytes32 salt, bytes calldata data) public pure {
        bytes32 plain = keccak256(bytes.concat(bytes1(tag), salt, bytes8(uint64(data.length)), data));
        assertEq(ReceiptHash.commitment(tag, salt, data), plain, "commitment");
    }

    function testFuzz_batchLeaf_EqualsThePlainOne(address enclave, uint64 size, bytes32 root) public pure {
        bytes32 plain = keccak256(bytes.concat(hex"02", bytes20(enclave), bytes8(size), root));
        assertEq(
            ReceiptHash.batchLeaf(EnclaveId.wrap(enclave), size, LogRoot.wrap(root)), plain, "batch leaf"
        );
    }

    function testFuzz_recover_FindsTheSigner(uint256 key, bytes32 digest) public pure {
        key = bound(key, 1, ORDER - 1);
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        assertEq(ReceiptHash.recover(digest, r, vs), vm.addr(key), "signer");
    }

    function testFuzz_recover_AgreesWithECDSA(bytes32 digest, bytes32 r, bytes32 vs) public pure {
        (address expected, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, r, vs);
        // A high s is refused there and harmless here.
        if (problem != ECDSA.RecoverError.InvalidSignatureS) {
            assertEq(ReceiptHash.recover(digest, r, vs), expected, "signer");
        }
    }

    function testFuzz_signerOf_ChangesWithEachBit(uint256 key, uint256 seed, uint256 field, uint256 bit) public view {
        key = bound(key, 1, ORDER - 1);
        SignedHead memory head = _head(seed | 1);
        head.enclave = EnclaveId.wrap(vm.addr(key));
        bytes32 domain = _word(seed, 9);
        (head.r, head.vs) = vm.signCompact(key, PlainHash.digest(domain, PlainHash.headHash(head)));
        assertEq(this.signerOf(head, domain), vm.addr(key), "signed");
        field = bound(field, 0, 6);
        bytes32 mask = bytes32(uint256(1) << (bit % 256));
        if (field == 0) head.enclave = EnclaveId.wrap(address(uint160(vm.addr(key)) ^ uint160(1 << (bit % 160))));
        if (field == 1) head.size ^= uint64(1 << (bit % 64));
        if (field == 2) head.root = LogRoot.wrap(LogRoot.unwrap(head.root) ^ mask);
        if (field == 3) head.fees = Units.wrap(Units.unwrap(head.fees) ^ uint64(1 << (bit % 64)));
        if (field == 4) head.r ^= mask;
        if (field == 5) head.vs ^= mask;
        if (field == 6) domain ^= mask;
        assertTrue(this.signerOf(head, domain) != vm.addr(key), "no longer");
    }
}

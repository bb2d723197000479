// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Captured, HeadKind, PublicReceipt, SignedClearing, SignedHead} from "../../../contracts/types/Receipt.sol";

/// @title PlainHash
/// The hashes of ReceiptHash by abi.encode and text of their own: what the optimised versions are compared with.
library PlainHash {
    function publicHash(PublicReceipt memory receipt) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "PublicReceipt(uint16 version,address enclave,bytes32 model,uint8 source,bytes32 origin,bytes32 request,bytes32 output,bytes32 nonce,uint8 outcome)"
        );
        return keccak256(abi.encode(typeHash, receipt));
    }

    function leaf(PublicReceipt memory receipt, bytes32 privateHash) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"00", publicHash(receipt), privateHash));
    }

    function headHash(SignedHead memory head) internal pure returns (bytes32) {
        if (head.kind == HeadKind.Log) {
            bytes32 logType = keccak256("LogHead(address enclave,uint64 size,bytes32 root)");
            return keccak256(abi.encode(logType, head.enclave, head.size, head.root));
        }
        bytes32 earningsType = keccak256("EarningsHead(address enclave,uint64 size,bytes32 root,uint64 fees)");
        return keccak256(abi.encode(earningsType, head.enclave, head.size, head.root, head.fees));
    }

    function clearingHash(SignedClearing memory clearing) internal pure returns (bytes32) {
        bytes32 lineType = keccak256("Captured(address enclave,uint64 captured)");
        bytes memory lines;
        for (uint256 i = 0; i < clearing.enclaves.length; i++) {
            Captured memory line = clearing.enclaves[i];
            lines = bytes.concat(lines, keccak256(abi.encode(lineType, line.enclave, line.captured)));
        }
        bytes32 clearingType = keccak256(
            "Clearing(bytes32 keyset,uint64 issued,uint64 captured,Captured[] enclaves)Captured(address enclave,uint64 captured)"
        );
        return keccak256(
            abi.encode(clearingType, clearing.keyset, clearing.issued, clearing.captured, keccak256(lines))
        );
    }

    function domain(string memory name, uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        bytes32 domainType =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        return keccak256(
            abi.encode(domainType, keccak256(bytes(name)), keccak256("1"), chainId, verifyingContract)
        );
    }

    function digest(bytes32 domainSeparator, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"1901", domainSeparator, structHash));
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {MerkleLog} from "../../contracts/libraries/MerkleLog.sol";
import {ReceiptHash} from "../../contracts/libraries/ReceiptHash.sol";
import {Captured, HeadKind, PublicReceipt, SignedClearing, SignedHead} from "../../contracts/types/Receipt.sol";
import {
    ClaimSource,
    EnclaveId,
    EnclaveRole,
    KeysetId,
    LeafHash,
    LogRoot,
    Outcome,
    Units
} from "../../contracts/types/Types.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

/// The vectors that TypeScript and ethers read too (test/vectors.test.ts), by the libraries and the deployed contracts.
contract VectorsTest is Stage {
    string private json;

    function _read(string memory name) private {
        json = vm.readFile(string.concat(vm.projectRoot(), "/test/vectors/", name));
    }

    /// `.list[i]`
    function _at(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(i), "]");
    }

    function _has(string memory key) private view returns (bool) {
        return vm.keyExistsJson(json, key);
    }

    function _uint(string memory item, string memory field) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(item, field));
    }

    function _bytes32(string memory item, string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(item, field));
    }

    function _address(string memory item, string memory field) private view returns (address) {
        return vm.parseJsonAddress(json, string.concat(item, field));
    }

    function _path(string memory item) private view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, string.concat(item, ".path"));
    }

    // The libraries behind calls: they take their arguments from calldata.

    function fromPath(bytes32 node, uint64 index, uint64 lastIndex, bytes32[] calldata path)
        external
        pure
        returns (bool ok, bytes32 root)
    {
        return MerkleLog.rootFromPath(MerkleLog.LOG_NODE_TAG, node, index, lastIndex, path);
    }

    function publicHash(PublicReceipt calldata receipt) external pure returns (bytes32) {
        return ReceiptHash.publicHash(receipt);
    }

    function leaf(PublicReceipt calldata receipt, bytes32 privateHash) external pure returns (LeafHash) {
        return ReceiptHash.leaf(receipt, privateHash);
    }

    function clearingHash(SignedClearing calldata clearing) external pure returns (bytes32) {
        return ReceiptHash.clearingHash(clearing);
    }

    // log.json

    function test_log_RootsAndPathsAreOurs() public {
        _read("log.json");
        bytes32[] memory leaves = vm.parseJsonBytes32Array(json, ".leaves");
        uint256 count = 0;
        for (; _has(_at(".trees", count)); count++) {
            this.checkTree(_at(".trees", count), leaves);
        }
        assertEq(count, 16, "trees read");
    }

    function checkTree(string calldata tree, bytes32[] calldata leaves) external view {
        uint256 size = _uint(tree, ".size");
        bytes32 root = _bytes32(tree, ".logRoot");
        bytes32[] memory row = leaves;
        assertEq(MerkleLog.rootOf(MerkleLog.LOG_NODE_TAG, row, size), root, "log root");
        row = leaves;
        assertEq(MerkleLog.rootOf(MerkleLog.BATCH_NODE_TAG, row, size), _bytes32(tree, ".batchRoot"), "batch root");
        string memory list = string.concat(tree, ".inclusions");
        for (uint256 i = 0; _has(_at(list, i)); i++) {
            uint64 index = uint64(_uint(_at(list, i), ".index"));
            (bool ok, bytes32 led) = this.fromPath(leaves[index], index, uint64(size - 1), _path(_at(list, i)));
            assertTrue(ok && led == root, "inclusion");
        }
        list = string.concat(tree, ".subtrees");
        for (uint256 i = 0; _has(_at(list, i)); i++) {
            string memory item = _at(list, i);
            uint64 last = uint64((size - 1) >> _uint(item, ".level"));
            (bool ok, bytes32 led) =
                this.fromPath(_bytes32(item, ".node"), uint64(_uint(item, ".index")), last, _path(item));
            assertTrue(ok && led == root, "subtree");
        }
    }

    // receipt.json

    function test_receipt_HashesAndLeavesAreOurs() public {
        _read("receipt.json");
        uint256 count = 0;
        for (; _has(_at(".receipts", count)); count++) {
            string memory item = _at(".receipts", count);
            PublicReceipt memory receipt = _receipt(string.concat(item, ".public"));
            assertEq(this.publicHash(receipt), _bytes32(item, ".publicHash"), "public hash");
            assertEq(
                LeafHash.unwrap(this.leaf(receipt, _bytes32(item, ".privateHash"))), _bytes32(item, ".leaf"), "leaf"
            );
        }
        assertEq(count, 5, "receipts read");
    }

    function _receipt(string memory item) private view returns (PublicReceipt memory) {
        return PublicReceipt({
            version: uint16(_uint(item, ".version")),
            enclave: EnclaveId.wrap(_address(item, ".enclave")),
            model: _bytes32(item, ".model"),
            source: ClaimSource(_uint(item, ".source")),
            origin: _bytes32(item, ".origin"),
            request: _bytes32(item, ".request"),
            output: _bytes32(item, ".output"),
            nonce: _bytes32(item, ".nonce"),
            outcome: Outcome(_uint(item, ".outcome"))
        });
    }

    function test_receipt_CommitmentsAreOurs() public {
        _read("receipt.json");
        uint256 count = 0;
        for (; _has(_at(".commitments", count)); count++) {
            string memory item = _at(".commitments", count);
            bytes memory data = vm.parseJsonBytes(json, string.concat(item, ".data"));
            bytes32 commitment = ReceiptHash.commitment(uint8(_uint(item, ".tag")), _bytes32(item, ".salt"), data);
            assertEq(commitment, _bytes32(item, ".commitment"), "commitment");
        }
        assertEq(count, 15, "commitments read");
        assertEq(_uint(".commitments[0]", ".tag"), ReceiptHash.REQUEST_TAG, "request tag");
        assertEq(_uint(".commitments[3]", ".tag"), ReceiptHash.OUTPUT_TAG, "output tag");
        assertEq(_uint(".commitments[6]", ".tag"), ReceiptHash.NONCE_TAG, "nonce tag");
    }

    /// The deployed code at the address of the vectors, so that domain and digest are the contract's own.
    function _settlementOfVectors() private returns (IReceiptSettlement) {
        vm.chainId(_uint(".domain", ".chainId"));
        address home = _address(".domain", ".settlement");
        vm.etch(home, address(settlement).code);
        return IReceiptSettlement(home);
    }

    function test_receipt_HeadsAreSignedAsTheSettlementContractReadsThem() public {
        _read("receipt.json");
        IReceiptSettlement home = _settlementOfVectors();
        uint256 count = 0;
        for (; _has(_at(".heads", count)); count++) {
            string memory item = _at(".heads", count);
            SignedHead memory head = _headAt(item);
            bytes32 digest = home.headDigest(head);
            assertEq(digest, _bytes32(item, ".digest"), "digest");
            assertEq(ReceiptHash.recover(digest, head.r, head.vs), EnclaveId.unwrap(head.enclave), "signer");
            (bytes32 r, bytes32 vs) = vm.signCompact(uint256(_bytes32(item, ".privateKey")), digest);
            assertEq(head.r, r, "r, deterministic (RFC 6979)");
            assertEq(head.vs, vs, "vs");
            assertEq(
                ReceiptHash.batchLeaf(head.enclave, head.size, head.root), _bytes32(item, ".batchLeaf"), "batch leaf"
            );
        }
        assertEq(count, 8, "heads read");
    }

    function _headAt(string memory item) private view returns (SignedHead memory) {
        bool isLog = keccak256(bytes(vm.parseJsonString(json, string.concat(item, ".kind")))) == keccak256("log");
        return SignedHead({
            enclave: EnclaveId.wrap(_address(item, ".enclave")),
            kind: isLog ? HeadKind.Log : HeadKind.Earnings,
            size: uint64(_uint(item, ".size")),
            root: LogRoot.wrap(_bytes32(item, ".root")),
            fees: Units.wrap(uint64(_uint(item, ".fees"))),
            r: _bytes32(item, ".r"),
            vs: _bytes32(item, ".vs")
        });
    }

    function test_receipt_ClearingsAreSignedAsTheLibraryReadsThem() public {
        _read("receipt.json");
        bytes32 domain =
            PlainHash.domain("Sealpath", _uint(".domain", ".chainId"), _address(".domain", ".settlement"));
        uint256 count = 0;
        for (; _has(_at(".clearings", count)); count++) {
            string memory item = _at(".clearings", count);
            SignedClearing memory clearing = _clearingAt(item);
            bytes32 digest = PlainHash.digest(domain, this.clearingHash(clearing));
            assertEq(digest, _bytes32(item, ".digest"), "digest");
            assertEq(ReceiptHash.recover(digest, clearing.r, clearing.vs), _address(item, ".issuer"), "signer");
        }
        assertEq(count, 3, "clearings read");
    }

    function _clearingAt(string memory item) private view returns (SignedClearing memory clearing) {
        string memory list = string.concat(item, ".enclaves");
        uint256 lines = 0;
        while (_has(_at(list, lines))) lines++;
        clearing = SignedClearing({
            keyset: KeysetId.wrap(_bytes32(item, ".keyset")),
            issued: Units.wrap(uint64(_uint(item, ".issued"))),
            captured: Units.wrap(uint64(_uint(item, ".captured"))),
            enclaves: new Captured[](lines),
            r: _bytes32(item, ".r"),
            vs: _bytes32(item, ".vs")
        });
        for (uint256 i = 0; i < lines; i++) {
            clearing.enclaves[i] = Captured(
                EnclaveId.wrap(_address(_at(list, i), ".enclave")),
                Units.wrap(uint64(_uint(_at(list, i), ".captured")))
            );
        }
    }

    // statement.json

    function test_statement_DigestsAreTheRegistrysOwn() public {
        _read("statement.json");
        vm.chainId(_uint(".domain", ".chainId"));
        address home = _address(".domain", ".registry");
        vm.etch(home, address(registry).code);
        uint256 count = 0;
        for (; _has(_at(".statements", count)); count++) {
            string memory item = _at(".statements", count);
            IEnclaveRegistry.EnclaveStatement memory statement = IEnclaveRegistry.EnclaveStatement({
                role: EnclaveRole(_uint(item, ".role")),
                enclave: EnclaveId.wrap(_address(item, ".enclave")),
                keyConfigs: _bytes32(item, ".keyConfigs"),
                operator: _address(item, ".operator")
            });
            bytes32 digest = IEnclaveRegistry(home).statementDigest(statement);
            assertEq(digest, _bytes32(item, ".digest"), "digest");
            bytes memory possession = vm.parseJsonBytes(json, string.concat(item, ".possession"));
            assertEq(possession, _signature(uint256(_bytes32(item, ".privateKey")), digest), "possession");
        }
        assertEq(count, 2, "statements read");
    }
}

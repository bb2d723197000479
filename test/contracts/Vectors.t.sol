// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BlindSignatures} from "../../contracts/credits/BlindSignatures.sol";
import {CreditHash} from "../../contracts/credits/CreditHash.sol";
import {ICreditExits} from "../../contracts/interfaces/ICreditExits.sol";
import {ICreditKeysets} from "../../contracts/interfaces/ICreditKeysets.sol";
import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {MerkleLog} from "../../contracts/libraries/MerkleLog.sol";
import {ReceiptHash} from "../../contracts/libraries/ReceiptHash.sol";
import {Captured, HeadKind, PublicReceipt, SignedClearing, SignedHead} from "../../contracts/types/Receipt.sol";
import {
    ClaimSource,
    CreditId,
    EnclaveId,
    EnclaveRole,
    KeysetId,
    LeafHash,
    LogRoot,
    Outcome,
    Units
} from "../../contracts/types/Types.sol";
import {DeployedVault} from "./utils/Deployed.sol";
import {PlainBls} from "./utils/PlainBls.sol";
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

    // credits.json

    function _bytes(string memory item, string memory field) private view returns (bytes memory) {
        return vm.parseJsonBytes(json, string.concat(item, field));
    }

    /// The vault of the vectors: the deployed code at its address, with the keyset of the vectors open.
    function _vaultOfVectors() private returns (DeployedVault home) {
        vm.chainId(_uint(".keyset", ".chainId"));
        home = DeployedVault(_address(".keyset", ".vault"));
        vm.etch(address(home), address(vault).code);
        // Whoever owned it where it was deployed: an etched contract has no storage.
        vm.prank(home.owner());
        home.openKeyset(_keysOfVectors(), _timesOfVectors(), EnclaveId.wrap(STRANGER));
    }

    function _keysOfVectors() private view returns (bytes memory keys) {
        for (uint256 i = 0; i < 24; i++) {
            keys = bytes.concat(keys, _bytes(_at(".keyset.keys", i), ".eip2537"));
        }
    }

    function _timesOfVectors() private view returns (ICreditKeysets.KeysetTimes memory) {
        return ICreditKeysets.KeysetTimes({
            signUntil: uint40(_uint(".keyset", ".signUntil")),
            spendUntil: uint40(_uint(".keyset", ".spendUntil")),
            exitUntil: uint40(_uint(".keyset", ".exitUntil"))
        });
    }

    function test_credits_KeysetsAreNamedAsTheVaultNamesThem() public {
        _read("credits.json");
        DeployedVault home = _vaultOfVectors();
        KeysetId keyset = KeysetId.wrap(_bytes32(".keyset", ".id"));
        assertEq(home.keysetOf(keyset).number, 1, "known by the id of the vectors");
        for (uint256 i = 0; i < 24; i++) {
            assertEq(home.keyHashOf(keyset, i), _bytes32(_at(".keyset.keys", i), ".hash"), "hash of a key");
            uint256 secretKey = uint256(_bytes32(_at(".keyset.keys", i), ".secretKey"));
            assertEq(PlainBls.publicKey(secretKey), _bytes(_at(".keyset.keys", i), ".eip2537"), "public key");
        }
    }

    function test_credits_MessagesPointsAndSignaturesAreOurs() public {
        _read("credits.json");
        DeployedVault home = _vaultOfVectors();
        KeysetId keyset = KeysetId.wrap(_bytes32(".keyset", ".id"));
        uint256 count = 0;
        for (; _has(_at(".outputs", count)); count++) {
            string memory item = _at(".outputs", count);
            bytes32 message = CreditId.unwrap(
                home.creditId(keyset, _address(item, ".exitKey"), _bytes32(item, ".secretHash"))
            );
            assertEq(message, _bytes32(item, ".message"), "message");
            assertEq(_bytes32(item, ".secretHash"), keccak256(_bytes(item, ".secret")), "hash of t");
            bytes memory point = new bytes(128);
            uint256 target;
            assembly ("memory-safe") {
                target := add(point, 0x20)
            }
            CreditHash.writePoint(message, target);
            assertEq(point, _bytes(item, ".point.eip2537"), "point");
            uint256 blinding = uint256(_bytes32(item, ".blinding"));
            assertEq(PlainBls.multiply(point, blinding), _bytes(item, ".blinded.eip2537"), "blinded");
        }
        assertEq(count, 6, "outputs read");
    }

    /// The wallet's own credits leave the vault: what TypeScript derived, blinded and unblinded is what the contract pays.
    function test_credits_LeaveTheVaultOneByOne() public {
        _read("credits.json");
        DeployedVault home = _vaultOfVectors();
        vm.warp(_uint(".keyset", ".signUntil"));
        for (uint256 i = 0; _has(_at(".outputs", i)); i++) {
            string memory item = _at(".outputs", i);
            _exitVector(home, item);
            CreditId credit = CreditId.wrap(_bytes32(item, ".message"));
            assertEq(uint256(home.exitOf(credit).state), uint256(ICreditExits.ExitState.Open), "open");
        }
    }

    function _exitVector(DeployedVault home, string memory item) private {
        uint256 exponent = _uint(item, ".exponent");
        ICreditExits.CreditExit[] memory credits = new ICreditExits.CreditExit[](1);
        credits[0].exitKey = _address(item, ".exitKey");
        credits[0].hashT = _bytes32(item, ".secretHash");
        bytes32 typeHash = keccak256("Exit(bytes32 credit,address recipient)");
        bytes32 domain = PlainHash.domain("Sealpath CreditVault", block.chainid, address(home));
        bytes32 digest =
            PlainHash.digest(domain, keccak256(abi.encode(typeHash, _bytes32(item, ".message"), STRANGER)));
        (credits[0].r, credits[0].vs) = vm.signCompact(uint256(_bytes32(item, ".exitPrivateKey")), digest);
        home.openExits(
            KeysetId.wrap(_bytes32(".keyset", ".id")),
            STRANGER,
            _bytes(_at(".keyset.keys", exponent), ".eip2537"),
            abi.encodePacked(uint8(exponent)),
            credits,
            _bytes(item, ".signature.eip2537")
        );
    }

    /// What TypeScript refuses to decode, the precompiles refuse too, or no signature check passes.
    function test_credits_RefusedPointsAreRefusedHere() public {
        _read("credits.json");
        uint256 count = 0;
        for (; _has(_at(".refusedPoints", count)); count++) {
            bytes memory point = _bytes(_at(".refusedPoints", count), ".eip2537");
            try this.checkSignature{gas: 5_000_000}(_bytes(".keyset.keys[0]", ".eip2537"), PlainBls.G1, point) {
                revert("accepted");
            } catch {}
        }
        assertEq(count, 6, "points read");
    }

    function checkSignature(bytes calldata key, bytes calldata point, bytes calldata signature) external view {
        uint256[] memory ends = new uint256[](1);
        ends[0] = 1;
        BlindSignatures.Batch memory batch = BlindSignatures.start(1, key, ends);
        BlindSignatures.add(batch, 0, signature, point);
        BlindSignatures.requireRight(batch);
    }
}

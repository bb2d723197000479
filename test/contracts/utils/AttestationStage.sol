// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DeployedNitroVerifier} from "./Deployed.sol";
import {Stage} from "./Stage.sol";
import {vm} from "./Vm.sol";

/// @title AttestationStage
/// The contracts of attestation as they are deployed, and the document of test/vectors/evidence.json at its own time.
abstract contract AttestationStage is Stage {
    address internal table;
    address internal p384;
    address internal sha384;
    DeployedNitroVerifier internal nitro;

    bytes internal document;
    /// Of a cold chain: for three CA certificates, the leaf and the document, each behind two bytes of length.
    bytes internal hints;
    uint256 internal issuedAt;
    DeployedNitroVerifier.Root internal root;

    function setUp() public virtual override {
        table = _create("contracts/attestation/p384/P384Table.sol/P384Table", "");
        p384 = _create("contracts/attestation/p384/P384Verifier.sol/P384Verifier", abi.encode(table));
        sha384 = _create("contracts/attestation/sha384/Sha384.sol/Sha384", "");
        string memory json = vm.readFile(string.concat(vm.projectRoot(), "/test/vectors/evidence.json"));
        document = vm.parseJsonBytes(json, ".document");
        hints = vm.parseJsonBytes(json, ".hints");
        issuedAt = vm.parseJsonUint(json, ".issuedAt");
        root = _root(json);
        nitro = _newNitroVerifier(p384, sha384);
        vm.warp(issuedAt);
    }

    /// Under the vector's root; this contract may revoke.
    function _newNitroVerifier(address p384_, address sha384_) internal returns (DeployedNitroVerifier) {
        bytes memory arguments = abi.encode(this, p384_, sha384_, root, true);
        return DeployedNitroVerifier(_create("contracts/attestation/nitro/NitroVerifier.sol/NitroVerifier", arguments));
    }

    /// The hints without those of the three CA certificates.
    function _warmHints() internal view returns (bytes memory warm) {
        bytes memory cold = hints;
        uint256 start = 0;
        for (uint256 i = 0; i < 3; i++) {
            start += 2 + ((uint256(uint8(cold[start])) << 8) | uint8(cold[start + 1]));
        }
        warm = new bytes(cold.length - start);
        for (uint256 i = 0; i < warm.length; i++) {
            warm[i] = cold[start + i];
        }
    }

    function _root(string memory json) private pure returns (DeployedNitroVerifier.Root memory) {
        return DeployedNitroVerifier.Root({
            hash: vm.parseJsonBytes32(json, ".rootArgument.hash"),
            subjectHash: vm.parseJsonBytes32(json, ".rootArgument.subjectHash"),
            notBefore: uint40(vm.parseJsonUint(json, ".rootArgument.notBefore")),
            notAfter: uint40(vm.parseJsonUint(json, ".rootArgument.notAfter")),
            pathLength: uint8(vm.parseJsonUint(json, ".rootArgument.pathLength")),
            key: [
                vm.parseJsonBytes32(json, ".rootArgument.key[0]"),
                vm.parseJsonBytes32(json, ".rootArgument.key[1]"),
                vm.parseJsonBytes32(json, ".rootArgument.key[2]")
            ]
        });
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AttestationStage} from "./utils/AttestationStage.sol";
import {SNAPSHOT} from "./utils/SnapshotVm.sol";

/// What evidence costs on the document of test/vectors/evidence.json, which every run sees: the same numbers in every run. The first call in a
/// test finds its contracts cold.
contract GasSnapshotEvidence is AttestationStage {
    string private constant GROUP = "attestation";

    function test_gas_verify_ColdChain() public {
        nitro.verify(document, hints);
        SNAPSHOT.snapshotGasLastCall(GROUP, "NitroVerifier.verify, cold chain");
    }

    function test_gas_verify_CachedAuthorities() public {
        nitro.verify(document, hints);
        nitro.verify(document, _warmHints());
        SNAPSHOT.snapshotGasLastCall(GROUP, "NitroVerifier.verify, cached CA certificates");
    }

    function test_gas_sha384() public {
        _hash(0);
        SNAPSHOT.snapshotGasLastCall(GROUP, "Sha384, no byte");
        _hash(35 * 128);
        SNAPSHOT.snapshotGasLastCall(GROUP, "Sha384, 4480 bytes");
    }

    function _hash(uint256 length) private view {
        (bool isSuccess, bytes memory digest) = sha384.staticcall(new bytes(length));
        assertTrue(isSuccess && digest.length == 48, "digest");
    }
}

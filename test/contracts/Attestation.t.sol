// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {EvidenceCode, EvidenceRefused} from "../../contracts/attestation/nitro/EvidenceCode.sol";
import {P384} from "../../contracts/attestation/p384/P384.sol";
import {P384_TABLE_HASH} from "../../contracts/attestation/p384/P384TableData.sol";
import {P384Verifier} from "../../contracts/attestation/p384/P384Verifier.sol";
import {Sha384Call} from "../../contracts/attestation/sha384/Sha384Call.sol";
import {IEvidenceVerifier} from "../../contracts/interfaces/IEvidenceVerifier.sol";
import {AttestationStage} from "./utils/AttestationStage.sol";
import {DeployedNitroVerifier} from "./utils/Deployed.sol";
import {Vm, vm} from "./utils/Vm.sol";

/// The errors of the attestation contracts, each alone, and the acceptance that each of them spoils. What the verifier accepts and refuses in
/// detail: test/integration/nitro*.test.ts.
contract AttestationTest is AttestationStage {
    address private constant NO_CODE = address(0xC0DE);
    uint256 private constant LEAF_SECONDS = 3 hours;

    function test_verify_AnswersWhatTheDocumentProves() public {
        IEvidenceVerifier.AttestationResult memory result = nitro.verify(document, hints);
        assertEq(bytes32(result.userData), keccak256("user data"), "userData");
        assertEq(result.issuedAt, issuedAt, "issuedAt");
        assertEq(result.validUntil, issuedAt + LEAF_SECONDS, "validUntil");
        assertTrue(result.development, "development");
        IEvidenceVerifier.AttestationResult memory again = nitro.verify(document, _warmHints());
        assertEq(abi.encode(again), abi.encode(result), "the same under cached CA certificates");
    }

    function test_verify_TellsWhatItCaches() public {
        vm.recordLogs();
        IEvidenceVerifier.AttestationResult memory result = nitro.verify(document, hints);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 3, "one for each CA certificate");
        for (uint256 i = 0; i < logs.length; i++) {
            assertEq(logs[i].topics[0], keccak256("AuthorityCached(bytes32,bytes32,uint40)"), "event");
            assertTrue(nitro.isCached(logs[i].topics[1]), "by its id");
            assertEq(logs[i].topics[2], result.certificates[i], "and what revokes it");
        }
        vm.recordLogs();
        nitro.verify(document, _warmHints());
        assertEq(vm.getRecordedLogs().length, 0, "no more the second time");
    }

    function test_verify_RevertsWhen_DocumentIsCut() public {
        _expectRefusal(EvidenceCode.CBOR_TRUNCATED);
        nitro.verify("", hints);
    }

    function test_verify_RevertsWhen_HintsAreMissing() public {
        _expectRefusal(EvidenceCode.HINTS_LENGTH);
        nitro.verify(document, "");
    }

    function test_verify_RevertsWhen_LeafHasEnded() public {
        vm.warp(issuedAt + LEAF_SECONDS);
        nitro.verify(document, hints);
        vm.warp(issuedAt + LEAF_SECONDS + 1);
        _expectRefusal(EvidenceCode.CERTIFICATE_EXPIRED);
        nitro.verify(document, _warmHints());
    }

    /// What an account without code answers is no answer, and so is no verification.
    function test_verify_RevertsWhen_P384HasNoCode() public {
        DeployedNitroVerifier blind = _newNitroVerifier(NO_CODE, sha384);
        _expectRefusal(EvidenceCode.BAD_CHAIN_SIGNATURE);
        blind.verify(document, hints);
    }

    /// A contract that answers anything but the word 1.
    function test_verify_RevertsWhen_P384AnswersSomethingElse() public {
        // The identity precompile answers its input, SHA-256 a word that is not 1.
        for (uint160 precompile = 2; precompile <= 4; precompile += 2) {
            DeployedNitroVerifier fooled = _newNitroVerifier(address(precompile), sha384);
            _expectRefusal(EvidenceCode.BAD_CHAIN_SIGNATURE);
            fooled.verify(document, hints);
        }
    }

    function test_verify_RevertsWhen_Sha384HasNoCode() public {
        DeployedNitroVerifier deaf = _newNitroVerifier(p384, NO_CODE);
        vm.expectRevert(abi.encodeWithSelector(Sha384Call.Sha384NoAnswer.selector, NO_CODE));
        deaf.verify(document, hints);
    }

    /// A contract that answers, but not 48 bytes.
    function test_verify_RevertsWhen_Sha384AnswersSomethingElse() public {
        DeployedNitroVerifier deaf = _newNitroVerifier(p384, address(2));
        vm.expectRevert(abi.encodeWithSelector(Sha384Call.Sha384NoAnswer.selector, address(2)));
        deaf.verify(document, hints);
    }

    function test_p384_RefusesWithItsReason() public view {
        (bool isSuccess, bytes memory answer) = p384.staticcall("");
        assertTrue(!isSuccess, "refused");
        assertEq(answer, abi.encodeWithSelector(P384.P384Refused.selector, 1), "r is zero");
        bytes memory call = new bytes(240);
        (call[95], call[143]) = (0x01, 0x01);
        (isSuccess, answer) = p384.staticcall(call);
        assertTrue(!isSuccess, "refused");
        assertEq(answer, abi.encodeWithSelector(P384.P384Refused.selector, 3), "the key (0, 0) is not on the curve");
    }

    function test_p384_RevertsWhen_TableIsAnother() public {
        vm.expectRevert(abi.encodeWithSelector(P384Verifier.P384WrongTable.selector, P384_TABLE_HASH, sha384.codehash));
        this.deployP384(sha384);
        vm.expectRevert(abi.encodeWithSelector(P384Verifier.P384WrongTable.selector, P384_TABLE_HASH, NO_CODE.codehash));
        this.deployP384(NO_CODE);
    }

    function test_revoke_RevertsWhen_CallerIsNotTheOwner() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, STRANGER));
        vm.prank(STRANGER);
        nitro.revoke(keccak256("any"));
    }

    /// `_create` behind a call, so that its revert can be expected.
    function deployP384(address table_) external returns (address) {
        return _create("contracts/attestation/p384/P384Verifier.sol/P384Verifier", abi.encode(table_));
    }

    function _expectRefusal(EvidenceCode code) private {
        vm.expectRevert(abi.encodeWithSelector(EvidenceRefused.selector, code));
    }
}

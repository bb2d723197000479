// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IValidationRegistry} from "../../contracts/examples/IValidationRegistry.sol";
import {SettledValidator} from "../../contracts/examples/SettledValidator.sol";
import {IEnclaveRegistry} from "../../contracts/interfaces/IEnclaveRegistry.sol";
import {IEvidenceVerifier} from "../../contracts/interfaces/IEvidenceVerifier.sol";
import {InferenceProofs} from "../../contracts/libraries/InferenceProofs.sol";
import {PublicReceipt} from "../../contracts/types/Receipt.sol";
import {BatchId, ClaimSource, EnclaveRole, LeafHash, Outcome} from "../../contracts/types/Types.sol";
import {TestValidationRegistry} from "./support/TestValidationRegistry.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {ProofStage} from "./utils/ProofStage.sol";
import {vm} from "./utils/Vm.sol";

contract ExamplesValidatorTest is ProofStage {
    uint256 private constant AGENT = 22;
    uint256 private constant OTHER_AGENT = 7;
    address private constant OWNER = address(0x0A6E);
    bytes32 private constant SALT = keccak256("any");
    TestValidationRegistry private validations;
    SettledValidator private validator;

    function setUp() public override {
        super.setUp();
        validations = TestValidationRegistry(
            _create("test/contracts/support/TestValidationRegistry.sol/TestValidationRegistry", "")
        );
        validator = SettledValidator(
            _create(
                "contracts/examples/SettledValidator.sol/SettledValidator",
                abi.encode(settlement, registry, validations)
            )
        );
        validations.setOwner(AGENT, OWNER);
        validations.setOwner(OTHER_AGENT, STRANGER);
        _gateway(0);
    }

    function _exchangeOf(uint256 agentId) private view returns (Exchange memory) {
        return Exchange({
            request: '{"messages":[]}',
            output: "Paris.",
            nonce: validator.nonceFor(agentId),
            salt: keccak256("salt")
        });
    }

    /// What an agent's receipt proves, settled.
    function _workWith(PublicReceipt memory receipt) private returns (SettledValidator.Work memory) {
        return SettledValidator.Work({
            agentId: AGENT,
            salt: SALT,
            nonceSalt: _opening(_exchangeOf(AGENT)).nonceSalt,
            proof: _settleReceipt(0, receipt)
        });
    }

    function _work() private returns (SettledValidator.Work memory) {
        return _workWith(_receiptFor(0, _exchangeOf(AGENT)));
    }

    function _leafOf(SettledValidator.Work memory work) private pure returns (bytes32) {
        return PlainHash.leaf(work.proof.receipt, work.proof.privateHash);
    }

    function _hashOf(SettledValidator.Work memory work) private view returns (bytes32) {
        return validator.requestHashOf(work.agentId, LeafHash.wrap(_leafOf(work)), work.salt);
    }

    function _ask(SettledValidator.Work memory work) private returns (bytes32 requestHash) {
        requestHash = _hashOf(work);
        vm.prank(OWNER);
        validations.validationRequest(address(validator), AGENT, "https://agent.example/work", requestHash);
    }

    function _publish(SettledValidator.Work memory work) private {
        SettledValidator.Work[] memory works = new SettledValidator.Work[](1);
        works[0] = work;
        vm.prank(STRANGER);
        validator.publish(works);
    }

    function _assertStatus(bytes32 requestHash, uint8 response, bytes32 leaf, string memory tag) private view {
        (, uint256 agentId, uint8 stored, bytes32 responseHash, string memory storedTag,) =
            validations.getValidationStatus(requestHash);
        assertEq(agentId, AGENT, "agent");
        assertEq(stored, response, "response");
        assertEq(responseHash, leaf, "leaf");
        assertEq(bytes(storedTag), bytes(tag), "tag");
    }

    function test_publish_PassesWhatIsSettledWhoeverBringsIt() public {
        SettledValidator.Work memory work = _work();
        bytes32 requestHash = _ask(work);
        vm.expectEmit(address(validator));
        emit SettledValidator.WorkValidated(AGENT, requestHash, LeafHash.wrap(_leafOf(work)), 100);
        vm.expectEmit(address(validations));
        emit IValidationRegistry.ValidationResponse(
            address(validator), AGENT, requestHash, 100, "", _leafOf(work), "sealpath-settled"
        );
        _publish(work);
        _assertStatus(requestHash, 100, _leafOf(work), "sealpath-settled");
    }

    function test_publish_TakesManyAtOnce() public {
        SettledValidator.Work[] memory works = new SettledValidator.Work[](2);
        works[0] = _work();
        works[1] = _work();
        works[1].salt = keccak256("another");
        _ask(works[0]);
        _ask(works[1]);
        validator.publish(works);
        for (uint256 i = 0; i < 2; i++) {
            _assertStatus(_hashOf(works[i]), 100, _leafOf(works[i]), "sealpath-settled");
        }
    }

    function test_publish_SaysThatTheEnclaveWasBroken() public {
        SettledValidator.Work memory work = _work();
        bytes32 requestHash = _ask(work);
        _publish(work);
        _compromise(0);
        _publish(work);
        _assertStatus(requestHash, 0, _leafOf(work), "sealpath-compromised");
    }

    function test_publish_MarksDevelopmentEvidence() public {
        IEnclaveRegistry.EnclaveStatement memory statement =
            _statement(GATEWAY_KEY + 1, EnclaveRole.Gateway, OPERATOR);
        IEvidenceVerifier.AttestationResult memory result = _result(statement);
        result.development = true;
        _register(statement, GATEWAY_KEY + 1, result);
        SettledValidator.Work memory work = _work();
        work.proof = _settleReceipt(1, _receiptFor(1, _exchangeOf(AGENT)));
        bytes32 requestHash = _ask(work);
        _publish(work);
        _assertStatus(requestHash, 100, _leafOf(work), "sealpath-development");
    }

    function test_publish_RefusesWhatDidNotSettle() public {
        SettledValidator.Work memory work = _work();
        _ask(work);
        work.proof.batch = BatchId.wrap(9);
        vm.expectRevert(InferenceProofs.ProofNotSettled.selector);
        _publish(work);
    }

    function test_publish_RefusesAReceiptThatNamesNoAgent() public {
        Exchange memory exchange = _exchangeOf(AGENT);
        exchange.nonce = "";
        SettledValidator.Work memory work = _workWith(_receiptFor(0, exchange));
        _ask(work);
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, uint8(0x12)));
        _publish(work);
    }

    function test_publish_RefusesAnotherAgentsReceipt() public {
        SettledValidator.Work memory work = _workWith(_receiptFor(0, _exchangeOf(OTHER_AGENT)));
        _ask(work);
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, uint8(0x12)));
        _publish(work);
    }

    function test_publish_RefusesToAnswerAnotherAgentForThisOnesWork() public {
        SettledValidator.Work memory work = _work();
        bytes32 requestHash = _hashOf(work);
        vm.prank(STRANGER);
        validations.validationRequest(address(validator), OTHER_AGENT, "", requestHash);
        vm.expectRevert(
            abi.encodeWithSelector(SettledValidator.ValidatorOtherAgent.selector, AGENT, OTHER_AGENT)
        );
        _publish(work);
        // The agent is not held up: another salt makes another hash.
        work.salt = keccak256("another");
        requestHash = _ask(work);
        _publish(work);
        _assertStatus(requestHash, 100, _leafOf(work), "sealpath-settled");
    }

    function test_publish_RefusesWhatNobodyAskedItFor() public {
        SettledValidator.Work memory work = _work();
        vm.expectRevert(TestValidationRegistry.NeverAsked.selector);
        _publish(work);
        bytes32 requestHash = _hashOf(work);
        vm.prank(OWNER);
        validations.validationRequest(STRANGER, AGENT, "", requestHash);
        vm.expectRevert(
            abi.encodeWithSelector(SettledValidator.ValidatorNotAsked.selector, requestHash, STRANGER)
        );
        _publish(work);
    }

    function test_publish_RefusesAModelThatIsNotMeasured() public {
        PublicReceipt memory receipt = _receiptFor(0, _exchangeOf(AGENT));
        receipt.source = ClaimSource.Proxied;
        SettledValidator.Work memory work = _workWith(receipt);
        _ask(work);
        vm.expectRevert(
            abi.encodeWithSelector(
                InferenceProofs.ProofSourceTooWeak.selector, ClaimSource.Measured, ClaimSource.Proxied
            )
        );
        _publish(work);
    }

    function test_publish_RefusesAnAnswerThatIsNotWhole() public {
        PublicReceipt memory receipt = _receiptFor(0, _exchangeOf(AGENT));
        receipt.outcome = Outcome.Length;
        SettledValidator.Work memory work = _workWith(receipt);
        _ask(work);
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofOutcomeIncomplete.selector, Outcome.Length));
        _publish(work);
    }

    function test_publish_RefusesAMeasurementThatWasRevoked() public {
        SettledValidator.Work memory work = _work();
        _ask(work);
        vm.prank(GUARDIAN);
        registry.revokeMeasurement(EnclaveRole.Gateway, MEASUREMENT);
        vm.expectRevert(
            abi.encodeWithSelector(SettledValidator.ValidatorMeasurementNotApproved.selector, MEASUREMENT)
        );
        _publish(work);
    }
}

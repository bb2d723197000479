// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {InferenceVerifier} from "../../contracts/InferenceVerifier.sol";
import {InferenceProofs} from "../../contracts/libraries/InferenceProofs.sol";
import {AttestedProof, HeadKind, PublicReceipt, SettledProof} from "../../contracts/types/Receipt.sol";
import {
    BatchId,
    ClaimSource,
    EnclaveId,
    EnclaveRole,
    LogRoot,
    MeasurementId,
    Outcome
} from "../../contracts/types/Types.sol";
import {ProofStage} from "./utils/ProofStage.sol";
import {vm} from "./utils/Vm.sol";

contract InferenceProofsTest is ProofStage {
    InferenceVerifier private inference;
    Exchange private exchange;
    EnclaveId private gateway;

    function setUp() public override {
        super.setUp();
        inference = InferenceVerifier(
            _create("contracts/InferenceVerifier.sol/InferenceVerifier", abi.encode(settlement, registry))
        );
        gateway = _gateway(0);
        exchange = Exchange({request: '{"seed":7}', output: "Paris.", nonce: "nonce", salt: keccak256("salt")});
    }

    function _receipt() private view returns (PublicReceipt memory) {
        return _receiptFor(0, exchange);
    }

    function _demand() private view returns (InferenceProofs.Demand memory) {
        MeasurementId[] memory measurements = new MeasurementId[](2);
        measurements[0] = MeasurementId.wrap(keccak256("another"));
        measurements[1] = MEASUREMENT;
        return InferenceProofs.Demand({
            requestHash: keccak256(exchange.request),
            nonce: exchange.nonce,
            measurements: measurements,
            source: ClaimSource.Measured
        });
    }

    function _assertSettled(SettledProof memory proof, InferenceProofs.Finality finality, bool isCompromised) private view {
        InferenceProofs.Status memory status = inference.settled(proof);
        assertEq(uint256(status.finality), uint256(finality), "finality");
        assertTrue(status.isCompromised == isCompromised, "compromised");
    }

    function _assertAttested(AttestedProof memory proof, InferenceProofs.Finality finality) private view {
        InferenceProofs.Status memory status = inference.attested(proof);
        assertEq(uint256(status.finality), uint256(finality), "finality");
        assertTrue(!status.isCompromised, "compromised");
    }

    /// In one place: each encoding of the three costs the compiler more stack than a test has left.
    function _requireOutput(
        SettledProof memory proof,
        InferenceProofs.Opening memory opening,
        InferenceProofs.Demand memory demand
    ) private view returns (bytes memory) {
        return inference.requireOutput(proof, opening, demand);
    }

    // Settled

    function test_settled_ProvesAReceiptOfASettledBatch() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        _assertSettled(proof, InferenceProofs.Finality.Settled, false);
        _closeAll();
        _assertSettled(proof, InferenceProofs.Finality.Settled, false);
    }

    function test_settled_MarksWhatACompromisedEnclaveSaid() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        _compromise(0);
        _assertSettled(proof, InferenceProofs.Finality.Settled, true);
    }

    function test_settled_RefusesAnotherVersion() public {
        PublicReceipt memory receipt = _receipt();
        receipt.version = 2;
        _assertSettled(_settleReceipt(0, receipt), InferenceProofs.Finality.None, false);
    }

    function test_settled_RefusesEmptyLogsAndBatches() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        proof.size = 0;
        _assertSettled(proof, InferenceProofs.Finality.None, false);
        proof.size = LOG_SIZE;
        proof.batchSize = 0;
        _assertSettled(proof, InferenceProofs.Finality.None, false);
    }

    function test_settled_RefusesABatchThatIsNotThere() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        proof.batch = BatchId.wrap(0);
        _assertSettled(proof, InferenceProofs.Finality.None, false);
        proof.batch = BatchId.wrap(2);
        _assertSettled(proof, InferenceProofs.Finality.None, false);
    }

    function test_settled_RefusesPathsOfAnotherLength() public {
        for (uint256 i = 0; i < 4; i++) {
            SettledProof memory proof = _settleReceipt(0, _receipt());
            if (i == 0) proof.logPath = _cut(proof.logPath);
            if (i == 1) proof.batchPath = _cut(proof.batchPath);
            if (i == 2) proof.logPath = _grown(proof.logPath);
            if (i == 3) proof.batchPath = _grown(proof.batchPath);
            _assertSettled(proof, InferenceProofs.Finality.None, false);
        }
    }

    function _cut(bytes32[] memory path) private pure returns (bytes32[] memory shorter) {
        shorter = new bytes32[](path.length - 1);
        for (uint256 i = 0; i < shorter.length; i++) {
            shorter[i] = path[i];
        }
    }

    function _grown(bytes32[] memory path) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](path.length + 1);
        for (uint256 i = 0; i < path.length; i++) {
            longer[i] = path[i];
        }
    }

    /// One bit of any field of the proof, and it proves nothing.
    function testFuzz_settled_RefusesAFlippedBit(uint256 field, uint256 bit, uint256 node) public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        bytes32 mask = bytes32(1 << (bit % 256));
        uint64 mask64 = uint64(1 << (bit % 64));
        field = bound(field, 0, 15);
        if (field < 9) _flipReceipt(proof.receipt, field, bit);
        if (field == 9) proof.privateHash ^= mask;
        if (field == 10) proof.index ^= mask64;
        if (field == 11) proof.size ^= mask64;
        if (field == 12) proof.logPath[node % proof.logPath.length] ^= mask;
        if (field == 13) proof.batch = BatchId.wrap(BatchId.unwrap(proof.batch) ^ mask64);
        if (field == 14) proof.batchIndex ^= mask64;
        if (field == 15) proof.batchPath[node % proof.batchPath.length] ^= mask;
        _assertSettled(proof, InferenceProofs.Finality.None, false);
    }

    function _flipReceipt(PublicReceipt memory receipt, uint256 field, uint256 bit) private pure {
        bytes32 mask = bytes32(1 << (bit % 256));
        if (field == 0) receipt.version ^= uint16(1 << (bit % 16));
        if (field == 1) receipt.enclave = EnclaveId.wrap(address(uint160(EnclaveId.unwrap(receipt.enclave)) ^ uint160(1 << (bit % 160))));
        if (field == 2) receipt.model ^= mask;
        if (field == 3) receipt.source = bit % 2 == 0 ? ClaimSource.None : ClaimSource.Operator;
        if (field == 4) receipt.origin ^= mask;
        if (field == 5) receipt.request ^= mask;
        if (field == 6) receipt.output ^= mask;
        if (field == 7) receipt.nonce ^= mask;
        if (field == 8) receipt.outcome = bit % 2 == 0 ? Outcome.None : Outcome.ToolCalls;
    }

    // Attested

    function test_attested_ProvesAReceiptUnderASignedHead() public {
        AttestedProof memory proof = _attest(0, _receipt());
        _assertAttested(proof, InferenceProofs.Finality.Attested);
        proof.head = _earningsHead(0, LOG_SIZE, LogRoot.unwrap(proof.head.root), 9);
        _assertAttested(proof, InferenceProofs.Finality.Attested);
        vm.prank(OPERATOR);
        registry.retire(gateway);
        _assertAttested(proof, InferenceProofs.Finality.Attested);
    }

    function test_attested_RefusesAnEnclaveThatMayNotSettle() public {
        AttestedProof memory proof = _attest(0, _receipt());
        uint256 snapshot = vm.snapshotState();
        _closeAll();
        _assertAttested(proof, InferenceProofs.Finality.None);
        vm.revertToState(snapshot);
        _compromise(0);
        _assertAttested(proof, InferenceProofs.Finality.None);
        proof = _attest(1, _receiptFor(1, exchange));
        _assertAttested(proof, InferenceProofs.Finality.None);
    }

    function test_attested_RefusesAnIssuer() public {
        _register(GATEWAY_KEY + 1, EnclaveRole.Issuer, OPERATOR);
        _assertAttested(_attest(1, _receiptFor(1, exchange)), InferenceProofs.Finality.None);
    }

    function test_attested_RefusesAnotherEnclavesHead() public {
        _gateway(1);
        AttestedProof memory proof = _attest(1, _receipt());
        _assertAttested(proof, InferenceProofs.Finality.None);
    }

    function test_attested_RefusesAnotherVersionAndAnEmptyLog() public view {
        PublicReceipt memory receipt = _receipt();
        receipt.version = 2;
        _assertAttested(_attest(0, receipt), InferenceProofs.Finality.None);
        AttestedProof memory proof = _attest(0, _receipt());
        proof.head = _logHead(0, 0, LogRoot.unwrap(proof.head.root));
        _assertAttested(proof, InferenceProofs.Finality.None);
    }

    function testFuzz_attested_RefusesAFlippedBit(uint256 field, uint256 bit, uint256 node) public view {
        AttestedProof memory proof = _attest(0, _receipt());
        bytes32 mask = bytes32(1 << (bit % 256));
        field = bound(field, 0, 17);
        if (field < 9) _flipReceipt(proof.receipt, field, bit);
        if (field == 9) proof.privateHash ^= mask;
        if (field == 10) proof.index ^= uint64(1 << (bit % 64));
        if (field == 11) proof.logPath[node % proof.logPath.length] ^= mask;
        if (field == 12) proof.head.enclave = EnclaveId.wrap(STRANGER);
        if (field == 13) proof.head.kind = HeadKind.Earnings;
        if (field == 14) proof.head.size ^= uint64(1 << (bit % 64));
        if (field == 15) proof.head.root = LogRoot.wrap(LogRoot.unwrap(proof.head.root) ^ mask);
        if (field == 16) proof.head.r ^= mask;
        if (field == 17) proof.head.vs ^= mask;
        _assertAttested(proof, InferenceProofs.Finality.None);
    }

    // Outputs

    function test_requireOutput_AnswersWhatTheReceiptCommitsTo() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        assertEq(_requireOutput(proof, _opening(exchange), _demand()), exchange.output, "output");
    }

    function test_requireOutput_RefusesWhatDidNotSettle() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        proof.batch = BatchId.wrap(9);
        InferenceProofs.Opening memory opening = _opening(exchange);
        vm.expectRevert(InferenceProofs.ProofNotSettled.selector);
        _requireOutput(proof, opening, _demand());
    }

    function test_requireOutput_RefusesACompromisedEnclave() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        _compromise(0);
        InferenceProofs.Opening memory opening = _opening(exchange);
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofEnclaveCompromised.selector, gateway));
        _requireOutput(proof, opening, _demand());
    }

    function test_requireOutput_RefusesAnotherMeasurement() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        InferenceProofs.Opening memory opening = _opening(exchange);
        InferenceProofs.Demand memory demand = _demand();
        bytes memory refusal =
            abi.encodeWithSelector(InferenceProofs.ProofMeasurementNotAccepted.selector, MEASUREMENT);
        demand.measurements[1] = demand.measurements[0];
        vm.expectRevert(refusal);
        _requireOutput(proof, opening, demand);
        demand.measurements = new MeasurementId[](0);
        vm.expectRevert(refusal);
        _requireOutput(proof, opening, demand);
    }

    function test_requireOutput_RefusesAWeakerSource() public {
        for (uint8 least = 0; least <= 3; least++) {
            for (uint8 actual = 0; actual <= 3; actual++) {
                this.checkSource(ClaimSource(least), ClaimSource(actual));
            }
        }
    }

    /// A call of its own for each case: the compiler has no stack left otherwise.
    function checkSource(ClaimSource least, ClaimSource actual) external {
        PublicReceipt memory receipt = _receipt();
        receipt.source = actual;
        SettledProof memory proof = _settleReceipt(0, receipt);
        InferenceProofs.Demand memory demand = _demand();
        demand.source = least;
        if (actual == ClaimSource.None || actual > least) {
            vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofSourceTooWeak.selector, least, actual));
        }
        _requireOutput(proof, _opening(exchange), demand);
    }

    function test_requireOutput_RefusesAnAnswerThatIsNotWhole() public {
        this.checkOutcome(Outcome.None);
        this.checkOutcome(Outcome.Length);
        this.checkOutcome(Outcome.ToolCalls);
        this.checkOutcome(Outcome.Cut);
        this.checkOutcome(Outcome.Filtered);
    }

    function checkOutcome(Outcome outcome) external {
        PublicReceipt memory receipt = _receipt();
        receipt.outcome = outcome;
        SettledProof memory proof = _settleReceipt(0, receipt);
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofOutcomeIncomplete.selector, outcome));
        _requireOutput(proof, _opening(exchange), _demand());
    }

    function test_requireOutput_RefusesAnotherRequest() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        InferenceProofs.Opening memory opening = _opening(exchange);
        InferenceProofs.Demand memory demand = _demand();
        demand.requestHash ^= bytes32(uint256(1));
        vm.expectRevert(
            abi.encodeWithSelector(
                InferenceProofs.ProofRequestMismatch.selector, demand.requestHash, keccak256(exchange.request)
            )
        );
        _requireOutput(proof, opening, demand);
    }

    function test_requireOutput_RefusesWhatDoesNotOpenItsCommitment() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        for (uint256 i = 0; i < 5; i++) {
            this.checkOpening(proof, i);
        }
    }

    function checkOpening(SettledProof calldata proof, uint256 i) external {
        InferenceProofs.Opening memory opening = _opening(exchange);
        InferenceProofs.Demand memory demand = _demand();
        if (i == 0) opening.requestSalt ^= bytes32(uint256(1));
        if (i == 1) opening.output = "Paris";
        if (i == 2) opening.outputSalt ^= bytes32(uint256(1));
        if (i == 3) opening.nonceSalt ^= bytes32(uint256(1));
        if (i == 4) demand.nonce = "Nonce";
        uint8 tag = i == 0 ? 0x10 : i < 3 ? 0x11 : 0x12;
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, tag));
        _requireOutput(proof, opening, demand);
    }

    /// The request's commitment binds it too: the demanded body must be the one that was answered.
    function test_requireOutput_RefusesTheDemandedRequestWhereAnotherWasAnswered() public {
        SettledProof memory proof = _settleReceipt(0, _receipt());
        InferenceProofs.Opening memory opening = _opening(exchange);
        InferenceProofs.Demand memory demand = _demand();
        opening.request = '{"seed":8}';
        demand.requestHash = keccak256(opening.request);
        vm.expectRevert(abi.encodeWithSelector(InferenceProofs.ProofNotOpened.selector, uint8(0x10)));
        _requireOutput(proof, opening, demand);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IReceiptSettlement} from "../../contracts/interfaces/IReceiptSettlement.sol";
import {Captured, SignedClearing} from "../../contracts/types/Receipt.sol";
import {EnclaveId, KeysetId, Units} from "../../contracts/types/Types.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

contract SettleClearingsTest is Stage {
    EnclaveId private constant NONE = EnclaveId.wrap(address(0));
    EnclaveId private gateway;

    function setUp() public override {
        super.setUp();
        gateway = _gateway(0);
        _issuer(ISSUER_KEY, KEYSET, 1_000);
    }

    function _assertTotals(KeysetId keyset, uint64 issued, uint64 claimed, uint64 cleared) private view {
        IReceiptSettlement.KeysetTotals memory totals = settlement.keysetTotals(keyset);
        assertEq(totals.issued, issued, "issued");
        assertEq(totals.claimed, claimed, "claimed");
        assertEq(totals.cleared, cleared, "cleared in all");
    }

    /// Settles `clearing` and expects that it is refused whole, without one storage word written.
    function _assertRefused(SignedClearing memory clearing, IReceiptSettlement.ClearingRefusal reason) private {
        _expectClearingSkipped(clearing.keyset, NONE, reason);
        vm.record();
        _settle(clearing);
        (, bytes32[] memory writes) = vm.accesses(address(settlement));
        assertEq(writes.length, 0, "words written");
    }

    function _assertStaleLine(SignedClearing memory clearing) private {
        uint64 before = _cleared(gateway);
        _expectClearingSkipped(clearing.keyset, gateway, IReceiptSettlement.ClearingRefusal.StaleLine);
        _settle(clearing);
        assertEq(_cleared(gateway), before, "cleared");
    }

    // What is accepted

    function test_settle_BooksAClearing() public {
        SignedClearing memory clearing = _clearing(500, 300, gateway, 300);
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.ClearingSettled(KEYSET, Units.wrap(500), Units.wrap(300), clearing.enclaves);
        _settle(clearing);
        assertEq(_cleared(gateway), 300, "cleared");
        assertEq(settlement.clearedBy(KEYSET, gateway), 300, "by this keyset");
        _assertTotals(KEYSET, 500, 300, 300);
        assertEq(_credited(gateway), 0, "nothing is earned yet");
    }

    function test_settle_CreditsAHeadWithTheClearingOfTheSameCall() public {
        _settle(_earningsHead(0, 5, keccak256("root"), 200), _clearing(500, 300, gateway, 300));
        assertEq(_credited(gateway), 200, "the smaller: earned");
        _settle(_earningsHead(0, 6, keccak256("root"), 400));
        assertEq(_credited(gateway), 300, "the smaller: cleared");
    }

    function test_credit_CreditsWhatACloserClearingAgreesOn() public {
        _settle(_earningsHead(0, 5, keccak256("root"), 200));
        _settle(_clearing(500, 300, gateway, 150));
        assertEq(_credited(gateway), 0, "a clearing alone credits nothing");
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.Credited(gateway, Units.wrap(150));
        settlement.credit(gateway);
        assertEq(_credited(gateway), 150, "credited");
        vm.record();
        settlement.credit(gateway);
        (, bytes32[] memory writes) = vm.accesses(address(settlement));
        assertEq(writes.length, 0, "nothing more to credit");
    }

    function test_settle_BooksAnOlderClearingThatComesLate() public {
        EnclaveId other = _gateway(1);
        SignedClearing memory older = _clearing(500, 300, gateway, 300);
        _settle(_clearing(600, 400, other, 100));
        _settle(older);
        assertEq(_cleared(gateway), 300, "whoever delivers the newer one first takes nothing from anyone");
        assertEq(_cleared(other), 100, "the other");
        _assertTotals(KEYSET, 600, 400, 400);
    }

    function test_settle_BooksAFurtherKeyset() public {
        _issuer(ISSUER_KEY + 1, OTHER_KEYSET, 50);
        _settle(_clearing(500, 300, gateway, 300));
        _settle(_clearing(ISSUER_KEY + 1, OTHER_KEYSET, 50, 40, _lines(gateway, 40)));
        assertEq(_cleared(gateway), 340, "both");
        assertEq(settlement.clearedBy(KEYSET, gateway), 300, "the first");
        assertEq(settlement.clearedBy(OTHER_KEYSET, gateway), 40, "the other");
        _settle(_clearing(500, 310, gateway, 310));
        assertEq(_cleared(gateway), 350, "the first goes on where it was");
        assertEq(settlement.clearedBy(OTHER_KEYSET, gateway), 40, "the other stays");
    }

    function test_settle_BooksClearingsOfACompromisedGateway() public {
        _compromise(0);
        _settle(_clearing(500, 300, gateway, 300));
        assertEq(_cleared(gateway), 300, "for the insurance to sweep");
    }

    /// The event is written by assembly: what it says is what the plain statement says, of any number of lines.
    function testFuzz_settle_TellsOfEveryLine(uint256 seed) public {
        Captured[] memory lines = new Captured[](seed % 7);
        for (uint256 i = 0; i < lines.length; i++) {
            bytes32 word = keccak256(abi.encode(seed, i));
            lines[i] = Captured(EnclaveId.wrap(address(bytes20(word))), Units.wrap(uint64(uint256(word))));
        }
        vm.expectEmit(address(settlement));
        emit IReceiptSettlement.ClearingSettled(KEYSET, Units.wrap(500), Units.wrap(300), lines);
        _settle(_clearing(ISSUER_KEY, KEYSET, 500, 300, lines));
    }

    // What is refused

    function test_settle_RefusesAClearingWhen_KeysetIsUnknown() public {
        SignedClearing memory clearing = _clearing(ISSUER_KEY, OTHER_KEYSET, 1, 1, _lines(gateway, 1));
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.UnknownKeyset);
    }

    function test_settle_RefusesAClearingWhen_SignerIsNotTheKeysetsWriter() public {
        _issuer(ISSUER_KEY + 1, OTHER_KEYSET, 50);
        SignedClearing memory clearing = _clearing(ISSUER_KEY + 1, KEYSET, 1, 1, _lines(gateway, 1));
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.BadSignature);
    }

    function test_settle_RefusesAClearingWhen_SignatureIsForAnotherChainOrContract() public {
        SignedClearing memory clearing = _clearing(500, 300, gateway, 300);
        bytes32 structHash = PlainHash.clearingHash(clearing);
        bytes32 foreign = PlainHash.domain("Sealpath", block.chainid + 1, address(settlement));
        (clearing.r, clearing.vs) = vm.signCompact(ISSUER_KEY, PlainHash.digest(foreign, structHash));
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.BadSignature);
        foreign = PlainHash.domain("Sealpath", block.chainid, address(vault));
        (clearing.r, clearing.vs) = vm.signCompact(ISSUER_KEY, PlainHash.digest(foreign, structHash));
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.BadSignature);
    }

    function test_settle_RefusesAClearingWhen_AnythingSignedChanged() public {
        for (uint256 i = 0; i < 5; i++) {
            SignedClearing memory clearing = _clearing(500, 300, gateway, 300);
            if (i == 0) clearing.issued = Units.wrap(501);
            if (i == 1) clearing.captured = Units.wrap(301);
            if (i == 2) clearing.enclaves[0].captured = Units.wrap(299);
            if (i == 3) clearing.enclaves[0].enclave = EnclaveId.wrap(STRANGER);
            if (i == 4) clearing.enclaves = new Captured[](0);
            _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.BadSignature);
        }
    }

    function test_settle_RefusesAClearingWhen_IssuerIsClosed() public {
        SignedClearing memory clearing = _clearing(500, 300, gateway, 300);
        _closeAll();
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.IssuerEnded);
    }

    function test_settle_RefusesAClearingWhen_IssuerIsCompromised() public {
        SignedClearing memory clearing = _clearing(500, 300, gateway, 300);
        vm.prank(address(settlement));
        registry.markCompromised(EnclaveId.wrap(vm.addr(ISSUER_KEY)), STRANGER);
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.IssuerEnded);
    }

    function test_settle_RefusesAClearingWhen_WriterIsNoIssuer() public {
        _openKeyset(OTHER_KEYSET, gateway);
        _endow(OTHER_KEYSET, 100);
        SignedClearing memory clearing = _clearing(GATEWAY_KEY, OTHER_KEYSET, 1, 1, _lines(gateway, 1));
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.IssuerEnded);
    }

    function test_settle_RefusesAClearingWhen_WriterIsUnregistered() public {
        _openKeyset(OTHER_KEYSET, EnclaveId.wrap(vm.addr(ISSUER_KEY + 1)));
        SignedClearing memory clearing = _clearing(ISSUER_KEY + 1, OTHER_KEYSET, 0, 0, _lines(gateway, 1));
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.IssuerEnded);
    }

    function test_settle_RefusesAClearingWhen_CapturedExceedsIssued() public {
        _assertRefused(_clearing(500, 501, gateway, 1), IReceiptSettlement.ClearingRefusal.OutOfBounds);
    }

    function test_settle_RefusesAClearingWhen_IssuedExceedsDeposited() public {
        _assertRefused(_clearing(1_001, 1, gateway, 1), IReceiptSettlement.ClearingRefusal.OutOfBounds);
        _endow(KEYSET, 1);
        _settle(_clearing(1_001, 1, gateway, 1));
        assertEq(_cleared(gateway), 1, "with one unit more behind it");
    }

    function test_settle_RefusesAClearingWhen_ItHasTooManyLines() public {
        Captured[] memory lines = new Captured[](257);
        SignedClearing memory clearing = _clearing(ISSUER_KEY, KEYSET, 500, 300, lines);
        _assertRefused(clearing, IReceiptSettlement.ClearingRefusal.OutOfBounds);
    }

    function test_settle_SkipsALineWhen_ItAddsNothing() public {
        _settle(_clearing(500, 300, gateway, 300));
        _assertStaleLine(_clearing(500, 300, gateway, 300));
        _assertStaleLine(_clearing(500, 300, gateway, 299));
        _assertStaleLine(_clearing(500, 300, gateway, 0));
    }

    function test_settle_SkipsALineWhen_ItExceedsWhatIsClaimedInAll() public {
        _assertStaleLine(_clearing(500, 300, gateway, 301));
        EnclaveId other = _gateway(1);
        _settle(_clearing(500, 300, other, 200));
        _assertStaleLine(_clearing(500, 300, gateway, 101));
        _settle(_clearing(500, 300, gateway, 100));
        _assertTotals(KEYSET, 500, 300, 300);
    }

    function test_settle_SkipsALineThatRepeatsInOneClearing() public {
        Captured[] memory lines = new Captured[](2);
        lines[0] = lines[1] = Captured(gateway, Units.wrap(150));
        _settle(_clearing(ISSUER_KEY, KEYSET, 500, 300, lines));
        assertEq(_cleared(gateway), 150, "once");
    }

    function testFuzz_settle_NeverRevertsForAClearing(uint256 seed, bytes32 r, bytes32 vs) public {
        _settle(_clearing(500, 300, gateway, 200));
        Captured[] memory lines = new Captured[](seed % 5);
        for (uint256 i = 0; i < lines.length; i++) {
            bytes32 word = keccak256(abi.encode(seed, i));
            lines[i] = Captured(
                uint256(word) & 1 == 1 ? gateway : EnclaveId.wrap(address(bytes20(word))),
                Units.wrap(uint64(uint256(word) >> 1))
            );
        }
        uint64 issued = seed >> 8 & 1 == 1 ? uint64(seed >> 16 & 1_023) : uint64(seed >> 16);
        uint64 captured = seed >> 9 & 1 == 1 ? uint64(seed >> 80 & 1_023) : uint64(seed >> 80);
        SignedClearing memory clearing = _clearing(ISSUER_KEY, KEYSET, issued, captured, lines);
        if (seed >> 10 & 1 == 1) (clearing.r, clearing.vs) = (r, vs);
        _settle(clearing);
        IReceiptSettlement.KeysetTotals memory totals = settlement.keysetTotals(KEYSET);
        assertLe(Units.unwrap(totals.cleared), Units.unwrap(totals.claimed), "cleared <= claimed");
        assertLe(Units.unwrap(totals.claimed), Units.unwrap(totals.issued), "claimed <= issued");
        assertLe(Units.unwrap(totals.issued), 1_000, "issued <= deposited");
    }

    // Several keysets for one enclave against a plain model

    struct Model {
        KeysetId[2] keysets;
        EnclaveId[2] gateways;
        uint64[2][2] by;
        uint64[2] claimed;
        uint64[2] cleared;
    }

    /// Twenty random clearings; a mapping per keyset and enclave says what should be booked.
    function testFuzz_settle_AgreesWithAPlainModelOfKeysets(uint256 seed) public {
        _issuer(ISSUER_KEY + 1, OTHER_KEYSET, 1_000);
        Model memory model;
        model.keysets = [KEYSET, OTHER_KEYSET];
        model.gateways = [gateway, _gateway(1)];
        for (uint256 step = 0; step < 20; step++) {
            uint256 random = uint256(keccak256(abi.encode(seed, step)));
            uint256 k = random & 1;
            uint256 e = random >> 1 & 1;
            uint64 amount = uint64(random >> 8 & 63);
            // Sometimes stale, sometimes beyond what is claimed.
            uint64 line = model.by[k][e] + amount >= 16 ? model.by[k][e] + amount - 16 : 0;
            uint64 claimed = model.claimed[k] + uint64(random >> 16 & 31);
            if (claimed > 1_000) continue;
            Captured[] memory lines = _lines(model.gateways[e], line);
            _settle(_clearing(ISSUER_KEY + k, model.keysets[k], 1_000, claimed, lines));
            model.claimed[k] = claimed;
            if (line > model.by[k][e] && line - model.by[k][e] <= claimed - model.cleared[k]) {
                model.cleared[k] += line - model.by[k][e];
                model.by[k][e] = line;
            }
            _assertBooked(model);
        }
    }

    function _assertBooked(Model memory model) private view {
        for (uint256 i = 0; i < 2; i++) {
            EnclaveId enclave = model.gateways[i];
            assertEq(settlement.clearedBy(model.keysets[0], enclave), model.by[0][i], "by the first keyset");
            assertEq(settlement.clearedBy(model.keysets[1], enclave), model.by[1][i], "by the second");
            assertEq(_cleared(enclave), model.by[0][i] + model.by[1][i], "in all");
            assertEq(settlement.keysetTotals(model.keysets[i]).cleared, model.cleared[i], "keyset in all");
        }
    }
}

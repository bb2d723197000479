// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditDeposits} from "../../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditExits} from "../../../contracts/interfaces/ICreditExits.sol";
import {Captured} from "../../../contracts/types/Receipt.sol";
import {CreditId, EnclaveId, EnclaveRole, KeysetId, Units} from "../../../contracts/types/Types.sol";
import {CreditStage} from "./CreditStage.sol";
import {PlainHash} from "./PlainHash.sol";
import {TestKeyset} from "./TestKeyset.sol";
import {vm} from "./Vm.sol";

/// @title CreditHandler
/// What payers, issuers, operators, thieves and the guardian may do around one vault, in any order. Never reverts. Before each call it says
/// from a plain ledger of its own whether the call should succeed, and books it there. Named `.t.sol` although it holds no test: only
/// such files become contracts that the fuzzer knows.
contract CreditHandler is CreditStage {
    uint256 private constant PAYER_KEY = 0xBA7E5;
    ICreditDeposits.DepositState private constant OPEN = ICreditDeposits.DepositState.Open;

    struct Purchase {
        uint256 keyset;
        uint256 size;
        uint256 since;
        uint256 requestedAt;
        ICreditDeposits.DepositState state;
    }

    struct Leaving {
        uint256 keyset;
        uint256 exponent;
        address recipient;
        uint256 openedAt;
        ICreditExits.ExitState state;
    }

    /// All in units.
    struct Book {
        uint256 deposited;
        uint256 exited;
        uint256 issued;
        uint256 claimed;
        uint256 line;
    }

    Purchase[] public purchases;
    Leaving[] public leavings;
    Book[2] public books;
    mapping(uint256 keyset => mapping(uint256 day => uint256)) private opened;
    mapping(address account => uint256) public paidTo;
    uint256 public earned;
    EnclaveId private gateway;
    address private payer;
    /// Something did not go as the ledger said, and what.
    string public surprise;
    /// How often each thing was done, so that a test which does nothing shows.
    mapping(string action => uint256) public done;

    function setUp() public override {
        super.setUp();
        _issuer(ISSUER_KEY + 1, OTHER_KEYSET, 0);
        gateway = _gateway(0);
        payer = vm.addr(PAYER_KEY);
        // No OPG yet: what it holds later came out of the vault.
        assertEq(token.balanceOf(payer) + token.balanceOf(OPERATOR) + token.balanceOf(PROTOCOL), 0, "a clean start");
    }

    function _keysetAt(uint256 k) private view returns (KeysetId) {
        return k == 0 ? KEYSET : OTHER_KEYSET;
    }

    /// Notes what came of a call, and answers whether to book it.
    function _note(string memory action, bool expected, bool actual) internal returns (bool) {
        if (expected != actual) surprise = string.concat(action, expected ? ": refused" : ": went through");
        if (actual) done[action]++;
        return actual;
    }

    // Payers

    function buy(uint256 k, uint256 size, uint256 way) external {
        (k, size, way) = (k % 2, size % 3, way % 3);
        uint256 units = _amountOf(ICreditDeposits.DepositSize(size));
        token.mint(payer, units * UNIT);
        bool expected = _now() < SIGN_UNTIL && !vault.paused();
        bool isDone = way == 0 ? _buyByApproval(k, size) : way == 1 ? _buyByAuthorization(k, size) : _buyFromBox(k, size);
        // What was not taken is lost to this payer: the ledger looks only at what comes out of the vault.
        _clean(payer);
        if (!_note("buy", expected, isDone)) return;
        purchases.push(Purchase({keyset: k, size: size, since: _now(), requestedAt: 0, state: OPEN}));
        books[k].deposited += units;
    }

    function _claimKey() private view returns (address) {
        return vm.addr(CLAIM_KEY + purchases.length);
    }

    function _buyByApproval(uint256 k, uint256 size) private returns (bool) {
        vm.startPrank(payer);
        token.approve(address(vault), type(uint256).max);
        (bool ok,) = address(vault).call(
            abi.encodeWithSelector(vault.deposit.selector, _keysetAt(k), size, _claimKey())
        );
        vm.stopPrank();
        return ok;
    }

    function _buyByAuthorization(uint256 k, uint256 size) private returns (bool) {
        KeysetId keyset = _keysetAt(k);
        address claimKey = _claimKey();
        uint256 value = _amountOf(ICreditDeposits.DepositSize(size)) * UNIT;
        bytes32 structHash = keccak256(
            abi.encode(
                token.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(),
                payer,
                vault,
                value,
                0,
                type(uint256).max,
                keccak256(abi.encode(keyset, claimKey))
            )
        );
        bytes32 domain = PlainHash.domain("OpenGradient (test)", block.chainid, address(token));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, PlainHash.digest(domain, structHash));
        ICreditDeposits.DepositSize kind = ICreditDeposits.DepositSize(size);
        // A thief copies it for a claim key of its own.
        vm.startPrank(STRANGER);
        try vault.depositWithAuthorization(keyset, kind, STRANGER, payer, 0, type(uint256).max, v, r, s) {
            surprise = "a copied authorisation bought something else";
        } catch {}
        (bool ok,) = address(vault).call(
            abi.encodeCall(
                vault.depositWithAuthorization, (keyset, kind, claimKey, payer, 0, type(uint256).max, v, r, s)
            )
        );
        vm.stopPrank();
        return ok;
    }

    function _buyFromBox(uint256 k, uint256 size) private returns (bool ok) {
        KeysetId keyset = _keysetAt(k);
        address claimKey = _claimKey();
        address box = vault.boxOf(keyset, claimKey, payer);
        uint256 value = _amountOf(ICreditDeposits.DepositSize(size)) * UNIT;
        vm.prank(payer);
        token.transfer(box, value);
        vm.startPrank(STRANGER);
        vault.emptyBox(keyset, claimKey, token);
        (ok,) = address(vault).call(
            abi.encodeWithSelector(vault.depositFromBox.selector, keyset, size, claimKey, payer)
        );
        vm.stopPrank();
        if (ok) return true;
        vm.prank(payer);
        vault.emptyBox(keyset, claimKey, token);
        if (token.balanceOf(payer) < value) surprise = "a box kept something";
    }

    /// Takes away what an account holds beyond what the vault has paid it.
    function _clean(address account) private {
        uint256 own = token.balanceOf(account) - paidTo[account] * UNIT;
        vm.prank(account);
        token.transfer(address(0xdead), own);
    }

    function requestRefund(uint256 i) external {
        if (purchases.length == 0) return;
        i %= purchases.length;
        Purchase storage purchase = purchases[i];
        bool expected = purchase.state == OPEN && _now() >= purchase.since + 1 hours;
        vm.prank(payer);
        (bool ok,) = address(vault).call(
            abi.encodeCall(vault.requestRefund, (_keysetAt(purchase.keyset), vm.addr(CLAIM_KEY + i)))
        );
        if (!_note("requestRefund", expected, ok)) return;
        purchase.state = ICreditDeposits.DepositState.RefundRequested;
        purchase.requestedAt = _now();
    }

    function answer(uint256 i) external {
        if (purchases.length == 0) return;
        i %= purchases.length;
        Purchase storage purchase = purchases[i];
        bool isAsked = purchase.state == ICreditDeposits.DepositState.RefundRequested;
        bool expected = purchase.state == OPEN || (isAsked && _now() < purchase.requestedAt + 24 hours);
        // Signing costs the fuzzer time: not for what is refused anyway.
        if (!expected && i % 4 != 0) return;
        bytes memory exponents = _exponentsOf(_amountOf(ICreditDeposits.DepositSize(purchase.size)));
        Answer memory given = _answerOf(purchase.keyset, i, exponents);
        (bool ok,) = address(vault).call(
            abi.encodeCall(
                vault.answerDeposit,
                (
                    _keysetAt(purchase.keyset),
                    vm.addr(CLAIM_KEY + i),
                    given.keys,
                    given.exponents,
                    given.blinded,
                    given.signatures,
                    given.r,
                    given.vs
                )
            )
        );
        if (_note("answer", expected, ok)) purchase.state = ICreditDeposits.DepositState.Answered;
    }

    function finishRefund(uint256 i) external {
        if (purchases.length == 0) return;
        i %= purchases.length;
        Purchase storage purchase = purchases[i];
        Book storage book = books[purchase.keyset];
        uint256 units = _amountOf(ICreditDeposits.DepositSize(purchase.size));
        bool expected = purchase.state == ICreditDeposits.DepositState.RefundRequested
            && _now() >= purchase.requestedAt + 24 hours && book.claimed + book.exited + units <= book.deposited;
        (bool ok,) = address(vault).call(
            abi.encodeCall(vault.finishRefund, (_keysetAt(purchase.keyset), vm.addr(CLAIM_KEY + i)))
        );
        if (!_note("finishRefund", expected, ok)) return;
        purchase.state = ICreditDeposits.DepositState.Refunded;
        book.deposited -= units;
        paidTo[payer] += units;
    }

    // Exits. The issuer's key is anybody's here: credits are signed without a deposit.

    function openExit(uint256 k, uint256 exponent, uint256 who) external {
        (k, exponent) = (k % 2, 17 + exponent % 7);
        address recipient = address(uint160(0xE000 + who % 3));
        bytes memory exponents = abi.encodePacked(uint8(exponent));
        Exits memory exits = _exits(_keysetAt(k), leavings.length, exponents, recipient);
        _tryStolen(exits);
        uint256 units = 1 << exponent;
        uint256 today = opened[k][_now() / 1 days];
        uint256 tenth = books[k].deposited / 10;
        bool expected = _now() < EXIT_UNTIL && today + units <= (tenth > 1e9 ? tenth : 1e9);
        bool ok = _tryOpen(exits);
        if (!_note("openExit", expected, ok)) return;
        opened[k][_now() / 1 days] += units;
        leavings.push(
            Leaving({
                keyset: k,
                exponent: exponent,
                recipient: recipient,
                openedAt: _now(),
                state: ICreditExits.ExitState.Open
            })
        );
        if (_tryOpen(exits)) surprise = "one credit left twice";
    }

    function _tryOpen(Exits memory exits) private returns (bool ok) {
        (ok,) = address(vault).call(
            abi.encodeCall(
                vault.openExits,
                (exits.keyset, exits.recipient, exits.keys, exits.exponents, exits.credits, exits.signatures)
            )
        );
    }

    /// A copy to the thief, and a credit that nobody signed.
    function _tryStolen(Exits memory exits) private {
        address recipient = exits.recipient;
        exits.recipient = STRANGER;
        if (_tryOpen(exits)) surprise = "a copied exit went elsewhere";
        exits.recipient = recipient;
        bytes memory signature = exits.signatures;
        exits.signatures = TestKeyset.sign(_numberOf(exits.keyset), 0, keccak256("something else"));
        if (_tryOpen(exits)) surprise = "an unsigned credit left";
        exits.signatures = signature;
    }

    function challenge(uint256 i) external {
        if (leavings.length == 0) return;
        i %= leavings.length;
        Leaving storage leaving = leavings[i];
        (bool ok,) = address(vault).call(
            abi.encodeCall(
                vault.challengeExit, (_keysetAt(leaving.keyset), vm.addr(_exitKey(i)), _secretOf(i))
            )
        );
        if (!_note("challenge", leaving.state == ICreditExits.ExitState.Open, ok)) return;
        leaving.state = ICreditExits.ExitState.Cancelled;
        // Spent credits use up nothing of their day.
        opened[leaving.keyset][leaving.openedAt / 1 days] -= 1 << leaving.exponent;
    }

    function finishExit(uint256 i) external {
        if (leavings.length == 0) return;
        i %= leavings.length;
        Leaving storage leaving = leavings[i];
        Book storage book = books[leaving.keyset];
        uint256 units = 1 << leaving.exponent;
        bool expected = leaving.state == ICreditExits.ExitState.Open && _now() >= leaving.openedAt + 24 hours
            && book.claimed + book.exited + units <= book.deposited;
        CreditId[] memory ids = new CreditId[](1);
        ids[0] = _creditId(_keysetAt(leaving.keyset), i);
        (bool ok,) = address(vault).call(abi.encodeCall(vault.finishExits, (ids)));
        if (!_note("finishExit", expected, ok)) return;
        leaving.state = ICreditExits.ExitState.Paid;
        book.exited += units;
        paidTo[leaving.recipient] += units;
    }

    // Issuers and operators

    function clear(uint256 k, uint256 issuedMore, uint256 capturedMore, uint256 lineMore) external {
        k %= 2;
        Book storage book = books[k];
        uint256 issued = book.issued + issuedMore % 2e7;
        uint256 captured = book.claimed + capturedMore % 1e7;
        uint256 line = book.line + lineMore % 1e7;
        uint256 gone = captured + book.exited;
        bool expected =
            captured <= issued && issued <= book.deposited && gone <= issued && gone <= book.deposited;
        Captured[] memory lines = _lines(gateway, uint64(line));
        _settle(_clearing(ISSUER_KEY + k, _keysetAt(k), uint64(issued), uint64(captured), lines));
        bool ok = Units.unwrap(settlement.keysetTotals(_keysetAt(k)).issued) == issued
            && Units.unwrap(settlement.keysetTotals(_keysetAt(k)).claimed) == captured;
        // A clearing that adds nothing looks the same either way.
        if (!expected && issued == book.issued && captured == book.claimed) return;
        if (!_note("clear", expected, ok)) return;
        (book.issued, book.claimed) = (issued, captured);
        if (line <= captured) book.line = line;
    }

    function earn(uint256 fees) external {
        earned += fees % 1e7;
        uint64 size = settlement.accountOf(gateway).size + 1;
        _settle(_earningsHead(0, size, keccak256(abi.encode(size)), uint64(earned)));
    }

    function draw() external {
        try settlement.withdraw(gateway) {
            done["draw"]++;
        } catch {}
        try settlement.withdrawProtocol() {} catch {}
        try settlement.thaw(gateway) {} catch {}
        try settlement.thawProtocol() {} catch {}
    }

    // Time and the guardian

    function pass(uint256 time) external {
        vm.warp(_now() + time % 30 hours);
        // Whoever serves renews.
        _gateway(0);
        _register(ISSUER_KEY, EnclaveRole.Issuer, OPERATOR);
        _register(ISSUER_KEY + 1, EnclaveRole.Issuer, OPERATOR);
    }

    function togglePause(uint256 any) external {
        // Most of the time deposits are open.
        bool shallPause = any % 4 == 0;
        if (shallPause == vault.paused()) return;
        vm.prank(GUARDIAN);
        if (shallPause) vault.pause();
        else vault.unpause();
    }

    // Reading

    function counts() external view returns (uint256, uint256) {
        return (purchases.length, leavings.length);
    }

    function vaultBook(uint256 k) external view returns (uint256 deposited, uint256 exited, uint256 claimed) {
        KeysetId keyset = _keysetAt(k);
        return (
            Units.unwrap(vault.keysetOf(keyset).deposited),
            Units.unwrap(settlement.keysetTotals(keyset).exited),
            Units.unwrap(settlement.keysetTotals(keyset).claimed)
        );
    }

    function depositStateAt(uint256 i) external view returns (ICreditDeposits.DepositState) {
        return vault.depositOf(_keysetAt(purchases[i].keyset), vm.addr(CLAIM_KEY + i)).state;
    }

    function exitStateAt(uint256 i) external view returns (ICreditExits.ExitState) {
        return vault.exitOf(_creditId(_keysetAt(leavings[i].keyset), i)).state;
    }

    function unitsOf(address account) external view returns (uint256) {
        return _one(account);
    }

    function payerAddress() external view returns (address) {
        return payer;
    }

    function vaultAddress() external view returns (address) {
        return address(vault);
    }

    function drawn() public view returns (uint256) {
        return _one(OPERATOR) + _one(PROTOCOL);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ICreditVault} from "./interfaces/ICreditVault.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "./interfaces/IReceiptSettlement.sol";
import {AccountWord} from "./libraries/AccountWord.sol";
import {Equivocation} from "./libraries/Equivocation.sol";
import {FeeSplit} from "./libraries/FeeSplit.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";
import {ReceiptHash} from "./libraries/ReceiptHash.sol";
import {Captured, HeadKind, SignedClearing, SignedHead} from "./types/Receipt.sol";
import {BatchId, BatchRoot, EnclaveId, EnclaveRole, EnclaveState, KeysetId, LogRoot, Units} from "./types/Types.sol";

/// @title ReceiptSettlement
/// Units: fees in units of 10^12 base units of OPG; time in seconds; shares in basis points of 10_000.
/// Nobody owns this contract. PROTOCOL draws the protocol's share; an operator names a settler for its enclaves.
/// Safety and liveness assumptions: IReceiptSettlement.
contract ReceiptSettlement is IReceiptSettlement, EIP712, ReentrancyGuardTransient {
    using ReceiptHash for SignedHead;

    /// Bounds one call far below the 16,777,216 gas that a transaction may use (EIP-7825).
    uint256 public constant HEADS_MAX = 256;
    uint256 public constant CLEARINGS_MAX = 16;
    uint256 public constant CLEARING_LINES_MAX = 256;
    /// Both shares together never exceed a tenth.
    uint16 public constant SHARES_BPS_MAX = 1_000;
    uint40 public constant THAW_SECONDS_MAX = 30 days;
    uint16 public constant EXCLUSIVE_SECONDS_MAX = 30 minutes;

    IEnclaveRegistry public immutable REGISTRY;
    /// @inheritdoc IReceiptSettlement
    ICreditVault public immutable VAULT;
    address public immutable PROTOCOL;
    uint16 public immutable PROTOCOL_BPS;
    uint16 public immutable SETTLER_BPS;
    /// Both together.
    uint256 private immutable SHARES_BPS;
    /// Earnings wait this long after they are asked for, so that a broken enclave can be stopped first: 24 hours wherever money is at stake.
    uint40 public immutable THAW_SECONDS;

    struct Totals {
        uint64 batches;
        Units protocol;
        Units insurance;
    }

    /// What one call adds up in memory and writes once.
    struct Tally {
        uint64 protocol;
        uint64 settler;
    }

    Totals private _totals;
    mapping(BatchId batch => BatchRoot root) public batchRoot;
    mapping(EnclaveId enclave => AccountWord) private _accounts;
    mapping(EnclaveId enclave => Payout) private _operatorPayouts;
    mapping(EnclaveId enclave => SettlerTerms) private _settlerTerms;
    mapping(KeysetId keyset => KeysetTotals) private _keysets;
    /// What a keyset cleared for an enclave before the enclave's account adopted another.
    mapping(uint16 keyset => mapping(EnclaveId enclave => Units)) private _parked;
    /// What other keysets than the account's cleared for an enclave. Means something only with its flag set.
    mapping(EnclaveId enclave => Units) private _elsewhere;
    mapping(EnclaveId enclave => Units) private _swept;
    mapping(address settler => Units) public settlerEarned;
    mapping(address account => Payout) private _accountPayouts;
    Payout private _protocolPayout;

    constructor(
        IEnclaveRegistry registry,
        ICreditVault vault,
        address protocol,
        uint16 protocolBps,
        uint16 settlerBps,
        uint40 thawSeconds
    ) EIP712("Sealpath", "1") {
        require(
            address(registry) != address(0) && address(vault) != address(0) && protocol != address(0),
            SettlementZeroAddress()
        );
        uint256 shares = uint256(protocolBps) + settlerBps;
        require(shares <= SHARES_BPS_MAX, SettlementShareTooLarge(SHARES_BPS_MAX, shares));
        require(thawSeconds <= THAW_SECONDS_MAX, SettlementThawTooLong(THAW_SECONDS_MAX, thawSeconds));
        REGISTRY = registry;
        VAULT = vault;
        PROTOCOL = protocol;
        PROTOCOL_BPS = protocolBps;
        SETTLER_BPS = settlerBps;
        SHARES_BPS = shares;
        THAW_SECONDS = thawSeconds;
    }

    // Settling

    /// @inheritdoc IReceiptSettlement
    function settle(SignedHead[] calldata heads, SignedClearing[] calldata clearings)
        external
        returns (BatchId batch)
    {
        require(heads.length <= HEADS_MAX, SettlementTooMany(HEADS_MAX, heads.length));
        require(clearings.length <= CLEARINGS_MAX, SettlementTooMany(CLEARINGS_MAX, clearings.length));
        // Clearings first: a head then finds what was cleared for it and is credited at once.
        for (uint256 i = 0; i < clearings.length; i++) {
            _settleClearing(clearings[i]);
        }
        if (heads.length == 0) return batch;
        Totals memory totals = _totals;
        Tally memory tally;
        batch = _settleHeads(heads, totals, tally);
        if (BatchId.unwrap(batch) != 0) _book(totals, tally, msg.sender);
    }

    /// @inheritdoc IReceiptSettlement
    function credit(EnclaveId enclave) external {
        _creditAlone(enclave);
    }

    function _book(Totals memory totals, Tally memory tally, address settler) private {
        totals.protocol = Units.wrap(Units.unwrap(totals.protocol) + tally.protocol);
        _totals = totals;
        if (tally.settler != 0) {
            settlerEarned[settler] = Units.wrap(Units.unwrap(settlerEarned[settler]) + tally.settler);
        }
    }

    /// Credits outside of a head. A closed enclave too: what both sides agree on was earned while it could settle. Whoever calls, the
    /// settler that the operator named is paid within its exclusive time.
    function _creditAlone(EnclaveId enclave) private {
        if (REGISTRY.stateOf(enclave) == EnclaveState.Compromised) return;
        Tally memory tally;
        AccountWord before = _accounts[enclave];
        AccountWord account = _credit(before, tally);
        if (account.credited() == before.credited()) return;
        _accounts[enclave] = account;
        emit Credited(enclave, Units.wrap(account.credited()));
        bool isOthersTurn = account.hasSettlerTerms() && !_takesTurn(enclave);
        _book(_totals, tally, isOthersTurn ? _settlerTerms[enclave].settler : msg.sender);
    }

    function _settleHeads(SignedHead[] calldata heads, Totals memory totals, Tally memory tally)
        private
        returns (BatchId batch)
    {
        uint256 mayEarn = _settleable(heads);
        bytes32 domainSeparator = _domainSeparatorV4();
        bytes32[] memory leaves = new bytes32[](heads.length);
        uint256 accepted = 0;
        batch = BatchId.wrap(totals.batches + 1);
        // Counters stay below the length.
        unchecked {
            for (uint256 i = 0; i < heads.length; i++) {
                SignedHead calldata head = heads[i];
                EnclaveId enclave = head.enclave;
                uint64 size = head.size;
                bool isEarnings = head.kind == HeadKind.Earnings;
                HeadRefusal refusal = (mayEarn >> i) & 1 == 0
                    ? _whyNot(enclave)
                    : _reviewHead(head, enclave, size, domainSeparator);
                // _reviewHead bounds the size by 2^40 - 1.
                if (refusal == HeadRefusal.None && isEarnings) {
                    refusal = _earn(enclave, uint40(size), Units.unwrap(head.fees), tally);
                }
                if (refusal != HeadRefusal.None) {
                    emit HeadSkipped(enclave, size, refusal);
                    // An exclusive settler keeps the money waiting, never the proof.
                    if (refusal != HeadRefusal.SettlerExclusive) continue;
                }
                LogRoot logRoot = head.root;
                leaves[accepted++] = ReceiptHash.batchLeaf(enclave, size, logRoot);
                emit HeadSettled(enclave, batch, size, logRoot, isEarnings ? head.fees : Units.wrap(0));
            }
        }
        if (accepted == 0) return BatchId.wrap(0);
        BatchRoot root = BatchRoot.wrap(MerkleLog.rootOf(MerkleLog.BATCH_NODE_TAG, leaves, accepted));
        totals.batches++;
        batchRoot[batch] = root;
        emit BatchSettled(batch, root, accepted, msg.sender);
    }

    /// Why an enclave may not settle.
    function _whyNot(EnclaveId enclave) private view returns (HeadRefusal) {
        (EnclaveState state, EnclaveRole role) = REGISTRY.standingOf(enclave);
        bool isKnown = state != EnclaveState.None && role == EnclaveRole.Gateway;
        return isKnown ? HeadRefusal.EnclaveEnded : HeadRefusal.UnknownEnclave;
    }

    /// What can be said of a head without its account.
    function _reviewHead(SignedHead calldata head, EnclaveId enclave, uint64 size, bytes32 domainSeparator)
        private
        pure
        returns (HeadRefusal)
    {
        if (size == 0 || size > type(uint40).max) return HeadRefusal.SizeOutOfRange;
        return head.signerOf(domainSeparator) == EnclaveId.unwrap(enclave) ? HeadRefusal.None : HeadRefusal.BadSignature;
    }

    /// Books a valid earnings head. Answers `None` also for an older one: its root is worth storing, its money is settled already.
    function _earn(EnclaveId enclave, uint40 size, uint64 fees, Tally memory tally) private returns (HeadRefusal) {
        AccountWord account = _accounts[enclave];
        uint64 earned = account.earned();
        if (size == account.size()) return fees == earned ? HeadRefusal.Duplicate : HeadRefusal.Contradiction;
        if (size < account.size()) return fees > earned ? HeadRefusal.Contradiction : HeadRefusal.None;
        if (fees < earned) return HeadRefusal.Contradiction;
        if (account.hasSettlerTerms() && !_takesTurn(enclave)) return HeadRefusal.SettlerExclusive;
        _accounts[enclave] = _credit(account.withSize(size).withEarned(fees), tally);
        return HeadRefusal.None;
    }

    /// Whether the caller may be paid for settling this enclave now; books the time when it is.
    function _takesTurn(EnclaveId enclave) private returns (bool) {
        SettlerTerms storage terms = _settlerTerms[enclave];
        if (msg.sender != terms.settler && block.timestamp < uint256(terms.lastPaidAt) + terms.exclusiveSeconds) {
            return false;
        }
        terms.lastPaidAt = uint40(block.timestamp);
        return true;
    }

    function _settleClearing(SignedClearing calldata clearing) private {
        ICreditVault.Keyset memory keyset = VAULT.keysetOf(clearing.keyset);
        KeysetTotals memory totals = _keysets[clearing.keyset];
        // Totals are cumulative, so of two clearings the larger ones hold, in whatever order they arrive.
        uint64 issued = _larger(clearing.issued, totals.issued);
        uint64 claimed = _larger(clearing.captured, totals.claimed);
        ClearingRefusal refusal = _reviewClearing(clearing, keyset, issued, uint256(claimed) + Units.unwrap(totals.exited));
        if (refusal != ClearingRefusal.None) {
            emit ClearingSkipped(clearing.keyset, EnclaveId.wrap(address(0)), refusal);
            return;
        }
        // Never negative: `cleared` never exceeds what was claimed, and claims never shrink.
        uint64 left = claimed - Units.unwrap(totals.cleared);
        Captured[] calldata lines = clearing.enclaves;
        // The counter stays below the length, and _clearLine adds at most what is left.
        unchecked {
            for (uint256 i = 0; i < lines.length; i++) {
                EnclaveId enclave = lines[i].enclave;
                uint64 added = _clearLine(keyset.number, enclave, Units.unwrap(lines[i].captured), left);
                if (added == 0) emit ClearingSkipped(clearing.keyset, enclave, ClearingRefusal.StaleLine);
                left -= added;
            }
        }
        _keysets[clearing.keyset] = KeysetTotals({
            issued: Units.wrap(issued),
            claimed: Units.wrap(claimed),
            cleared: Units.wrap(claimed - left),
            exited: totals.exited
        });
        _emitClearing(clearing.keyset, clearing.issued, clearing.captured, lines);
    }

    /// emit ClearingSettled(keyset, issued, captured, lines). Assembly: the lines are two words of calldata each and logged as they stand. The
    /// plain statement cleans each of them, which takes about 200 gas a line (gas.settle.head), though all were read, and so checked, before.
    /// Compared with it wherever a test expects the event.
    function _emitClearing(KeysetId keyset, Units issued, Units captured, Captured[] calldata lines) private {
        bytes32 topic = ClearingSettled.selector;
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            let size := shl(6, lines.length)
            mstore(pointer, issued)
            mstore(add(pointer, 0x20), captured)
            mstore(add(pointer, 0x40), 0x60)
            mstore(add(pointer, 0x60), lines.length)
            calldatacopy(add(pointer, 0x80), lines.offset, size)
            log2(pointer, add(0x80, size), topic, keyset)
        }
    }

    /// @param issued As it will be.
    /// @param taken What will be claimed, and what exits have paid out and nobody can capture any more.
    function _reviewClearing(
        SignedClearing calldata clearing,
        ICreditVault.Keyset memory keyset,
        uint64 issued,
        uint256 taken
    ) private view returns (ClearingRefusal) {
        address writer = EnclaveId.unwrap(keyset.writer);
        if (writer == address(0)) return ClearingRefusal.UnknownKeyset;
        (EnclaveState state, EnclaveRole role) = REGISTRY.standingOf(keyset.writer);
        if (!_maySettle(state) || role != EnclaveRole.Issuer) return ClearingRefusal.IssuerEnded;
        if (clearing.enclaves.length > CLEARING_LINES_MAX) return ClearingRefusal.OutOfBounds;
        bytes32 digest = _hashTypedDataV4(ReceiptHash.clearingHash(clearing));
        if (ReceiptHash.recover(digest, clearing.r, clearing.vs) != writer) return ClearingRefusal.BadSignature;
        uint64 deposited = Units.unwrap(keyset.deposited);
        // Both bounds on what is taken: refunds may have left less than was once issued.
        bool inBounds = Units.unwrap(clearing.captured) <= Units.unwrap(clearing.issued)
            && Units.unwrap(clearing.issued) <= deposited && taken <= issued && taken <= deposited;
        return inBounds ? ClearingRefusal.None : ClearingRefusal.OutOfBounds;
    }

    function _larger(Units a, Units b) private pure returns (uint64) {
        return Units.unwrap(a) > Units.unwrap(b) ? Units.unwrap(a) : Units.unwrap(b);
    }

    /// Books one line and answers how much it added; 0 when it is stale or adds more than is left of what the issuer claims in all.
    /// What is cleared for an enclave that never earns it waits for `sweepUnmatched`.
    function _clearLine(uint16 keyset, EnclaveId enclave, uint64 captured, uint64 left) private returns (uint64 added) {
        AccountWord account = _accounts[enclave];
        uint64 before = _clearedBy(keyset, enclave, account);
        if (captured <= before || captured - before > left) return 0;
        added = captured - before;
        if (account.keyset() != keyset) account = _adoptKeyset(keyset, enclave, account, before);
        _accounts[enclave] = account.withCleared(account.cleared() + added);
    }

    /// What the keyset has cleared for the enclave. For the keyset of its account this is what did not come from elsewhere, so that an
    /// enclave which lives on one keyset needs no second word.
    function _clearedBy(uint16 keyset, EnclaveId enclave, AccountWord account) private view returns (uint64) {
        if (account.keyset() != keyset) return Units.unwrap(_parked[keyset][enclave]);
        return account.hasElsewhere() ? account.cleared() - Units.unwrap(_elsewhere[enclave]) : account.cleared();
    }

    /// Makes `keyset` the one of the account: parks what the former one cleared, and counts all but `own` as elsewhere.
    function _adoptKeyset(uint16 keyset, EnclaveId enclave, AccountWord account, uint64 own)
        private
        returns (AccountWord)
    {
        uint16 former = account.keyset();
        if (former != 0) _parked[former][enclave] = Units.wrap(_clearedBy(former, enclave, account));
        uint64 elsewhere = account.cleared() - own;
        if (elsewhere != 0) _elsewhere[enclave] = Units.wrap(elsewhere);
        return account.withKeyset(keyset).withElsewhere(elsewhere != 0);
    }

    /// The account with all credited that both sides agree on by now.
    function _credit(AccountWord account, Tally memory tally) private view returns (AccountWord) {
        uint64 agreed = account.earned() < account.cleared() ? account.earned() : account.cleared();
        uint64 before = account.credited();
        // Both sides only grow, so `agreed` never falls below what was credited.
        if (agreed <= before) return account;
        (uint64 protocol, uint64 settler) = FeeSplit.growth(before, agreed, SETTLER_BPS, SHARES_BPS);
        // All shares together are at most all units there are.
        unchecked {
            tally.protocol += protocol;
            tally.settler += settler;
        }
        return account.withCredited(agreed);
    }

    // Equivocation

    /// @inheritdoc IReceiptSettlement
    function reportContradiction(SignedHead calldata a, SignedHead calldata b) external {
        _requireSignedPair(a, b);
        require(Equivocation.contradict(a, b), SettlementNoContradiction());
        _endEquivocator(a.enclave);
    }

    /// @inheritdoc IReceiptSettlement
    function reportFork(
        SignedHead calldata a,
        SignedHead calldata b,
        uint8 level,
        uint64 index,
        bytes32[2] calldata nodes,
        bytes32[][2] calldata paths
    ) external {
        _requireSignedPair(a, b);
        require(nodes[0] != nodes[1], SettlementNoContradiction());
        Equivocation.requireNode(a, level, index, nodes[0], paths[0]);
        Equivocation.requireNode(b, level, index, nodes[1], paths[1]);
        _endEquivocator(a.enclave);
    }

    function _requireSignedPair(SignedHead calldata a, SignedHead calldata b) private view {
        require(a.enclave == b.enclave, SettlementNoContradiction());
        address signer = _signerOf(a);
        require(signer == EnclaveId.unwrap(a.enclave), SettlementHeadNotSigned(a.enclave, signer));
        signer = _signerOf(b);
        require(signer == EnclaveId.unwrap(b.enclave), SettlementHeadNotSigned(b.enclave, signer));
    }

    function _endEquivocator(EnclaveId enclave) private {
        emit EquivocationProven(enclave, msg.sender);
        REGISTRY.markCompromised(enclave, msg.sender);
    }

    // Payouts

    /// @inheritdoc IReceiptSettlement
    function nameSettler(EnclaveId enclave, address settler, uint16 exclusiveSeconds) external {
        address operator = REGISTRY.operatorOf(enclave);
        require(msg.sender == operator, SettlementNotOperator(operator, msg.sender));
        require(
            exclusiveSeconds <= EXCLUSIVE_SECONDS_MAX,
            SettlementExclusiveTooLong(EXCLUSIVE_SECONDS_MAX, exclusiveSeconds)
        );
        _accounts[enclave] = _accounts[enclave].withSettlerTerms(settler != address(0));
        _settlerTerms[enclave] = SettlerTerms(settler, exclusiveSeconds, uint40(block.timestamp));
        emit SettlerNamed(enclave, settler, exclusiveSeconds);
    }

    /// @inheritdoc IReceiptSettlement
    function thaw(EnclaveId enclave) external {
        _requireUncompromised(enclave);
        _creditAlone(enclave);
        _startThaw(_operatorPayouts[enclave], operatorShareOf(enclave), REGISTRY.operatorOf(enclave), enclave);
    }

    /// @inheritdoc IReceiptSettlement
    function withdraw(EnclaveId enclave) external nonReentrant {
        _requireUncompromised(enclave);
        _draw(_operatorPayouts[enclave], REGISTRY.operatorOf(enclave), enclave);
    }

    /// @inheritdoc IReceiptSettlement
    function thawSettler() external {
        _startThaw(_accountPayouts[msg.sender], settlerEarned[msg.sender], msg.sender, EnclaveId.wrap(address(0)));
    }

    /// @inheritdoc IReceiptSettlement
    function withdrawSettler() external nonReentrant {
        _draw(_accountPayouts[msg.sender], msg.sender, EnclaveId.wrap(address(0)));
    }

    /// @inheritdoc IReceiptSettlement
    function thawProtocol() external {
        _startThaw(_protocolPayout, _totals.protocol, PROTOCOL, EnclaveId.wrap(address(0)));
    }

    /// @inheritdoc IReceiptSettlement
    function withdrawProtocol() external nonReentrant {
        _draw(_protocolPayout, PROTOCOL, EnclaveId.wrap(address(0)));
    }

    function _startThaw(Payout storage payout, Units earned, address account, EnclaveId enclave) private {
        uint64 amount = Units.unwrap(earned) - Units.unwrap(payout.drawn);
        // A second thaw would push the first one's day back, and anyone may call.
        require(Units.unwrap(payout.thawing) == 0, SettlementStillThawing(payout.readyAt));
        require(amount != 0, SettlementNothingToThaw());
        payout.thawing = Units.wrap(amount);
        payout.readyAt = uint40(block.timestamp) + THAW_SECONDS;
        emit ThawStarted(account, enclave, payout.thawing, payout.readyAt);
    }

    function _draw(Payout storage payout, address to, EnclaveId enclave) private {
        Units amount = payout.thawing;
        require(Units.unwrap(amount) != 0, SettlementNothingToThaw());
        require(block.timestamp >= payout.readyAt, SettlementStillThawing(payout.readyAt));
        payout.drawn = Units.wrap(Units.unwrap(payout.drawn) + Units.unwrap(amount));
        payout.thawing = Units.wrap(0);
        emit Withdrawn(to, enclave, amount);
        VAULT.pay(to, amount);
    }

    // The insurance, and exits

    /// @inheritdoc IReceiptSettlement
    function bookInsurance(Units amount) external {
        _requireVault();
        _totals.insurance = Units.wrap(Units.unwrap(_totals.insurance) + Units.unwrap(amount));
        emit Insured(amount);
    }

    /// @inheritdoc IReceiptSettlement
    function bookExited(KeysetId keyset, Units amount) external {
        _requireVault();
        KeysetTotals storage totals = _keysets[keyset];
        totals.exited = Units.wrap(Units.unwrap(totals.exited) + Units.unwrap(amount));
        emit Exited(keyset, amount);
    }

    /// @inheritdoc IReceiptSettlement
    function sweepUnmatched(EnclaveId enclave) external {
        EnclaveState state = REGISTRY.stateOf(enclave);
        bool isCompromised = state == EnclaveState.Compromised;
        require(isCompromised || state == EnclaveState.Closed, SettlementEnclaveNotEnded(enclave));
        // What both sides agree on is the operator's, even when nobody asked for it in time.
        _creditAlone(enclave);
        AccountWord account = _accounts[enclave];
        // An ended enclave earns no more and everything agreed on is credited, so the difference never shrinks below what was swept.
        uint64 unmatched = account.cleared() - account.credited() - Units.unwrap(_swept[enclave]);
        _swept[enclave] = Units.wrap(Units.unwrap(_swept[enclave]) + unmatched);
        uint64 forfeited = isCompromised ? _forfeit(enclave) : 0;
        _totals.insurance = Units.wrap(Units.unwrap(_totals.insurance) + unmatched + forfeited);
        emit UnmatchedSwept(enclave, Units.wrap(unmatched), Units.wrap(forfeited));
    }

    /// Takes what the operator of a compromised enclave has not drawn, once.
    function _forfeit(EnclaveId enclave) private returns (uint64 amount) {
        Payout storage payout = _operatorPayouts[enclave];
        Units share = operatorShareOf(enclave);
        amount = Units.unwrap(share) - Units.unwrap(payout.drawn);
        payout.drawn = share;
        payout.thawing = Units.wrap(0);
    }

    // Reading

    /// @inheritdoc IReceiptSettlement
    function accountOf(EnclaveId enclave) external view returns (Account memory) {
        AccountWord account = _accounts[enclave];
        return Account({
            size: account.size(),
            hasSettlerTerms: account.hasSettlerTerms(),
            earned: Units.wrap(account.earned()),
            cleared: Units.wrap(account.cleared()),
            credited: Units.wrap(account.credited())
        });
    }

    /// @inheritdoc IReceiptSettlement
    function clearedBy(KeysetId keyset, EnclaveId enclave) external view returns (Units) {
        return Units.wrap(_clearedBy(VAULT.keysetOf(keyset).number, enclave, _accounts[enclave]));
    }

    /// @inheritdoc IReceiptSettlement
    function operatorShareOf(EnclaveId enclave) public view returns (Units) {
        return Units.wrap(FeeSplit.operatorShare(_accounts[enclave].credited(), SHARES_BPS));
    }

    /// @inheritdoc IReceiptSettlement
    function batchCount() external view returns (uint64) {
        return _totals.batches;
    }

    /// @inheritdoc IReceiptSettlement
    function headDigest(SignedHead calldata head) public view returns (bytes32) {
        return _hashTypedDataV4(head.headHash());
    }

    function protocolEarned() external view returns (Units) {
        return _totals.protocol;
    }

    function insurance() external view returns (Units) {
        return _totals.insurance;
    }

    /// @inheritdoc IReceiptSettlement
    function keysetTotals(KeysetId keyset) external view returns (KeysetTotals memory) {
        return _keysets[keyset];
    }

    function operatorPayoutOf(EnclaveId enclave) external view returns (Payout memory) {
        return _operatorPayouts[enclave];
    }

    function settlerPayoutOf(address settler) external view returns (Payout memory) {
        return _accountPayouts[settler];
    }

    function settlerTermsOf(EnclaveId enclave) external view returns (SettlerTerms memory) {
        return _settlerTerms[enclave];
    }

    // Internal

    function _signerOf(SignedHead calldata head) private view returns (address) {
        return head.signerOf(_domainSeparatorV4());
    }

    function _maySettle(EnclaveState state) private pure returns (bool) {
        return state == EnclaveState.Active || state == EnclaveState.Retired;
    }

    function _requireUncompromised(EnclaveId enclave) private view {
        require(REGISTRY.stateOf(enclave) != EnclaveState.Compromised, SettlementEnclaveCompromised(enclave));
    }

    function _requireVault() private view {
        require(msg.sender == address(VAULT), SettlementNotVault(address(VAULT), msg.sender));
    }

    function _settleable(SignedHead[] calldata heads) private view returns (uint256) {
        EnclaveId[] memory ids = new EnclaveId[](heads.length);
        // The counter stays below the length.
        unchecked {
            for (uint256 i = 0; i < ids.length; i++) {
                ids[i] = heads[i].enclave;
            }
        }
        return REGISTRY.settleable(ids);
    }
}

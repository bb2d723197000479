// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ICreditVault} from "./interfaces/ICreditVault.sol";
import {IEnclaveRegistry} from "./interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "./interfaces/IReceiptSettlement.sol";
import {Equivocation} from "./libraries/Equivocation.sol";
import {FeeSplit} from "./libraries/FeeSplit.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";
import {ReceiptHash} from "./libraries/ReceiptHash.sol";
import {Captured, HeadKind, SignedClearing, SignedHead} from "./types/Receipt.sol";
import {BatchId, BatchRoot, EnclaveId, EnclaveRole, EnclaveState, KeysetId, Units} from "./types/Types.sol";

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
    /// Earnings wait this long after they are asked for, so that a broken enclave can be stopped first.
    uint40 public constant THAW = 24 hours;
    uint16 public constant EXCLUSIVE_SECONDS_MAX = 30 minutes;

    IEnclaveRegistry public immutable REGISTRY;
    ICreditVault public immutable VAULT;
    address public immutable PROTOCOL;
    uint16 public immutable PROTOCOL_BPS;
    uint16 public immutable SETTLER_BPS;

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
    mapping(EnclaveId enclave => Account) private _accounts;
    mapping(EnclaveId enclave => Payout) private _operatorPayouts;
    mapping(EnclaveId enclave => SettlerTerms) private _settlerTerms;
    mapping(KeysetId keyset => KeysetTotals) private _keysets;
    mapping(KeysetId keyset => mapping(EnclaveId enclave => Units)) public clearedBy;
    mapping(address settler => Units) public settlerEarned;
    mapping(address account => Payout) private _accountPayouts;
    Payout private _protocolPayout;

    constructor(
        IEnclaveRegistry registry,
        ICreditVault vault,
        address protocol,
        uint16 protocolBps,
        uint16 settlerBps
    ) EIP712("Sealpath", "1") {
        require(
            address(registry) != address(0) && address(vault) != address(0) && protocol != address(0),
            SettlementZeroAddress()
        );
        uint256 shares = uint256(protocolBps) + settlerBps;
        require(shares <= SHARES_BPS_MAX, SettlementShareTooLarge(SHARES_BPS_MAX, shares));
        REGISTRY = registry;
        VAULT = vault;
        PROTOCOL = protocol;
        PROTOCOL_BPS = protocolBps;
        SETTLER_BPS = settlerBps;
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
        if (BatchId.unwrap(batch) != 0) _book(totals, tally);
    }

    /// @inheritdoc IReceiptSettlement
    function credit(EnclaveId enclave) external {
        _creditAlone(enclave);
    }

    function _book(Totals memory totals, Tally memory tally) private {
        totals.protocol = Units.wrap(Units.unwrap(totals.protocol) + tally.protocol);
        _totals = totals;
        if (tally.settler != 0) {
            settlerEarned[msg.sender] = Units.wrap(Units.unwrap(settlerEarned[msg.sender]) + tally.settler);
        }
    }

    /// Credits outside of a head; an enclave that may not settle any more gets nothing.
    function _creditAlone(EnclaveId enclave) private {
        if (!_maySettle(REGISTRY.stateOf(enclave))) return;
        Account memory account = _accounts[enclave];
        Tally memory tally;
        if (!_credit(account, tally)) return;
        _accounts[enclave] = account;
        emit Credited(enclave, account.credited);
        _book(_totals, tally);
    }

    function _settleHeads(SignedHead[] calldata heads, Totals memory totals, Tally memory tally)
        private
        returns (BatchId batch)
    {
        uint16[] memory standing = _standingOfHeads(heads);
        bytes32[] memory leaves = new bytes32[](heads.length);
        uint256 accepted = 0;
        batch = BatchId.wrap(totals.batches + 1);
        for (uint256 i = 0; i < heads.length; i++) {
            SignedHead calldata head = heads[i];
            HeadRefusal refusal = _reviewHead(head, standing[i]);
            if (refusal == HeadRefusal.None && head.kind == HeadKind.Earnings) refusal = _earn(head, tally);
            if (refusal != HeadRefusal.None) {
                emit HeadSkipped(head.enclave, head.size, refusal);
                // An exclusive settler keeps the money waiting, never the proof.
                if (refusal != HeadRefusal.SettlerExclusive) continue;
            }
            leaves[accepted++] = ReceiptHash.batchLeaf(head.enclave, head.size, head.root);
            Units fees = head.kind == HeadKind.Earnings ? head.fees : Units.wrap(0);
            emit HeadSettled(head.enclave, batch, head.size, head.root, fees);
        }
        if (accepted == 0) return BatchId.wrap(0);
        BatchRoot root = BatchRoot.wrap(MerkleLog.rootOf(MerkleLog.BATCH_NODE_TAG, leaves, accepted));
        totals.batches++;
        batchRoot[batch] = root;
        emit BatchSettled(batch, root, accepted, msg.sender);
    }

    /// Everything about a head that needs no account: its size, its enclave's standing, its signature.
    function _reviewHead(SignedHead calldata head, uint16 standing) private view returns (HeadRefusal) {
        EnclaveState state = EnclaveState(uint8(standing));
        if (state == EnclaveState.None || EnclaveRole(standing >> 8) != EnclaveRole.Gateway) {
            return HeadRefusal.UnknownEnclave;
        }
        if (!_maySettle(state)) return HeadRefusal.EnclaveEnded;
        if (head.size == 0 || head.size > type(uint56).max) return HeadRefusal.SizeOutOfRange;
        if (_signerOf(head) != EnclaveId.unwrap(head.enclave)) return HeadRefusal.BadSignature;
        return HeadRefusal.None;
    }

    /// Books a valid earnings head. Answers `None` also for an older one: its root is worth storing, its money is settled already.
    function _earn(SignedHead calldata head, Tally memory tally) private returns (HeadRefusal) {
        Account memory account = _accounts[head.enclave];
        uint64 fees = Units.unwrap(head.fees);
        uint64 earned = Units.unwrap(account.earned);
        if (head.size == account.size) return fees == earned ? HeadRefusal.Duplicate : HeadRefusal.Contradiction;
        if (head.size < account.size) return fees > earned ? HeadRefusal.Contradiction : HeadRefusal.None;
        if (fees < earned) return HeadRefusal.Contradiction;
        if (account.hasSettlerTerms && !_takesTurn(head.enclave)) return HeadRefusal.SettlerExclusive;
        // _reviewHead bounds the size by 2^56 - 1.
        account.size = uint56(head.size);
        account.earned = head.fees;
        _credit(account, tally);
        _accounts[head.enclave] = account;
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
        ClearingRefusal refusal = _reviewClearing(clearing);
        if (refusal != ClearingRefusal.None) {
            emit ClearingSkipped(clearing.keyset, EnclaveId.wrap(address(0)), refusal);
            return;
        }
        KeysetTotals memory totals = _keysets[clearing.keyset];
        uint64 left = Units.unwrap(clearing.captured) - Units.unwrap(totals.cleared);
        mapping(EnclaveId enclave => Units) storage cleared = clearedBy[clearing.keyset];
        Captured[] calldata lines = clearing.enclaves;
        for (uint256 i = 0; i < lines.length; i++) {
            uint64 added = _clearLine(cleared, lines[i], left);
            if (added == 0) emit ClearingSkipped(clearing.keyset, lines[i].enclave, ClearingRefusal.StaleLine);
            // _clearLine adds at most what is left.
            left -= added;
        }
        totals.issued = clearing.issued;
        totals.claimed = clearing.captured;
        totals.cleared = Units.wrap(Units.unwrap(clearing.captured) - left);
        _keysets[clearing.keyset] = totals;
        emit ClearingSettled(clearing.keyset, clearing.issued, clearing.captured, lines);
    }

    function _reviewClearing(SignedClearing calldata clearing) private view returns (ClearingRefusal) {
        ICreditVault.Keyset memory keyset = VAULT.keysetOf(clearing.keyset);
        address writer = EnclaveId.unwrap(keyset.writer);
        if (writer == address(0)) return ClearingRefusal.UnknownKeyset;
        if (!_maySettle(REGISTRY.stateOf(keyset.writer))) return ClearingRefusal.IssuerEnded;
        if (clearing.enclaves.length > CLEARING_LINES_MAX) return ClearingRefusal.OutOfBounds;
        (address signer,,) =
            ECDSA.tryRecover(_hashTypedDataV4(ReceiptHash.clearingHash(clearing)), clearing.r, clearing.vs);
        if (signer != writer) return ClearingRefusal.BadSignature;
        KeysetTotals storage totals = _keysets[clearing.keyset];
        uint64 issued = Units.unwrap(clearing.issued);
        uint64 captured = Units.unwrap(clearing.captured);
        bool inBounds = captured <= issued && issued <= Units.unwrap(keyset.deposited)
            && issued >= Units.unwrap(totals.issued) && captured >= Units.unwrap(totals.claimed);
        return inBounds ? ClearingRefusal.None : ClearingRefusal.OutOfBounds;
    }

    /// Books one line and answers how much it added; 0 when it is stale or adds more than is left of what the issuer claims in all.
    /// What is cleared for an enclave that never earns it waits for `sweepUnmatched`.
    function _clearLine(mapping(EnclaveId enclave => Units) storage cleared, Captured calldata line, uint64 left)
        private
        returns (uint64 added)
    {
        uint64 before = Units.unwrap(cleared[line.enclave]);
        uint64 captured = Units.unwrap(line.captured);
        if (captured <= before || captured - before > left) return 0;
        added = captured - before;
        cleared[line.enclave] = line.captured;
        Account storage account = _accounts[line.enclave];
        account.cleared = Units.wrap(Units.unwrap(account.cleared) + added);
    }

    /// Credits in memory what both sides agree on by now, and says whether that is more than before.
    function _credit(Account memory account, Tally memory tally) private view returns (bool) {
        uint64 agreed = Units.unwrap(account.earned) < Units.unwrap(account.cleared)
            ? Units.unwrap(account.earned)
            : Units.unwrap(account.cleared);
        uint64 before = Units.unwrap(account.credited);
        // Both sides only grow, so `agreed` never falls below what was credited.
        if (agreed <= before) return false;
        account.credited = Units.wrap(agreed);
        tally.protocol += FeeSplit.protocolShare(agreed, PROTOCOL_BPS) - FeeSplit.protocolShare(before, PROTOCOL_BPS);
        tally.settler += FeeSplit.settlerShare(agreed, SETTLER_BPS) - FeeSplit.settlerShare(before, SETTLER_BPS);
        return true;
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
        REGISTRY.markCompromised(enclave);
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
        _accounts[enclave].hasSettlerTerms = settler != address(0);
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
        payout.readyAt = uint40(block.timestamp) + THAW;
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

    // Sponsors and the insurance

    /// @inheritdoc IReceiptSettlement
    function bookSponsorship(EnclaveId enclave, Units amount) external {
        require(msg.sender == address(VAULT), SettlementNotVault(address(VAULT), msg.sender));
        IEnclaveRegistry.Enclave memory entry = REGISTRY.enclaveOf(enclave);
        require(
            entry.role == EnclaveRole.Gateway && REGISTRY.stateOf(enclave) == EnclaveState.Active,
            SettlementEnclaveCannotEarn(enclave)
        );
        Account memory account = _accounts[enclave];
        account.cleared = Units.wrap(Units.unwrap(account.cleared) + Units.unwrap(amount));
        emit Sponsored(enclave, amount);
        _accounts[enclave] = account;
    }

    /// @inheritdoc IReceiptSettlement
    function sweepUnmatched(EnclaveId enclave) external {
        EnclaveState state = REGISTRY.stateOf(enclave);
        bool isCompromised = state == EnclaveState.Compromised;
        require(isCompromised || state == EnclaveState.Closed, SettlementEnclaveNotEnded(enclave));
        Account storage account = _accounts[enclave];
        uint64 unmatched = Units.unwrap(account.cleared) - Units.unwrap(account.credited);
        account.cleared = account.credited;
        uint64 sponsored = Units.unwrap(VAULT.sponsoredFor(enclave));
        uint64 toSponsors = unmatched < sponsored ? unmatched : sponsored;
        uint64 toInsurance = unmatched - toSponsors;
        if (isCompromised) toInsurance += _forfeit(enclave);
        _totals.insurance = Units.wrap(Units.unwrap(_totals.insurance) + toInsurance);
        emit UnmatchedSwept(enclave, Units.wrap(toSponsors), Units.wrap(toInsurance));
        if (toSponsors != 0) VAULT.openReclaim(enclave, Units.wrap(toSponsors));
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
        return _accounts[enclave];
    }

    /// @inheritdoc IReceiptSettlement
    function operatorShareOf(EnclaveId enclave) public view returns (Units) {
        return Units.wrap(FeeSplit.operatorShare(Units.unwrap(_accounts[enclave].credited), PROTOCOL_BPS, SETTLER_BPS));
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

    function _signerOf(SignedHead calldata head) private view returns (address signer) {
        (signer,,) = ECDSA.tryRecover(_hashTypedDataV4(head.headHash()), head.r, head.vs);
    }

    function _maySettle(EnclaveState state) private pure returns (bool) {
        return state == EnclaveState.Active || state == EnclaveState.Retired;
    }

    function _requireUncompromised(EnclaveId enclave) private view {
        require(REGISTRY.stateOf(enclave) != EnclaveState.Compromised, SettlementEnclaveCompromised(enclave));
    }

    function _standingOfHeads(SignedHead[] calldata heads) private view returns (uint16[] memory) {
        EnclaveId[] memory ids = new EnclaveId[](heads.length);
        for (uint256 i = 0; i < heads.length; i++) {
            ids[i] = heads[i].enclave;
        }
        return REGISTRY.standingOf(ids);
    }
}

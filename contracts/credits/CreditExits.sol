// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {ICreditExits} from "../interfaces/ICreditExits.sol";
import {OpgTransfer} from "../libraries/OpgTransfer.sol";
import {ReceiptHash} from "../libraries/ReceiptHash.sol";
import {CreditId, KeysetId, Units} from "../types/Types.sol";
import {BlindSignatures} from "./BlindSignatures.sol";
import {Bls12381} from "./Bls12381.sol";
import {CreditHash} from "./CreditHash.sol";
import {CreditKeysets} from "./CreditKeysets.sol";
import {ExitWord, ExitWords} from "./ExitWord.sol";

/// @title CreditExits
/// The part of the vault that pays credits out. It needs no operator and nobody can stop it.
/// What limits a stolen issuer key: its keyset's own money, the daily cap, and the window in which a keyset's troubles are seen.
abstract contract CreditExits is CreditKeysets, ICreditExits {
    using BlindSignatures for BlindSignatures.Batch;
    using OpgTransfer for IERC20;

    /// How long anyone may show that a credit was spent.
    uint40 public constant CHALLENGE_WINDOW = 24 hours;
    /// Of a keyset's deposits, what may be opened in one day, in basis points; and what may be opened in any case, 1,000 OPG in units.
    uint256 public constant EXIT_CAP_BPS = 1_000;
    uint256 public constant EXIT_CAP_MIN = 1e9;

    bytes32 private constant EXIT_TYPEHASH = keccak256("Exit(bytes32 credit,address recipient)");

    mapping(CreditId credit => ExitWord) private _exits;

    /// @inheritdoc ICreditExits
    function openExits(
        KeysetId keyset,
        address recipient,
        bytes calldata keys,
        bytes calldata exponents,
        CreditExit[] calldata credits,
        bytes calldata signatures
    ) external {
        require(recipient != address(0), VaultZeroAddress());
        uint256 count = exponents.length;
        require(count != 0 && credits.length == count, VaultNoCredits());
        require(count <= CREDITS_MAX, VaultTooMany(CREDITS_MAX, count));
        require(
            signatures.length == count * Bls12381.G1_BYTES,
            VaultBytesLength(count * Bls12381.G1_BYTES, signatures.length)
        );
        Entry storage behind = _entryOf(keyset);
        require(block.timestamp < behind.exitUntil, VaultPhaseOver(behind.exitUntil));

        (uint256[] memory ends, uint256 units) = _groupsOf(keyset, keys, exponents);
        _countOpened(behind, units);
        BlindSignatures.Batch memory batch = BlindSignatures.start(count, keys, ends);
        uint40 readyAt = uint40(block.timestamp) + CHALLENGE_WINDOW;
        ExitWord opened = ExitWords.open(recipient, readyAt, behind.number);
        CreditId[] memory ids = _openEach(keyset, opened, exponents, credits, signatures, batch);
        batch.requireRight();
        emit ExitsOpened(keyset, recipient, readyAt, ids, exponents);
    }

    /// @inheritdoc ICreditExits
    function challengeExit(KeysetId keyset, address exitKey, bytes32 t) external {
        CreditId credit = CreditHash.creditId(keyset, exitKey, keccak256(abi.encodePacked(t)));
        ExitWord exit = _exits[credit];
        _requireOpen(credit, exit);
        _exits[credit] = exit.withState(ExitState.Cancelled);
        emit ExitCancelled(credit, t);
        // Else spent credits could use up the day of others.
        Entry storage behind = _keysets[keyset];
        if (_day(exit.readyAt() - CHALLENGE_WINDOW) == behind.exitDay) {
            // Counted there when it was opened.
            behind.exitsOpened -= uint64(1 << exit.exponent());
        }
    }

    /// @inheritdoc ICreditExits
    function finishExits(CreditId[] calldata credits) external nonReentrant {
        require(credits.length != 0, VaultNoCredits());
        ExitWord first = _exits[credits[0]];
        uint256 units = 0;
        for (uint256 i = 0; i < credits.length; i++) {
            ExitWord exit = _exits[credits[i]];
            _requireOpen(credits[i], exit);
            require(block.timestamp >= exit.readyAt(), VaultExitNotReady(exit.readyAt()));
            require(
                exit.recipient() == first.recipient() && exit.keyset() == first.keyset(),
                VaultExitsDiffer(credits[i])
            );
            _exits[credits[i]] = exit.withState(ExitState.Paid);
            units += 1 << exit.exponent();
        }
        KeysetId keyset = _keysetNumbered[first.keyset()];
        _requireCovered(keyset, _keysets[keyset], units);
        // It fits: what is covered is at most `deposited`.
        Units amount = Units.wrap(uint64(units));
        emit ExitsPaid(keyset, first.recipient(), amount, credits);
        _bookExited(keyset, amount);
        TOKEN.give(first.recipient(), amount);
    }

    // Reading

    /// @inheritdoc ICreditExits
    function exitOf(CreditId credit) external view returns (Exit memory) {
        ExitWord exit = _exits[credit];
        return Exit({
            recipient: exit.recipient(),
            readyAt: exit.readyAt(),
            exponent: exit.exponent(),
            keyset: exit.keyset(),
            state: exit.state()
        });
    }

    /// @inheritdoc ICreditExits
    function exitAllowance(KeysetId keyset) external view returns (Units) {
        (uint256 opened, uint256 cap) = _openedToday(_entryOf(keyset));
        // The cap falls when deposits are refunded. It fits: 10^9, or a part of 64 bits.
        return Units.wrap(opened < cap ? uint64(cap - opened) : 0);
    }

    /// @inheritdoc ICreditExits
    function creditId(KeysetId keyset, address exitKey, bytes32 hashT) external view returns (CreditId) {
        return CreditHash.creditId(keyset, exitKey, hashT);
    }

    // Internal

    /// Tells the settlement contract that exits were paid.
    function _bookExited(KeysetId keyset, Units amount) internal virtual;

    /// Books each credit's exit as `opened`, with its own exponent, and adds its signature to the batch.
    function _openEach(
        KeysetId keyset,
        ExitWord opened,
        bytes calldata exponents,
        CreditExit[] calldata credits,
        bytes calldata signatures,
        BlindSignatures.Batch memory batch
    ) private returns (CreditId[] memory ids) {
        ids = new CreditId[](credits.length);
        bytes32 domainSeparator = _domainSeparatorV4();
        address recipient = opened.recipient();
        for (uint256 i = 0; i < credits.length; i++) {
            CreditExit calldata credit = credits[i];
            address exitKey = credit.exitKey;
            CreditId id = CreditHash.creditId(keyset, exitKey, credit.hashT);
            ids[i] = id;
            bytes32 digest = MessageHashUtils.toTypedDataHash(
                domainSeparator, keccak256(abi.encode(EXIT_TYPEHASH, id, recipient))
            );
            address signer = ReceiptHash.recover(digest, credit.r, credit.vs);
            // A signature that is none recovers the zero address.
            require(signer != address(0) && signer == exitKey, VaultExitNotSigned(exitKey, signer));
            ExitWord known = _exits[id];
            require(ExitWord.unwrap(known) == 0, VaultExitIs(id, known.state()));
            _exits[id] = opened.withExponent(uint8(exponents[i]));
            CreditHash.writePoint(CreditId.unwrap(id), batch.add(i, signatures));
        }
    }

    function _requireOpen(CreditId credit, ExitWord exit) private pure {
        require(exit.state() == ExitState.Open, VaultExitIs(credit, exit.state()));
    }

    /// Counts what is opened, up to the cap of the day.
    function _countOpened(Entry storage behind, uint256 units) private {
        (uint256 opened, uint256 cap) = _openedToday(behind);
        require(opened + units <= cap, VaultExitCapReached(opened < cap ? cap - opened : 0, units));
        // It fits: at most 64 bits of the cap.
        behind.exitDay = _day(block.timestamp);
        behind.exitsOpened = uint64(opened + units);
    }

    function _openedToday(Entry storage behind) private view returns (uint256 opened, uint256 cap) {
        opened = behind.exitDay == _day(block.timestamp) ? behind.exitsOpened : 0;
        cap = Units.unwrap(behind.deposited) * EXIT_CAP_BPS / 10_000;
        if (cap < EXIT_CAP_MIN) cap = EXIT_CAP_MIN;
    }

    /// Days since the epoch. The 16 bits last until the year 2149, and then begin anew, which does no harm.
    function _day(uint256 time) private pure returns (uint16) {
        return uint16(time / 1 days);
    }
}

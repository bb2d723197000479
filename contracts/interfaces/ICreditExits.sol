// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CreditId, KeysetId, Units} from "../types/Types.sol";

/// @title ICreditExits
/// Credits paid out without anybody's help. Each credit names an exit key, whose signature over the recipient opens its exit, and a hash of
/// t, which is revealed when it is spent: so nobody who has seen a spent credit can exit it, and t, from anyone, shows that it was spent.
/// Never paused.
interface ICreditExits {
    enum ExitState {
        None,
        /// Waits for its challenge window to pass.
        Open,
        /// Shown to have been spent. For ever.
        Cancelled,
        /// Paid. For ever.
        Paid
    }

    /// Stored in one word (ExitWord).
    /// @param readyAt When it can be paid, in seconds.
    /// @param exponent The credit is worth 2^exponent units.
    /// @param keyset Number of its keyset.
    struct Exit {
        address recipient;
        uint40 readyAt;
        uint8 exponent;
        uint16 keyset;
        ExitState state;
    }

    /// One credit to be paid out. Its exponent and its issuer's signature are given beside it.
    /// @param exitKey Address of the key that may exit it.
    /// @param hashT keccak256 of t.
    /// @param r The exit key's signature of `Exit(bytes32 credit,address recipient)` (EIP-712), EIP-2098: r.
    /// @param vs Parity of y and s.
    struct CreditExit {
        address exitKey;
        bytes32 hashT;
        bytes32 r;
        bytes32 vs;
    }

    /// `exponents` as they were given.
    event ExitsOpened(
        KeysetId indexed keyset, address indexed recipient, uint40 readyAt, CreditId[] credits, bytes exponents
    );
    event ExitCancelled(CreditId indexed credit, bytes32 t);
    event ExitsPaid(KeysetId indexed keyset, address indexed recipient, Units amount, CreditId[] credits);

    error VaultNoCredits();
    error VaultExitIs(CreditId credit, ExitState actual);
    error VaultExitNotSigned(address expected, address actual);
    error VaultExitNotReady(uint40 readyAt);
    error VaultExitsDiffer(CreditId credit);
    error VaultExitCapReached(uint256 left, uint256 amount);

    /// Opens the exits of up to CREDITS_MAX credits of one keyset to one recipient, each worth 2^exponent units: `exponents` one byte each,
    /// ascending; `signatures` the issuer's (128 bytes each, EIP-2537); `keys` the keys used (256 bytes each, ascending). Anyone may call.
    function openExits(
        KeysetId keyset,
        address recipient,
        bytes calldata keys,
        bytes calldata exponents,
        CreditExit[] calldata credits,
        bytes calldata signatures
    ) external;

    /// Cancels the exit of a credit that was spent, as whoever knows t can show. Until it is paid; anyone may call.
    function challengeExit(KeysetId keyset, address exitKey, bytes32 t) external;

    /// Pays exits whose window has passed, all of one keyset and to one recipient. Anyone may call.
    function finishExits(CreditId[] calldata credits) external;

    function exitOf(CreditId credit) external view returns (Exit memory);
    /// Units whose exits can be opened today (days of 86,400 seconds since the epoch).
    function exitAllowance(KeysetId keyset) external view returns (Units);
    /// What an issuer signs for a credit of this vault.
    function creditId(KeysetId keyset, address exitKey, bytes32 hashT) external view returns (CreditId);
}

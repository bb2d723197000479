// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {KeysetId, Units} from "../types/Types.sol";

/// @title ICreditDeposits
/// Deposits buy credits: each is of one of three sizes and bound to a keyset and a claim key, a fresh address whose signature tells the issuer
/// which blinded points to sign. One deposit for each keyset and claim key, only while the keyset is in its first phase. What the
/// issuer does not answer is refunded to the payer.
interface ICreditDeposits {
    /// 1, 10 or 100 OPG: 10^6, 10^7 or 10^8 units. Few sizes, so that each hides among many.
    enum DepositSize {
        One,
        Ten,
        Hundred
    }

    enum DepositState {
        None,
        /// The issuer may answer it and the payer may ask it back.
        Open,
        /// The payer asked it back and the issuer may still show that it answered.
        RefundRequested,
        /// Blind signatures for all of it are on chain. For ever.
        Answered,
        /// Paid back. For ever.
        Refunded
    }

    /// One storage word.
    /// @param payer Who is refunded.
    /// @param depositedAt In seconds.
    /// @param requestedAt When the refund was asked for, in seconds; 0 if it was not.
    struct Deposit {
        address payer;
        uint40 depositedAt;
        uint40 requestedAt;
        DepositSize size;
        DepositState state;
    }

    event Deposited(KeysetId indexed keyset, address indexed claimKey, address indexed payer, Units amount);
    event RefundRequested(KeysetId indexed keyset, address indexed claimKey, uint40 answerUntil);
    /// `exponents` and `signatures` as they were given: what the holder of the claim key needs to make its credits.
    event DepositAnswered(KeysetId indexed keyset, address indexed claimKey, bytes exponents, bytes signatures);
    event Refunded(KeysetId indexed keyset, address indexed claimKey, address indexed payer, Units amount);
    event GuardianChanged(address indexed guardian);

    error VaultDepositExists(KeysetId keyset, address claimKey);
    error VaultDepositIs(DepositState actual);
    error VaultNotPayer(address expected, address actual);
    error VaultTooEarly(uint256 from);
    error VaultTooLate(uint256 until);
    error VaultOutputsWorth(uint256 expected, uint256 actual);
    error VaultIssueNotSigned(address expected, address actual);
    error VaultNotGuardian(address expected, address actual);

    // Five ways in. Each checks that exactly the size moved.

    /// From the caller, who has approved it.
    function deposit(KeysetId keyset, DepositSize size, address claimKey) external;

    /// From the caller, by an ERC-2612 permit. One that somebody else has submitted before does no harm: the allowance decides.
    function depositWithPermit(
        KeysetId keyset,
        DepositSize size,
        address claimKey,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// From `payer`, by its ERC-3009 authorisation `ReceiveWithAuthorization` to this contract, over exactly the size, with the nonce
    /// keccak256(abi.encode(keyset, claimKey)): whoever copies it can only make this very deposit. Anyone may call.
    function depositWithAuthorization(
        KeysetId keyset,
        DepositSize size,
        address claimKey,
        address payer,
        uint256 validAfter,
        uint256 validBefore,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// From `payer`, by its signature for Permit2 over exactly the size, with the witness `CreditDeposit(bytes32 keyset,address claimKey)`.
    /// Anyone may call.
    function depositWithPermit2(
        KeysetId keyset,
        DepositSize size,
        address claimKey,
        address payer,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// From the deposit box of this purchase, where a plain transfer has left it; `refundTo` becomes the payer. Anyone may call.
    function depositFromBox(KeysetId keyset, DepositSize size, address claimKey, address refundTo) external;

    /// Sends the caller all of one token that lies in the box with it as `refundTo`: what came twice, in a wrong amount, or too late.
    function emptyBox(KeysetId keyset, address claimKey, IERC20 token) external;

    /// Asks a deposit back: its payer only, from ANSWER_TIME after it on. The issuer then has REFUND_WINDOW to show its answer.
    function requestRefund(KeysetId keyset, address claimKey) external;

    /// Shows that a deposit is answered: blind signatures `signatures` for the blinded points `blinded` (128 bytes each, EIP-2537) in
    /// denominations of 2^exponent units, `exponents` one byte each, ascending, worth exactly the size; `keys` are the keys used (256
    /// bytes each, ascending). (r, vs) is the claim key's compact signature of `IssueRequest(bytes32 keyset,address claimKey,bytes32
    /// outputsHash)`, outputsHash = keccak256(exponents || blinded). Anyone may call.
    function answerDeposit(
        KeysetId keyset,
        address claimKey,
        bytes calldata keys,
        bytes calldata exponents,
        bytes calldata blinded,
        bytes calldata signatures,
        bytes32 r,
        bytes32 vs
    ) external;

    /// Pays back a deposit that was asked back and not answered in time. Anyone may call: it goes to the payer.
    function finishRefund(KeysetId keyset, address claimKey) external;

    /// Stops deposits, and nothing else. The guardian only.
    function pause() external;
    function unpause() external;
    /// Names the guardian. The owner only.
    function setGuardian(address guardian) external;

    function depositOf(KeysetId keyset, address claimKey) external view returns (Deposit memory);
    /// Where a plain transfer pays for this purchase and no other: the `payTo` of an x402 offer.
    function boxOf(KeysetId keyset, address claimKey, address refundTo) external view returns (address);
}

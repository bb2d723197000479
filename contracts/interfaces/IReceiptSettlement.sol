// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditVault} from "./ICreditVault.sol";
import {Captured, SignedClearing, SignedHead} from "../types/Receipt.sol";
import {BatchId, BatchRoot, EnclaveId, KeysetId, LogRoot, Units} from "../types/Types.sol";

/// @title IReceiptSettlement
/// Stores roots over the logs of enclaves, credits what two enclaves agree on, and pays it out after a thaw.
/// Units: fees in units of 10^12 base units of OPG; time in seconds; shares in basis points of 10_000.
/// Safety assumes: an enclave key signs only inside its enclave; the vault's token moves exactly the amount asked.
/// Liveness assumes: someone submits heads; the token does not freeze the vault.
interface IReceiptSettlement {
    /// Why a head was not accepted, or was accepted without moving money.
    enum HeadRefusal {
        /// Accepted in full.
        None,
        BadSignature,
        /// Never registered, or not a gateway.
        UnknownEnclave,
        /// Closed or compromised.
        EnclaveEnded,
        /// A log of no leaves, or of more than 2^40 - 1.
        SizeOutOfRange,
        /// This very size is settled already.
        Duplicate,
        /// Its fees contradict what is settled: evidence for `reportContradiction`.
        Contradiction,
        /// The operator named another settler whose exclusive time is not over. The root is stored all the same.
        SettlerExclusive
    }

    /// Why a clearing, or one line of it, was not accepted.
    enum ClearingRefusal {
        None,
        BadSignature,
        /// No such keyset in the vault.
        UnknownKeyset,
        /// The keyset's issuer is not an enclave that may still settle.
        IssuerEnded,
        /// It claims more captured than issued or more issued than deposited, or what exits have left does not cover it, or it has too
        /// many lines.
        OutOfBounds,
        /// One line: not more than what is settled, or more than the issuer claims in all.
        StaleLine
    }

    /// What is settled of one enclave. All cumulative since it booted.
    /// @param size Size of the log at the newest settled earnings head.
    /// @param hasSettlerTerms Whether its operator named a settler.
    /// @param earned What its own newest head says it earned.
    /// @param cleared What issuers say was spent there.
    /// @param credited The smaller of both: what may be paid.
    struct Account {
        uint40 size;
        bool hasSettlerTerms;
        Units earned;
        Units cleared;
        Units credited;
    }

    /// @param issued Units issued under the keyset: the largest of its clearings so far.
    /// @param claimed Units the issuer says were captured in all, likewise.
    /// @param cleared Sum of all accepted lines: never above `claimed`.
    /// @param exited Units that the vault has paid for exits.
    struct KeysetTotals {
        Units issued;
        Units claimed;
        Units cleared;
        Units exited;
    }

    /// A payout under way. What is thawing can be drawn from `readyAt` on.
    struct Payout {
        Units drawn;
        Units thawing;
        uint40 readyAt;
    }

    /// @param settler Who alone is paid for settling this enclave within `exclusiveSeconds` of its last paid settlement.
    struct SettlerTerms {
        address settler;
        uint16 exclusiveSeconds;
        uint40 lastPaidAt;
    }

    event BatchSettled(BatchId indexed batch, BatchRoot root, uint256 heads, address indexed settler);
    /// `fees` is zero for a log head. Events of one batch come in the order of its leaves.
    event HeadSettled(EnclaveId indexed enclave, BatchId batch, uint64 size, LogRoot root, Units fees);
    event HeadSkipped(EnclaveId indexed enclave, uint64 size, HeadRefusal reason);
    /// `enclaves` as signed; lines that were not accepted have a `ClearingSkipped` of their own before it.
    event ClearingSettled(KeysetId indexed keyset, Units issued, Units captured, Captured[] enclaves);
    event ClearingSkipped(KeysetId indexed keyset, EnclaveId indexed enclave, ClearingRefusal reason);
    /// Credited without a new head: by `credit`, `thaw` or `sweepUnmatched`. With a head, credited is the smaller of earned and cleared then.
    event Credited(EnclaveId indexed enclave, Units credited);
    event SettlerNamed(EnclaveId indexed enclave, address indexed settler, uint16 exclusiveSeconds);
    event ThawStarted(address indexed account, EnclaveId indexed enclave, Units amount, uint40 readyAt);
    event Withdrawn(address indexed account, EnclaveId indexed enclave, Units amount);
    event Insured(Units amount);
    event Exited(KeysetId indexed keyset, Units amount);
    event UnmatchedSwept(EnclaveId indexed enclave, Units unmatched, Units forfeited);
    event EquivocationProven(EnclaveId indexed enclave, address indexed reporter);

    error SettlementZeroAddress();
    error SettlementShareTooLarge(uint256 max, uint256 actual);
    error SettlementThawTooLong(uint256 max, uint256 actual);
    error SettlementTooMany(uint256 max, uint256 actual);
    error SettlementNotOperator(address expected, address actual);
    error SettlementNotVault(address expected, address actual);
    error SettlementExclusiveTooLong(uint256 max, uint256 actual);
    error SettlementEnclaveNotEnded(EnclaveId enclave);
    error SettlementEnclaveCompromised(EnclaveId enclave);
    error SettlementNothingToThaw();
    error SettlementStillThawing(uint40 readyAt);
    error SettlementNoContradiction();
    error SettlementHeadNotSigned(EnclaveId expected, address actual);
    error SettlementPathMismatch(LogRoot expected, LogRoot actual);
    error SettlementNodeIncomplete(uint64 size, uint8 level, uint64 index);

    /// Stores one root over every valid head and credits what heads and clearings agree on. Anyone may call; nothing here
    /// reverts for what it is given, only for how much: what is stale, duplicate or wrong is skipped with a reason.
    /// Answers 0 when no head was accepted; then nothing is stored for heads.
    function settle(SignedHead[] calldata heads, SignedClearing[] calldata clearings) external returns (BatchId batch);

    /// Credits what an enclave has earned and issuers have cleared since its last head. Anyone may call and is paid as its settler,
    /// except within the exclusive time of the settler that its operator named. Does nothing for a compromised enclave.
    function credit(EnclaveId enclave) external;

    /// Ends an enclave that signed two heads that cannot both be true: one size with different roots or fees, or a larger log
    /// with smaller fees. Reverts with `SettlementNoContradiction` when they can.
    function reportContradiction(SignedHead calldata a, SignedHead calldata b) external;

    /// Ends an enclave that signed two heads which hold different nodes at one place: at `index` of the row `level` above the leaves,
    /// below which both trees are complete.
    function reportFork(
        SignedHead calldata a,
        SignedHead calldata b,
        uint8 level,
        uint64 index,
        bytes32[2] calldata nodes,
        bytes32[][2] calldata paths
    ) external;

    /// Names who alone is paid for settling `enclave` until `exclusiveSeconds` after its last paid settlement. Its operator only;
    /// the zero address takes it back.
    function nameSettler(EnclaveId enclave, address settler, uint16 exclusiveSeconds) external;

    /// Starts the thaw of all that the enclave earned and its operator has not drawn. Anyone may call.
    function thaw(EnclaveId enclave) external;
    /// Pays the operator what has thawed. Anyone may call: it goes to the operator.
    function withdraw(EnclaveId enclave) external;
    /// The same for the caller's fees as a settler.
    function thawSettler() external;
    function withdrawSettler() external;
    /// The same for the protocol's share; `withdrawProtocol` pays PROTOCOL.
    function thawProtocol() external;
    function withdrawProtocol() external;


    /// Adds what the vault was paid for the insurance. The vault only.
    function bookInsurance(Units amount) external;
    /// Books what exits of a keyset's credits were paid: clearings cannot claim it any more. The vault only.
    function bookExited(KeysetId keyset, Units amount) external;
    /// Credits what an ended enclave was cleared for and earned, and sweeps what it never earned to the insurance. Of a compromised enclave, what its
    /// operator has not drawn is forfeited to the insurance too. Anyone may call.
    function sweepUnmatched(EnclaveId enclave) external;

    /// Units that a keyset's clearings booked for an enclave so far.
    function clearedBy(KeysetId keyset, EnclaveId enclave) external view returns (Units);
    /// What is booked under a keyset so far; all zero for one that is not the vault's.
    function keysetTotals(KeysetId keyset) external view returns (KeysetTotals memory);
    /// What is settled of an enclave so far; all zero for one that settled nothing.
    function accountOf(EnclaveId enclave) external view returns (Account memory);
    /// The operator's own part of `credited`, cumulative.
    function operatorShareOf(EnclaveId enclave) external view returns (Units);
    /// The root that a proof must lead to, zero for a batch that is not there. Batches count from 1 and are never changed.
    function batchRoot(BatchId batch) external view returns (BatchRoot);
    /// The newest batch, 0 before the first.
    function batchCount() external view returns (uint64);
    /// EIP-712 digest of a head, by its kind: what its enclave signed.
    function headDigest(SignedHead calldata head) external view returns (bytes32);
    /// Where deposits lie, and what pays.
    function VAULT() external view returns (ICreditVault);
}

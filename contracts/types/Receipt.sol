// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {BatchId, ClaimSource, EnclaveId, KeysetId, LogRoot, Outcome, Units} from "./Types.sol";

/// The half of a receipt that a proof reveals. Commitments are made as in `ReceiptHash.commitment`.
/// @param version 1.
/// @param enclave The enclave that answered.
/// @param model keccak256 of the model's public name in UTF-8.
/// @param source Who vouches for the model.
/// @param origin keccak256 of the TLS origin's host name for `Proxied`, zero otherwise.
/// @param request Commitment to the exact bytes of the inner request's body.
/// @param output Commitment to the UTF-8 content of choice 0.
/// @param nonce Commitment to the nonce the client sent; to no bytes when it sent none.
/// @param outcome How the answer ended.
struct PublicReceipt {
    uint16 version;
    EnclaveId enclave;
    bytes32 model;
    ClaimSource source;
    bytes32 origin;
    bytes32 request;
    bytes32 output;
    bytes32 nonce;
    Outcome outcome;
}

/// Whether a head moves money.
enum HeadKind {
    /// Proves every receipt before it. Given to clients.
    Log,
    /// Also states what the enclave has earned since it booted. Made at ticks, given to the operator.
    Earnings
}

/// An enclave's signature over its whole log so far, `LogHead` or `EarningsHead` in the typed data.
/// @param fees Cumulative fees since boot; zero and unsigned for `Log`.
/// @param r Signature, EIP-2098: r.
/// @param vs Signature, EIP-2098: parity of y and s.
struct SignedHead {
    EnclaveId enclave;
    HeadKind kind;
    uint64 size;
    LogRoot root;
    Units fees;
    bytes32 r;
    bytes32 vs;
}

/// What one enclave has captured under one keyset, cumulative.
struct Captured {
    EnclaveId enclave;
    Units captured;
}

/// An issuer's statement of what was spent under one keyset.
/// @param issued Units issued under the keyset so far.
/// @param captured Units captured by all enclaves under the keyset so far; an upper bound of what is listed here and before.
/// @param enclaves The enclaves whose total changed, each with its new cumulative total.
struct SignedClearing {
    KeysetId keyset;
    Units issued;
    Units captured;
    Captured[] enclaves;
    bytes32 r;
    bytes32 vs;
}

/// Everything a contract needs to believe that a receipt settled.
/// @param privateHash Hash of the half of the receipt that stays with the client.
/// @param index Position of the leaf in the log, from 0.
/// @param size Size of the log at the settled head.
/// @param logPath RFC 9162 inclusion path from the leaf to the log's root, lowest first.
/// @param batch The batch that stored the head.
/// @param batchIndex Position of the head in the batch, from 0.
/// @param batchSize Heads in the batch.
/// @param batchPath Inclusion path from the head to the batch root, lowest first.
struct SettledProof {
    PublicReceipt receipt;
    bytes32 privateHash;
    uint64 index;
    uint64 size;
    bytes32[] logPath;
    BatchId batch;
    uint64 batchIndex;
    uint64 batchSize;
    bytes32[] batchPath;
}

/// What can be shown before settlement: the enclave's signed head and the path to it.
struct AttestedProof {
    PublicReceipt receipt;
    bytes32 privateHash;
    uint64 index;
    bytes32[] logPath;
    SignedHead head;
}

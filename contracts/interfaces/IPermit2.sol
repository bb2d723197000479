// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title IPermit2
/// The one call of Uniswap's Permit2 (SignatureTransfer) that deposits use. It is at 0x000000000022D473030F116dDEE9F6B43aC78BA3 on every chain.
interface IPermit2 {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    /// Moves tokens of `owner` to `transferDetails.to` by its signature, which covers the caller of this function and `witness` too.
    /// `witnessTypeString` ends the type string: "<Witness> witness)" and the types it refers to, in alphabetical order.
    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}

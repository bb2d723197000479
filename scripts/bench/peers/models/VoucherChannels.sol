// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelToken} from "./ModelToken.sol";

/// @title VoucherChannels
/// What x402's `batch-settlement` costs on EVM chains, as a model: unidirectional channels, cumulative vouchers signed by the payer, claims that only
/// book, and one sweep per receiver. Written from the scheme's public specification (x402-foundation/x402,
/// specs/schemes/batch-settlement/scheme_batch_settlement_evm.md). Not their code, not for use: deposits are stood in for by `open`.
contract VoucherChannels {
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }

    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    struct VoucherClaim {
        Voucher voucher;
        bytes signature;
        uint128 totalClaimed;
    }

    struct Channel {
        uint128 balance;
        uint128 totalClaimed;
    }

    struct Receiver {
        uint128 totalClaimed;
        uint128 totalSettled;
    }

    bytes32 private constant CONFIG_TYPE = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 private constant VOUCHER_TYPE = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 private immutable DOMAIN;

    mapping(bytes32 channelId => Channel) public channels;
    mapping(address receiver => mapping(address token => Receiver)) public receivers;
    bool private transient _entered;

    event Claimed(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 totalClaimed);
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);

    modifier once() {
        require(!_entered, "entered");
        _entered = true;
        _;
        _entered = false;
    }

    constructor() {
        DOMAIN = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("x402 Batch Settlement"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
    }

    /// Stands in for a deposit: the money must be here already.
    function open(ChannelConfig calldata config, uint128 amount) external {
        channels[channelIdOf(config)].balance += amount;
    }

    function claim(VoucherClaim[] calldata claims) external once {
        for (uint256 i = 0; i < claims.length; i++) _claim(claims[i]);
    }

    function settle(address receiver, address token) external once {
        Receiver storage account = receivers[receiver][token];
        uint128 amount = account.totalClaimed - account.totalSettled;
        if (amount == 0) return;
        account.totalSettled = account.totalClaimed;
        require(ModelToken(token).transfer(receiver, amount), "transfer");
        emit Settled(receiver, token, msg.sender, amount);
    }

    function channelIdOf(ChannelConfig calldata config) public view returns (bytes32) {
        return _digest(keccak256(abi.encode(CONFIG_TYPE, config)));
    }

    function voucherDigest(bytes32 channelId, uint128 maxClaimableAmount) public view returns (bytes32) {
        return _digest(keccak256(abi.encode(VOUCHER_TYPE, channelId, maxClaimableAmount)));
    }

    function _claim(VoucherClaim calldata row) private {
        ChannelConfig calldata config = row.voucher.channel;
        require(msg.sender == config.receiver || msg.sender == config.receiverAuthorizer, "sender");
        bytes32 id = channelIdOf(config);
        Channel storage channel = channels[id];
        uint128 before = channel.totalClaimed;
        require(row.totalClaimed > before && row.totalClaimed <= row.voucher.maxClaimableAmount, "amount");
        require(row.totalClaimed <= channel.balance, "balance");
        // A wallet without an authorizer of its own signs itself, and might be a contract: the code is looked at first.
        address signer = config.payerAuthorizer;
        if (signer == address(0)) {
            signer = config.payer;
            require(signer.code.length == 0, "contract wallets are not modelled");
        }
        require(_recover(voucherDigest(id, row.voucher.maxClaimableAmount), row.signature) == signer, "signature");
        uint128 amount = row.totalClaimed - before;
        channel.totalClaimed = row.totalClaimed;
        receivers[config.receiver][config.token].totalClaimed += amount;
        emit Claimed(id, msg.sender, amount, row.totalClaimed);
    }

    function _digest(bytes32 hash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", DOMAIN, hash));
    }

    function _recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        require(signature.length == 65, "length");
        return ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelToken} from "./ModelToken.sol";

/// @title RavCollector, VoucherEscrow, SplitPayments, Provisions, DataService
/// What collecting a RAV with The Graph's GraphTally costs, as a model: a cumulative voucher per (data service, collection, receiver, payer), an escrow
/// account per (payer, collector, receiver), and a split into protocol, data service, delegators and receiver. Written from the published interfaces
/// (graphprotocol/contracts, packages/interfaces/contracts/horizon: IGraphTallyCollector, IPaymentsEscrow, IGraphPayments). Not their code, not
/// for use: `Provisions` and signers are stood in for by what is read of them.
contract Provisions {
    mapping(address provider => mapping(address dataService => uint256 tokens)) public provisionOf;
    mapping(address provider => mapping(address dataService => uint256 shares)) public delegationOf;
    mapping(address provider => mapping(address dataService => uint256 cut)) public feeCutOf;

    function provision(address provider, address dataService) external {
        provisionOf[provider][dataService] = 1;
    }
}

contract SplitPayments {
    uint256 private constant PPM = 1_000_000;
    uint256 private constant PROTOCOL_CUT = 10_000;
    ModelToken private immutable TOKEN;
    Provisions private immutable PROVISIONS;

    event PaymentSplit(
        uint8 indexed paymentType,
        address indexed payer,
        address receiver,
        address indexed dataService,
        uint256 tokens,
        uint256 tokensProtocol,
        uint256 tokensDataService,
        uint256 tokensDelegators,
        uint256 tokensReceiver,
        address destination
    );

    constructor(ModelToken token, Provisions provisions) {
        TOKEN = token;
        PROVISIONS = provisions;
    }

    function collect(
        uint8 paymentType,
        address receiver,
        uint256 tokens,
        address dataService,
        uint256 dataServiceCut,
        address destination
    ) external {
        require(TOKEN.transferFrom(msg.sender, address(this), tokens), "pull");
        uint256 protocol = _cutRoundedUp(tokens, PROTOCOL_CUT);
        uint256 forService = _cutRoundedUp(tokens - protocol, dataServiceCut);
        uint256 rest = tokens - protocol - forService;
        uint256 forDelegators = 0;
        if (PROVISIONS.delegationOf(receiver, dataService) != 0) {
            forDelegators = _cutRoundedUp(rest, PROVISIONS.feeCutOf(receiver, dataService));
        }
        rest -= forDelegators;
        TOKEN.burn(protocol);
        require(TOKEN.transfer(dataService, forService), "service");
        require(TOKEN.transfer(destination, rest), "receiver");
        emit PaymentSplit(
            paymentType,
            msg.sender,
            receiver,
            dataService,
            tokens,
            protocol,
            forService,
            forDelegators,
            rest,
            destination
        );
    }

    function _cutRoundedUp(uint256 tokens, uint256 ppm) private pure returns (uint256) {
        return (tokens * ppm + PPM - 1) / PPM;
    }
}

contract VoucherEscrow {
    struct EscrowAccount {
        uint256 balance;
        uint256 tokensThawing;
        uint256 thawEndTimestamp;
    }

    ModelToken private immutable TOKEN;
    SplitPayments private immutable PAYMENTS;
    bool private _paused;
    mapping(address payer => mapping(address collector => mapping(address receiver => EscrowAccount))) public accounts;

    event EscrowCollected(
        uint8 indexed paymentType,
        address indexed payer,
        address indexed collector,
        address receiver,
        uint256 tokens,
        address destination
    );

    constructor(ModelToken token, SplitPayments payments) {
        TOKEN = token;
        PAYMENTS = payments;
    }

    /// Stands in for a deposit: the money must be here already.
    function open(address payer, address collector, address receiver, uint256 tokens) external {
        accounts[payer][collector][receiver].balance += tokens;
    }

    function collect(
        uint8 paymentType,
        address payer,
        address receiver,
        uint256 tokens,
        address dataService,
        uint256 dataServiceCut,
        address destination
    ) external {
        require(!_paused, "paused");
        EscrowAccount storage account = accounts[payer][msg.sender][receiver];
        require(account.balance >= tokens, "balance");
        account.balance -= tokens;
        // What thaws stays collectible, and is never more than what is there.
        if (account.tokensThawing > account.balance) account.tokensThawing = account.balance;
        uint256 before = TOKEN.balanceOf(address(this));
        require(TOKEN.approve(address(PAYMENTS), tokens), "approve");
        PAYMENTS.collect(paymentType, receiver, tokens, dataService, dataServiceCut, destination);
        require(before == TOKEN.balanceOf(address(this)) + tokens, "inconsistent");
        emit EscrowCollected(paymentType, payer, msg.sender, receiver, tokens, destination);
    }
}

contract RavCollector {
    struct ReceiptAggregateVoucher {
        bytes32 collectionId;
        address payer;
        address serviceProvider;
        address dataService;
        uint64 timestampNs;
        uint128 valueAggregate;
        bytes metadata;
    }

    struct SignedRAV {
        ReceiptAggregateVoucher rav;
        bytes signature;
    }

    struct Authorization {
        address authorizer;
        uint256 thawEndTimestamp;
        bool revoked;
    }

    bytes32 private constant RAV_TYPE = keccak256(
        "ReceiptAggregateVoucher(bytes32 collectionId,address payer,address serviceProvider,address dataService,uint64 timestampNs,uint128 valueAggregate,bytes metadata)"
    );
    bytes32 private immutable DOMAIN;
    VoucherEscrow private immutable ESCROW;
    Provisions private immutable PROVISIONS;
    mapping(address signer => Authorization) public authorizations;
    mapping(address dataService => mapping(bytes32 collectionId => mapping(address receiver => mapping(address payer => uint256 tokens))))
        public tokensCollected;

    event PaymentCollected(
        uint8 paymentType,
        bytes32 indexed collectionId,
        address indexed payer,
        address receiver,
        address indexed dataService,
        uint256 tokens
    );
    event RAVCollected(
        bytes32 indexed collectionId,
        address indexed payer,
        address serviceProvider,
        address indexed dataService,
        uint64 timestampNs,
        uint128 valueAggregate,
        bytes metadata,
        bytes signature
    );

    constructor(VoucherEscrow escrow, Provisions provisions) {
        ESCROW = escrow;
        PROVISIONS = provisions;
        DOMAIN = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("GraphTallyCollector"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
    }

    /// Stands in for a payer's signed authorization.
    function authorize(address payer, address signer) external {
        authorizations[signer].authorizer = payer;
    }

    function collect(uint8 paymentType, bytes calldata data) external returns (uint256 tokens) {
        (SignedRAV memory signed, uint256 cut, address destination) = abi.decode(data, (SignedRAV, uint256, address));
        ReceiptAggregateVoucher memory rav = signed.rav;
        require(rav.dataService == msg.sender, "caller");
        Authorization storage authorization = authorizations[_signerOf(signed)];
        require(authorization.authorizer == rav.payer && !authorization.revoked, "signer");
        require(PROVISIONS.provisionOf(rav.serviceProvider, rav.dataService) != 0, "provision");
        mapping(address payer => uint256 tokens) storage collected = tokensCollected[rav.dataService][
            rav.collectionId
        ][rav.serviceProvider];
        uint256 before = collected[rav.payer];
        require(rav.valueAggregate > before, "aggregate");
        tokens = rav.valueAggregate - before;
        collected[rav.payer] = rav.valueAggregate;
        ESCROW.collect(paymentType, rav.payer, rav.serviceProvider, tokens, rav.dataService, cut, destination);
        emit PaymentCollected(
            paymentType,
            rav.collectionId,
            rav.payer,
            rav.serviceProvider,
            rav.dataService,
            tokens
        );
        emit RAVCollected(
            rav.collectionId,
            rav.payer,
            rav.serviceProvider,
            rav.dataService,
            rav.timestampNs,
            rav.valueAggregate,
            rav.metadata,
            signed.signature
        );
    }

    function digestOf(ReceiptAggregateVoucher memory rav) public view returns (bytes32) {
        bytes32 hash = keccak256(
            abi.encode(
                RAV_TYPE,
                rav.collectionId,
                rav.payer,
                rav.serviceProvider,
                rav.dataService,
                rav.timestampNs,
                rav.valueAggregate,
                keccak256(rav.metadata)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", DOMAIN, hash));
    }

    function _signerOf(SignedRAV memory signed) private view returns (address) {
        bytes memory signature = signed.signature;
        require(signature.length == 65, "length");
        bytes32 r;
        bytes32 s;
        // The three parts of 65 bytes, as they stand in memory behind the length.
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        return ecrecover(digestOf(signed.rav), uint8(signature[64]), r, s);
    }
}

contract DataService {
    RavCollector private immutable COLLECTOR;

    constructor(RavCollector collector) {
        COLLECTOR = collector;
    }

    /// Collects, each element as `RavCollector.collect` takes it. What else a data service does costs more.
    function collect(bytes[] calldata vouchers) external {
        for (uint256 i = 0; i < vouchers.length; i++) COLLECTOR.collect(0, vouchers[i]);
    }
}

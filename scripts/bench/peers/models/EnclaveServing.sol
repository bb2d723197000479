// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title EnclaveServing, FundLedger
/// What 0G's `settleFeesWithTEE` costs, as a model: an account per user and provider, a fee per user signed by the provider's enclave, a status per
/// entry instead of a revert, and native money that a second contract holds; behind a beacon's proxy (Proxies.sol). Written from its public interface and documentation
/// (0gfoundation/0g-serving-contract, doc/settlement.md, and the description in the research for this repository). Not their code, not for use.
contract FundLedger {
    struct Ledger {
        address user;
        uint256 availableBalance;
        uint256 totalBalance;
    }

    address private immutable SERVING;
    mapping(address user => Ledger) public ledgers;
    mapping(address user => uint256 place) private _places;
    uint256 private _count;

    event LedgerUpdated(address indexed user, uint256 totalBalance);

    constructor(address serving) {
        SERVING = serving;
    }

    function fund(address user) external payable {
        if (_places[user] == 0) _places[user] = ++_count;
        Ledger storage ledger = ledgers[user];
        ledger.user = user;
        ledger.totalBalance += msg.value;
    }

    /// Pays `amount` of what the user put aside for this service to the provider.
    function spend(address user, address payable provider, uint256 amount) external {
        require(msg.sender == SERVING, "service");
        require(_places[user] != 0, "user");
        Ledger storage ledger = ledgers[user];
        require(ledger.totalBalance >= ledger.availableBalance + amount, "balance");
        ledger.totalBalance -= amount;
        (bool paid, ) = provider.call{value: amount}("");
        require(paid, "transfer");
        emit LedgerUpdated(user, ledger.totalBalance);
    }
}

contract EnclaveServing {
    enum Status {
        Success,
        Partial,
        ProviderMismatch,
        NoSigner,
        InvalidNonce,
        InvalidSignature
    }

    struct TEESettlementData {
        address user;
        address provider;
        uint256 totalFee;
        bytes32 requestsHash;
        uint256 nonce;
        bytes signature;
    }

    struct Account {
        address user;
        address provider;
        uint256 nonce;
        uint256 balance;
        uint256 pendingRefund;
        uint256 lockedAt;
        bool acknowledged;
    }

    struct Service {
        address provider;
        uint256 stake;
        string url;
        address signer;
        bool acknowledged;
    }

    uint256 private constant ENTRIES_MAX = 50;
    bytes32 private constant SETTLEMENT_TYPE = keccak256(
        "TEESettlement(bytes32 requestsHash,uint256 nonce,address provider,address user,uint256 totalFee)"
    );

    FundLedger public ledger;
    mapping(bytes32 key => Account) public accounts;
    mapping(bytes32 key => uint256 place) private _places;
    mapping(address provider => Service) public services;
    uint256 private _count;

    event BalanceUpdated(address indexed user, address indexed provider, uint256 balance, uint256 pendingRefund);
    event TEESettlementResult(address indexed user, Status status, uint256 unsettled);

    function initialize() external {
        require(address(ledger) == address(0), "initialized");
        ledger = new FundLedger(address(this));
    }

    function serve(address signer) external {
        services[msg.sender] = Service(msg.sender, 1, "https://provider.example", signer, true);
    }

    function open(address user, address provider, uint256 balance) external {
        bytes32 key = keyOf(user, provider);
        _places[key] = ++_count;
        accounts[key] = Account(user, provider, 1, balance, 0, block.timestamp, true);
    }

    function settleFeesWithTEE(TEESettlementData[] calldata settlements) external returns (Status[] memory statuses) {
        require(settlements.length <= ENTRIES_MAX, "entries");
        Service storage service = services[msg.sender];
        require(service.provider == msg.sender && service.stake != 0, "service");
        address signer = service.acknowledged ? service.signer : address(0);
        statuses = new Status[](settlements.length);
        for (uint256 i = 0; i < settlements.length; i++) {
            statuses[i] = _settle(settlements[i], signer);
            emit TEESettlementResult(settlements[i].user, statuses[i], 0);
        }
    }

    /// The domain is hashed in each call, as a chain may fork.
    function digestOf(TEESettlementData calldata row) public view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("0G Inference Serving"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
        bytes32 hash = keccak256(
            abi.encode(SETTLEMENT_TYPE, row.requestsHash, row.nonce, row.provider, row.user, row.totalFee)
        );
        return keccak256(abi.encodePacked(hex"1901", domain, hash));
    }

    function keyOf(address user, address provider) public pure returns (bytes32) {
        return keccak256(abi.encode(user, provider));
    }

    function _settle(TEESettlementData calldata row, address signer) private returns (Status) {
        if (row.provider != msg.sender) return Status.ProviderMismatch;
        bytes32 key = keyOf(row.user, row.provider);
        if (_places[key] == 0) return Status.ProviderMismatch;
        Account storage account = accounts[key];
        if (signer == address(0) || !account.acknowledged) return Status.NoSigner;
        if (row.nonce <= account.nonce) return Status.InvalidNonce;
        bytes calldata signature = row.signature;
        if (ecrecover(digestOf(row), uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64])) != signer) {
            return Status.InvalidSignature;
        }
        account.nonce = row.nonce;
        if (account.balance < row.totalFee + account.pendingRefund) return Status.Partial;
        account.balance -= row.totalFee;
        account.lockedAt = block.timestamp;
        ledger.spend(row.user, payable(row.provider), row.totalFee);
        emit BalanceUpdated(row.user, row.provider, account.balance, account.pendingRefund);
        return Status.Success;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ICreditDeposits} from "../interfaces/ICreditDeposits.sol";
import {IPermit2} from "../interfaces/IPermit2.sol";
import {OpgTransfer} from "../libraries/OpgTransfer.sol";
import {ReceiptHash} from "../libraries/ReceiptHash.sol";
import {KeysetId, Units} from "../types/Types.sol";
import {BlindSignatures} from "./BlindSignatures.sol";
import {Bls12381} from "./Bls12381.sol";
import {CreditKeysets} from "./CreditKeysets.sol";
import {DepositBox} from "./DepositBox.sol";

/// @title CreditDeposits
/// The part of the vault that takes deposits, hears the issuer's answers, and refunds.
/// The guardian stops deposits, and nothing else.
abstract contract CreditDeposits is CreditKeysets, ICreditDeposits, Pausable {
    using BlindSignatures for BlindSignatures.Batch;
    using OpgTransfer for IERC20;

    /// An issuer waits for finality before it answers; a payer waits this long before it doubts.
    uint40 public constant ANSWER_TIME = 1 hours;
    /// How long the issuer may show its answer to a deposit that was asked back.
    uint40 public constant REFUND_WINDOW = 24 hours;

    IPermit2 public constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    bytes32 private constant CREDIT_DEPOSIT_TYPEHASH = keccak256("CreditDeposit(bytes32 keyset,address claimKey)");
    string private constant WITNESS_TYPE =
        "CreditDeposit witness)CreditDeposit(bytes32 keyset,address claimKey)TokenPermissions(address token,uint256 amount)";
    bytes32 private constant ISSUE_REQUEST_TYPEHASH =
        keccak256("IssueRequest(bytes32 keyset,address claimKey,bytes32 outputsHash)");

    /// What every box is a clone of.
    address public immutable BOX;

    address public guardian;
    mapping(KeysetId keyset => mapping(address claimKey => Deposit)) private _deposits;

    constructor(address guardian_) {
        BOX = address(new DepositBox());
        _setGuardian(guardian_);
    }

    // Five ways in: all record first and take then.

    /// @inheritdoc ICreditDeposits
    function deposit(KeysetId keyset, DepositSize size, address claimKey) external nonReentrant {
        TOKEN.take(_record(keyset, size, claimKey, msg.sender));
    }

    /// @inheritdoc ICreditDeposits
    function depositWithPermit(
        KeysetId keyset,
        DepositSize size,
        address claimKey,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        Units amount = _record(keyset, size, claimKey, msg.sender);
        try IERC20Permit(address(TOKEN)).permit(
            msg.sender, address(this), OpgTransfer.baseUnits(amount), deadline, v, r, s
        ) {
            TOKEN.take(amount);
        } catch {
            // Somebody else may have submitted it already. Then the allowance is there; if it is not, the transfer fails.
            TOKEN.take(amount);
        }
    }

    /// @inheritdoc ICreditDeposits
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
    ) external nonReentrant {
        Units amount = _record(keyset, size, claimKey, payer);
        uint256 before = TOKEN.balanceOf(address(this));
        bytes32 nonce = keccak256(abi.encode(keyset, claimKey));
        IERC3009(address(TOKEN)).receiveWithAuthorization(
            payer, address(this), OpgTransfer.baseUnits(amount), validAfter, validBefore, nonce, v, r, s
        );
        TOKEN.requireTaken(before, amount);
    }

    /// @inheritdoc ICreditDeposits
    function depositWithPermit2(
        KeysetId keyset,
        DepositSize size,
        address claimKey,
        address payer,
        uint256 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant {
        Units amount = _record(keyset, size, claimKey, payer);
        uint256 before = TOKEN.balanceOf(address(this));
        uint256 baseUnits = OpgTransfer.baseUnits(amount);
        PERMIT2.permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom(IPermit2.TokenPermissions(address(TOKEN), baseUnits), nonce, deadline),
            IPermit2.SignatureTransferDetails(address(this), baseUnits),
            payer,
            keccak256(abi.encode(CREDIT_DEPOSIT_TYPEHASH, keyset, claimKey)),
            WITNESS_TYPE,
            signature
        );
        TOKEN.requireTaken(before, amount);
    }

    /// @inheritdoc ICreditDeposits
    function depositFromBox(KeysetId keyset, DepositSize size, address claimKey, address refundTo)
        external
        nonReentrant
    {
        Units amount = _record(keyset, size, claimKey, refundTo);
        uint256 before = TOKEN.balanceOf(address(this));
        _openBox(keyset, claimKey, refundTo).give(TOKEN, address(this), OpgTransfer.baseUnits(amount));
        TOKEN.requireTaken(before, amount);
    }

    /// @inheritdoc ICreditDeposits
    function emptyBox(KeysetId keyset, address claimKey, IERC20 token) external nonReentrant {
        DepositBox box = _openBox(keyset, claimKey, msg.sender);
        box.give(token, msg.sender, token.balanceOf(address(box)));
    }

    // Answers and refunds

    /// @inheritdoc ICreditDeposits
    function requestRefund(KeysetId keyset, address claimKey) external {
        Deposit storage entry = _deposits[keyset][claimKey];
        require(entry.state == DepositState.Open, VaultDepositIs(entry.state));
        require(msg.sender == entry.payer, VaultNotPayer(entry.payer, msg.sender));
        uint256 from = uint256(entry.depositedAt) + ANSWER_TIME;
        require(block.timestamp >= from, VaultTooEarly(from));
        entry.requestedAt = uint40(block.timestamp);
        entry.state = DepositState.RefundRequested;
        emit RefundRequested(keyset, claimKey, entry.requestedAt + REFUND_WINDOW);
    }

    /// @inheritdoc ICreditDeposits
    function answerDeposit(
        KeysetId keyset,
        address claimKey,
        bytes calldata keys,
        bytes calldata exponents,
        bytes calldata blinded,
        bytes calldata signatures,
        bytes32 r,
        bytes32 vs
    ) external {
        Deposit storage entry = _deposits[keyset][claimKey];
        DepositState state = entry.state;
        if (state == DepositState.RefundRequested) {
            uint256 until = uint256(entry.requestedAt) + REFUND_WINDOW;
            require(block.timestamp < until, VaultTooLate(until));
        } else {
            require(state == DepositState.Open, VaultDepositIs(state));
        }
        bytes32 digest = _hashTypedDataV4(
            keccak256(
                abi.encode(
                    ISSUE_REQUEST_TYPEHASH, keyset, claimKey, keccak256(abi.encodePacked(exponents, blinded))
                )
            )
        );
        address signer = ReceiptHash.recover(digest, r, vs);
        require(signer == claimKey, VaultIssueNotSigned(claimKey, signer));
        _requireOutputs(keyset, _unitsOf(entry.size), keys, exponents, blinded, signatures);
        entry.state = DepositState.Answered;
        emit DepositAnswered(keyset, claimKey, exponents, signatures);
    }

    /// @inheritdoc ICreditDeposits
    function finishRefund(KeysetId keyset, address claimKey) external nonReentrant {
        Deposit storage entry = _deposits[keyset][claimKey];
        require(entry.state == DepositState.RefundRequested, VaultDepositIs(entry.state));
        uint256 from = uint256(entry.requestedAt) + REFUND_WINDOW;
        require(block.timestamp >= from, VaultTooEarly(from));
        Entry storage behind = _keysets[keyset];
        Units amount = _unitsOf(entry.size);
        _requireCovered(keyset, behind, Units.unwrap(amount));
        behind.deposited = Units.wrap(Units.unwrap(behind.deposited) - Units.unwrap(amount));
        entry.state = DepositState.Refunded;
        emit Refunded(keyset, claimKey, entry.payer, amount);
        TOKEN.give(entry.payer, amount);
    }

    // The guardian

    /// @inheritdoc ICreditDeposits
    function pause() external {
        _requireGuardian();
        _pause();
    }

    /// @inheritdoc ICreditDeposits
    function unpause() external {
        _requireGuardian();
        _unpause();
    }

    /// @inheritdoc ICreditDeposits
    function setGuardian(address guardian_) external onlyOwner {
        _setGuardian(guardian_);
    }

    // Reading

    /// @inheritdoc ICreditDeposits
    function depositOf(KeysetId keyset, address claimKey) external view returns (Deposit memory) {
        return _deposits[keyset][claimKey];
    }

    /// @inheritdoc ICreditDeposits
    function boxOf(KeysetId keyset, address claimKey, address refundTo) public view returns (address) {
        // Money for nobody would never come out again.
        require(claimKey != address(0) && refundTo != address(0), VaultZeroAddress());
        return Clones.predictDeterministicAddress(BOX, _salt(keyset, claimKey, refundTo));
    }

    // Internal

    /// Checks and books a deposit that the caller takes next, or reverts.
    function _record(KeysetId keyset, DepositSize size, address claimKey, address payer)
        private
        whenNotPaused
        returns (Units amount)
    {
        require(claimKey != address(0) && payer != address(0), VaultZeroAddress());
        Entry storage behind = _entryOf(keyset);
        require(block.timestamp < behind.signUntil, VaultPhaseOver(behind.signUntil));
        require(
            _deposits[keyset][claimKey].state == DepositState.None, VaultDepositExists(keyset, claimKey)
        );
        amount = _unitsOf(size);
        behind.deposited = Units.wrap(Units.unwrap(behind.deposited) + Units.unwrap(amount));
        _deposits[keyset][claimKey] = Deposit({
            payer: payer,
            depositedAt: uint40(block.timestamp),
            requestedAt: 0,
            size: size,
            state: DepositState.Open
        });
        emit Deposited(keyset, claimKey, payer, amount);
    }

    /// Requires blind signatures for outputs that are worth `amount`.
    function _requireOutputs(
        KeysetId keyset,
        Units amount,
        bytes calldata keys,
        bytes calldata exponents,
        bytes calldata blinded,
        bytes calldata signatures
    ) private view {
        uint256 count = exponents.length;
        require(count <= CREDITS_MAX, VaultTooMany(CREDITS_MAX, count));
        uint256 length = count * Bls12381.G1_BYTES;
        require(blinded.length == length, VaultBytesLength(length, blinded.length));
        require(signatures.length == length, VaultBytesLength(length, signatures.length));
        (uint256[] memory ends, uint256 units) = _groupsOf(keyset, keys, exponents);
        require(units == Units.unwrap(amount), VaultOutputsWorth(Units.unwrap(amount), units));
        BlindSignatures.Batch memory batch = BlindSignatures.start(count, keys, ends);
        for (uint256 i = 0; i < count; i++) {
            batch.add(i, signatures, blinded);
        }
        batch.requireRight();
    }

    function _unitsOf(DepositSize size) private pure returns (Units) {
        if (size == DepositSize.One) return Units.wrap(1e6);
        return size == DepositSize.Ten ? Units.wrap(1e7) : Units.wrap(1e8);
    }

    /// The box, deployed if nobody has opened it before.
    function _openBox(KeysetId keyset, address claimKey, address refundTo) private returns (DepositBox) {
        address box = boxOf(keyset, claimKey, refundTo);
        if (box.code.length == 0) Clones.cloneDeterministic(BOX, _salt(keyset, claimKey, refundTo));
        return DepositBox(box);
    }

    function _salt(KeysetId keyset, address claimKey, address refundTo) private pure returns (bytes32) {
        return keccak256(abi.encode(keyset, claimKey, refundTo));
    }

    function _requireGuardian() private view {
        require(msg.sender == guardian, VaultNotGuardian(guardian, msg.sender));
    }

    function _setGuardian(address guardian_) private {
        require(guardian_ != address(0), VaultZeroAddress());
        guardian = guardian_;
        emit GuardianChanged(guardian_);
    }
}

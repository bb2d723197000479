// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IEnclaveRegistry} from "../interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../interfaces/IReceiptSettlement.sol";
import {InferenceProofs} from "../libraries/InferenceProofs.sol";
import {SettledProof} from "../types/Receipt.sol";
import {ClaimSource, EnclaveId, EnclaveState, MeasurementId} from "../types/Types.sol";
import {EnclaveVotes, Vote} from "./EnclaveVotes.sol";
import {SeededRequest} from "./SeededRequest.sol";

/// @title AnswerMarket
/// Stakes on whether measured enclaves will answer "yes" or "no" to one request. Resolves when m in n of them say the same.
///
/// Why choosing answers gains nothing: the request's seed comes after the last stake, so nobody has asked before. Until the deadline
/// anyone brings any enclave's answer, and all that were brought count: whoever brings only what he likes is answered by whoever
/// brings the rest.
/// Units: amounts in base units of TOKEN; times in blocks; a winner's share is rounded down.
/// Safety assumes: terms are read before staking; operators are who they declare to be (one may stand behind several addresses).
/// Liveness assumes: TOKEN does not freeze this contract; answers settle before the deadline, else every stake goes back.
contract AnswerMarket is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SeededRequest for SeededRequest.Request;
    using EnclaveVotes for EnclaveVotes.Votes;

    /// @param measurements Which measurements may answer.
    /// @param closeBlock The last block for stakes.
    /// @param deadlineBlock The last block for answers.
    struct Terms {
        EnclaveVotes.Quorum quorum;
        MeasurementId[] measurements;
        uint64 closeBlock;
        uint64 deadlineBlock;
    }

    struct Market {
        Terms terms;
        SeededRequest.Request request;
        EnclaveVotes.Votes votes;
        mapping(Vote side => uint256) staked;
        mapping(address account => mapping(Vote side => uint256)) stakeOf;
    }

    IReceiptSettlement public immutable SETTLEMENT;
    IEnclaveRegistry public immutable REGISTRY;
    IERC20 public immutable TOKEN;

    uint256 public marketCount;
    mapping(uint256 market => Market) private _markets;

    event MarketOpened(uint256 indexed market, Terms terms, bytes bodyStart, bytes bodyEnd);
    event Staked(uint256 indexed market, address indexed account, Vote side, uint256 amount);
    event SeedDrawn(uint256 indexed market, uint32 seed);
    event Voted(uint256 indexed market, EnclaveId indexed enclave, Vote counted);
    event Collected(uint256 indexed market, address indexed account, uint256 amount);

    error MarketTermsRefused();
    error MarketSideRefused(Vote side);
    error MarketTooEarly(uint256 lastBlock);
    error MarketTooLate(uint256 lastBlock);
    error MarketNotCompromised(EnclaveId enclave);
    error MarketMovedOtherAmount(uint256 expected, uint256 actual);
    error MarketNothingToCollect();

    constructor(IReceiptSettlement settlement, IEnclaveRegistry registry, IERC20 token) {
        SETTLEMENT = settlement;
        REGISTRY = registry;
        TOKEN = token;
    }

    /// Opens a market on the request body `bodyStart`, a seed's decimal digits, `bodyEnd`. It should ask for "yes" or "no" and nothing
    /// else, at temperature 0.
    function open(Terms calldata terms, bytes calldata bodyStart, bytes calldata bodyEnd)
        external
        returns (uint256 market)
    {
        require(EnclaveVotes.isSound(terms.quorum), MarketTermsRefused());
        require(terms.closeBlock >= block.number && terms.deadlineBlock > terms.closeBlock, MarketTermsRefused());
        market = ++marketCount;
        _markets[market].terms = terms;
        _markets[market].request.commit(bodyStart, bodyEnd, terms.closeBlock);
        emit MarketOpened(market, terms, bodyStart, bodyEnd);
    }

    /// Stakes on `Yes` or `No`. A token that moves anything but `amount` is refused.
    function stake(uint256 market, Vote side, uint256 amount) external nonReentrant {
        Market storage entry = _markets[market];
        require(side == Vote.Yes || side == Vote.No, MarketSideRefused(side));
        require(block.number <= entry.terms.closeBlock, MarketTooLate(entry.terms.closeBlock));
        entry.staked[side] += amount;
        entry.stakeOf[msg.sender][side] += amount;
        emit Staked(market, msg.sender, side, amount);
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        uint256 moved = TOKEN.balanceOf(address(this)) - before;
        require(moved == amount, MarketMovedOtherAmount(amount, moved));
    }

    /// Draws the request's seed once its block exists. Anyone may call.
    function drawSeed(uint256 market) external {
        emit SeedDrawn(market, _markets[market].request.draw());
    }

    /// Counts an enclave's settled answer to `requestBody`, asked with `nonceFor`. Anyone may call.
    function answer(uint256 market, SettledProof calldata proof, InferenceProofs.Opening calldata opening) external {
        InferenceProofs.Demand memory demand = InferenceProofs.Demand({
            requestHash: keccak256(requestBody(market)),
            nonce: nonceFor(market),
            measurements: _markets[market].terms.measurements,
            source: ClaimSource.Measured
        });
        bytes memory output = InferenceProofs.requireOutput(SETTLEMENT, REGISTRY, proof, opening, demand);
        _cast(market, proof.receipt.enclave, _voteFor(output));
    }

    /// Takes out an enclave that has been proven broken. Anyone may call.
    function strike(uint256 market, EnclaveId enclave) external {
        require(REGISTRY.stateOf(enclave) == EnclaveState.Compromised, MarketNotCompromised(enclave));
        _cast(market, enclave, Vote.Void);
    }

    /// Pays the caller's share of all stakes when its side won, or its stakes back when no side did.
    function collect(uint256 market) external nonReentrant {
        Market storage entry = _markets[market];
        Vote verdict = verdictOf(market);
        require(verdict != Vote.None, MarketTooEarly(entry.terms.deadlineBlock));
        mapping(Vote side => uint256) storage own = entry.stakeOf[msg.sender];
        uint256 amount = own[Vote.Yes] + own[Vote.No];
        if (verdict != Vote.Void) {
            uint256 pool = entry.staked[Vote.Yes] + entry.staked[Vote.No];
            amount = Math.mulDiv(own[verdict], pool, entry.staked[verdict]);
        }
        require(amount != 0, MarketNothingToCollect());
        own[Vote.Yes] = 0;
        own[Vote.No] = 0;
        emit Collected(market, msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// `None` up to the deadline; then `Yes`, `No`, or `Void` when no side has won and stakes go back. From then on it never changes.
    function verdictOf(uint256 market) public view returns (Vote verdict) {
        Market storage entry = _markets[market];
        if (block.number <= entry.terms.deadlineBlock) return Vote.None;
        EnclaveVotes.Quorum memory quorum = entry.terms.quorum;
        verdict = Vote.Void;
        if (entry.votes.hasMajority(Vote.Yes, quorum)) verdict = Vote.Yes;
        if (entry.votes.hasMajority(Vote.No, quorum)) verdict = Vote.No;
        // A side that nobody staked on has nobody to be paid.
        if (entry.staked[verdict] == 0) verdict = Vote.Void;
    }

    /// The one request body that counts.
    function requestBody(uint256 market) public view returns (bytes memory) {
        return _markets[market].request.body();
    }

    /// The nonce to send with it.
    function nonceFor(uint256 market) public view returns (bytes memory) {
        return abi.encode(keccak256(abi.encode(block.chainid, address(this), market)));
    }

    function _cast(uint256 market, EnclaveId enclave, Vote vote) private {
        Market storage entry = _markets[market];
        require(block.number <= entry.terms.deadlineBlock, MarketTooLate(entry.terms.deadlineBlock));
        Vote counted = entry.votes.cast(enclave, REGISTRY.operatorOf(enclave), vote);
        emit Voted(market, enclave, counted);
    }

    function _voteFor(bytes memory output) private pure returns (Vote) {
        bytes32 hash = keccak256(output);
        if (hash == keccak256("yes")) return Vote.Yes;
        return hash == keccak256("no") ? Vote.No : Vote.Other;
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IEnclaveRegistry} from "../interfaces/IEnclaveRegistry.sol";
import {IReceiptSettlement} from "../interfaces/IReceiptSettlement.sol";
import {InferenceProofs} from "../libraries/InferenceProofs.sol";
import {SettledProof} from "../types/Receipt.sol";
import {ClaimSource, MeasurementId} from "../types/Types.sol";

/// @title FixedPromptBounty
/// Pays a bounty to whoever first brings the settled answer of a measured enclave to a fixed request, and keeps the answer.
///
/// Why it cannot be re-rolled: the sponsor fixes the request up to its seed; the seed is the hash of a block that did not exist
/// when the sponsor committed. Prompt, model, temperature 0 and seed then leave one request body, and with it one answer of one
/// measured model: asking again gives the same. Sealing a second answer needs another seed, and there is none.
/// Units: amounts in base units of TOKEN; delays in blocks.
/// Safety assumes: TOKEN moves exactly the amount asked.
contract FixedPromptBounty is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// Blocks between the commitment and the block whose hash is the seed.
    uint256 public constant SEED_DELAY = 2;
    /// A block's hash can be read this long. Fixing the seed later is too late; the sponsor then opens another job.
    uint256 public constant SEED_WINDOW = 256;
    /// A seeded job can be claimed this long for certain; after that its sponsor may cancel it. A week of twelve-second blocks.
    uint256 public constant CLAIM_WINDOW = 50_400;

    IReceiptSettlement public immutable SETTLEMENT;
    IEnclaveRegistry public immutable REGISTRY;
    IERC20 public immutable TOKEN;

    /// @param bodyStart The request body before the seed's digits.
    /// @param bodyEnd The request body after them.
    struct Job {
        address sponsor;
        uint256 amount;
        uint256 seedBlock;
        uint32 seed;
        bool isSeeded;
        bool isPaid;
        bytes bodyStart;
        bytes bodyEnd;
        MeasurementId measurement;
        bytes answer;
    }

    uint256 public jobCount;
    mapping(uint256 job => Job) private _jobs;

    event JobOpened(uint256 indexed job, address indexed sponsor, uint256 amount, uint256 seedBlock);
    event JobSeeded(uint256 indexed job, uint32 seed);
    event JobPaid(uint256 indexed job, address indexed to, bytes answer);
    event JobCancelled(uint256 indexed job);

    error BountyUnknownJob(uint256 job);
    error BountyTooEarly(uint256 seedBlock);
    error BountyTooLate(uint256 seedBlock);
    error BountyNotSeeded();
    error BountyAlreadySeeded();
    error BountyAlreadyPaid();
    error BountyNotSponsor(address expected, address actual);

    constructor(IReceiptSettlement settlement, IEnclaveRegistry registry, IERC20 token) {
        SETTLEMENT = settlement;
        REGISTRY = registry;
        TOKEN = token;
    }

    /// Opens a job. The request body is `bodyStart`, the seed's decimal digits, `bodyEnd`.
    function open(bytes calldata bodyStart, bytes calldata bodyEnd, MeasurementId measurement, uint256 amount)
        external
        nonReentrant
        returns (uint256 job)
    {
        job = ++jobCount;
        Job storage entry = _jobs[job];
        entry.sponsor = msg.sender;
        entry.amount = amount;
        entry.seedBlock = block.number + SEED_DELAY;
        entry.bodyStart = bodyStart;
        entry.bodyEnd = bodyEnd;
        entry.measurement = measurement;
        emit JobOpened(job, msg.sender, amount, entry.seedBlock);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// Draws the seed once its block exists. Anyone may call.
    function drawSeed(uint256 job) external {
        Job storage entry = _jobs[job];
        // A seed drawn before the job is opened would be known to whoever opens it.
        require(entry.sponsor != address(0), BountyUnknownJob(job));
        require(!entry.isSeeded, BountyAlreadySeeded());
        require(block.number > entry.seedBlock, BountyTooEarly(entry.seedBlock));
        require(block.number <= entry.seedBlock + SEED_WINDOW, BountyTooLate(entry.seedBlock));
        entry.isSeeded = true;
        // 31 bits: every backend takes a seed of that size.
        entry.seed = uint32(uint256(blockhash(entry.seedBlock)) >> 225);
        emit JobSeeded(job, entry.seed);
    }

    /// Pays the caller for the settled answer. The client nonce must name this contract, the job and the caller, so that nobody
    /// can take another's proof out of the mempool.
    function claim(uint256 job, SettledProof calldata proof, InferenceProofs.Opening calldata opening)
        external
        nonReentrant
    {
        Job storage entry = _jobs[job];
        require(entry.isSeeded, BountyNotSeeded());
        require(!entry.isPaid, BountyAlreadyPaid());
        MeasurementId[] memory measurements = new MeasurementId[](1);
        measurements[0] = entry.measurement;
        InferenceProofs.Demand memory demand = InferenceProofs.Demand({
            requestHash: keccak256(requestBody(job)),
            nonce: nonceFor(job, msg.sender),
            measurements: measurements,
            source: ClaimSource.Measured
        });
        bytes memory answer = InferenceProofs.requireOutput(SETTLEMENT, REGISTRY, proof, opening, demand);
        entry.isPaid = true;
        entry.answer = answer;
        emit JobPaid(job, msg.sender, answer);
        TOKEN.safeTransfer(msg.sender, entry.amount);
    }

    /// Gives the amount back when the seed can no longer be drawn, or nobody brought an answer in CLAIM_WINDOW blocks.
    function cancel(uint256 job) external nonReentrant {
        Job storage entry = _jobs[job];
        require(msg.sender == entry.sponsor, BountyNotSponsor(entry.sponsor, msg.sender));
        require(!entry.isPaid, BountyAlreadyPaid());
        uint256 lastBlock = entry.seedBlock + (entry.isSeeded ? CLAIM_WINDOW : SEED_WINDOW);
        require(block.number > lastBlock, BountyTooEarly(lastBlock));
        entry.isPaid = true;
        emit JobCancelled(job);
        TOKEN.safeTransfer(entry.sponsor, entry.amount);
    }

    /// The one request body that this job pays for.
    function requestBody(uint256 job) public view returns (bytes memory) {
        Job storage entry = _jobs[job];
        require(entry.isSeeded, BountyNotSeeded());
        return bytes.concat(entry.bodyStart, bytes(Strings.toString(entry.seed)), entry.bodyEnd);
    }

    /// The nonce that `claimant` must send with the request.
    function nonceFor(uint256 job, address claimant) public view returns (bytes memory) {
        return abi.encode(keccak256(abi.encode(block.chainid, address(this), job, claimant)));
    }

    function jobOf(uint256 job) external view returns (Job memory) {
        return _jobs[job];
    }
}

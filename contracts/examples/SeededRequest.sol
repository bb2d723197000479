// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";

/// @title SeededRequest
/// A request body that is fixed up to a seed which nobody knows yet: the hash of a block that comes later. Until then nobody can have
/// asked it, so nobody knows what he commits to; afterwards there is one body, and asking it again gives one model's same answer.
/// Units: times in blocks.
/// Safety assumes: who proposes the seed's block gains less from withholding it than the block is worth.
/// Liveness assumes: somebody draws within WINDOW blocks, while the hash can be read.
library SeededRequest {
    /// Blocks between the commitment's last block and the block whose hash is the seed.
    uint64 internal constant DELAY = 2;
    /// A block's hash can be read this long.
    uint256 internal constant WINDOW = 256;

    /// @param start The body before the seed's digits: model, prompt, temperature 0.
    /// @param end The body after them.
    /// @param seedBlock The block whose hash is the seed.
    struct Request {
        bytes start;
        bytes end;
        uint64 seedBlock;
        bool isSeeded;
        uint32 seed;
    }

    error SeedNotCommitted();
    error SeedAlreadyDrawn();
    error SeedNotDrawn();
    error SeedTooEarly(uint256 seedBlock);
    error SeedTooLate(uint256 lastBlock);

    /// Commits to a body whose seed follows `lastBlock`.
    function commit(Request storage self, bytes calldata start, bytes calldata end, uint64 lastBlock) internal {
        self.start = start;
        self.end = end;
        self.seedBlock = lastBlock + DELAY;
    }

    /// Draws the seed of a body that was committed to, once its block exists.
    function draw(Request storage self) internal returns (uint32 seed) {
        uint256 seedBlock = self.seedBlock;
        require(seedBlock != 0, SeedNotCommitted());
        require(!self.isSeeded, SeedAlreadyDrawn());
        require(block.number > seedBlock, SeedTooEarly(seedBlock));
        require(block.number <= seedBlock + WINDOW, SeedTooLate(seedBlock + WINDOW));
        // 31 bits: every backend takes a seed of that size, and more cannot be left after the shift.
        seed = uint32(uint256(blockhash(seedBlock)) >> 225);
        self.isSeeded = true;
        self.seed = seed;
    }

    /// The body with the seed's decimal digits in their place.
    function body(Request storage self) internal view returns (bytes memory) {
        require(self.isSeeded, SeedNotDrawn());
        return bytes.concat(self.start, bytes(Strings.toString(self.seed)), self.end);
    }
}

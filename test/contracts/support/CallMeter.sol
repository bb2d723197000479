// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title CallMeter
/// Makes a call and says how it ended and what it cost, so that a refusal can be told from a call that ran out of gas somewhere inside.
contract CallMeter {
    function measure(address target, bytes memory input)
        external
        returns (bool isSuccess, bytes memory output, uint256 gasUsed)
    {
        uint256 before = gasleft();
        (isSuccess, output) = target.call(input);
        gasUsed = before - gasleft();
    }
}

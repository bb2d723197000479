// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title ForwardingProxy, ModelBeacon, BeaconForwarder
/// What a call pays on its way through an ERC-1967 proxy, and through one that asks a beacon first. For models whose originals stand behind such.
abstract contract Forwarding {
    function _implementation() internal view virtual returns (address);

    fallback() external payable {
        address implementation = _implementation();
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), implementation, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(done) {
                revert(0, returndatasize())
            }
            return(0, returndatasize())
        }
    }
}

contract ForwardingProxy is Forwarding {
    /// keccak256("eip1967.proxy.implementation") - 1.
    bytes32 private constant SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    constructor(address implementation) {
        assembly ("memory-safe") {
            sstore(SLOT, implementation)
        }
    }

    function _implementation() internal view override returns (address implementation) {
        assembly ("memory-safe") {
            implementation := sload(SLOT)
        }
    }
}

contract ModelBeacon {
    address public implementation;

    constructor(address implementation_) {
        implementation = implementation_;
    }
}

contract BeaconForwarder is Forwarding {
    /// keccak256("eip1967.proxy.beacon") - 1.
    bytes32 private constant SLOT = 0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50;

    constructor(ModelBeacon beacon) {
        assembly ("memory-safe") {
            sstore(SLOT, beacon)
        }
    }

    function _implementation() internal view override returns (address) {
        ModelBeacon beacon;
        assembly ("memory-safe") {
            beacon := sload(SLOT)
        }
        return beacon.implementation();
    }
}

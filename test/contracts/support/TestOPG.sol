// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title TestOPG
/// An OPG for local chains and tests: 18 decimals, ERC-2612, and the ERC-3009 calls that deposits will use. Anyone may mint:
/// it refuses to be deployed anywhere but on a local chain and on Base Sepolia, where nothing is at stake either.
contract TestOPG is ERC20Permit {
    bytes32 public constant TRANSFER_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 public constant RECEIVE_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    mapping(address authorizer => mapping(bytes32 nonce => bool)) public authorizationState;

    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);

    error TestOPGNotLocal(uint256 chainId);
    error TestOPGCallerNotPayee(address expected, address actual);
    error TestOPGAuthorizationNotValid(uint256 validAfter, uint256 validBefore);
    error TestOPGAuthorizationUsed(bytes32 nonce);
    error TestOPGBadSignature(address expected, address actual);

    constructor() ERC20("OpenGradient (test)", "OPG") ERC20Permit("OpenGradient (test)") {
        require(
            block.chainid == 31337 || block.chainid == 1337 || block.chainid == 84532, TestOPGNotLocal(block.chainid)
        );
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// ERC-3009: moves tokens on the holder's signature. Anyone may submit it.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) external {
        _useAuthorization(
            TRANSFER_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce, signature
        );
    }

    /// ERC-3009: the same, by the payee only, so that it cannot be front-run into another contract's accounting.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) external {
        require(msg.sender == to, TestOPGCallerNotPayee(to, msg.sender));
        _useAuthorization(
            RECEIVE_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce, signature
        );
    }

    /// ERC-3009 as it was first written, with the signature in three parts: the form in which contracts call it.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes memory signature = abi.encodePacked(r, s, v);
        _useAuthorization(
            TRANSFER_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce, signature
        );
    }

    /// Likewise.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        require(msg.sender == to, TestOPGCallerNotPayee(to, msg.sender));
        bytes memory signature = abi.encodePacked(r, s, v);
        _useAuthorization(
            RECEIVE_WITH_AUTHORIZATION_TYPEHASH, from, to, value, validAfter, validBefore, nonce, signature
        );
    }

    function _useAuthorization(
        bytes32 typeHash,
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes memory signature
    ) private {
        require(
            block.timestamp > validAfter && block.timestamp < validBefore,
            TestOPGAuthorizationNotValid(validAfter, validBefore)
        );
        require(!authorizationState[from][nonce], TestOPGAuthorizationUsed(nonce));
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(typeHash, from, to, value, validAfter, validBefore, nonce)));
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        require(signer == from, TestOPGBadSignature(from, signer));
        authorizationState[from][nonce] = true;
        emit AuthorizationUsed(from, nonce);
        _transfer(from, to, value);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {TestOPG} from "./support/TestOPG.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {Stage} from "./utils/Stage.sol";
import {vm} from "./utils/Vm.sol";

contract TestOPGTest is Stage {
    uint256 private constant HOLDER_KEY = 0x401D;
    bytes32 private constant NONCE = keccak256("nonce");
    address private holder;

    function setUp() public override {
        super.setUp();
        holder = vm.addr(HOLDER_KEY);
        token.mint(holder, 100);
    }

    function _authorization(bytes32 typeHash, uint256 key, address to) private view returns (bytes memory) {
        bytes32 domain = PlainHash.domain("OpenGradient (test)", block.chainid, address(token));
        bytes32 structHash = keccak256(abi.encode(typeHash, holder, to, 60, START - 1, START + 1, NONCE));
        return _signature(key, PlainHash.digest(domain, structHash));
    }

    function _transfer(bytes memory signature) private {
        token.transferWithAuthorization(holder, STRANGER, 60, START - 1, START + 1, NONCE, signature);
    }

    function test_constructor_RefusesAChainThatIsNotLocal() public {
        vm.chainId(1);
        vm.expectRevert(abi.encodeWithSelector(TestOPG.TestOPGNotLocal.selector, 1));
        _create("test/contracts/support/TestOPG.sol/TestOPG", "");
    }

    function test_transferWithAuthorization_MovesOnce() public {
        bytes memory signature = _authorization(token.TRANSFER_WITH_AUTHORIZATION_TYPEHASH(), HOLDER_KEY, STRANGER);
        _transfer(signature);
        assertEq(token.balanceOf(STRANGER), 60, "moved");
        vm.expectRevert(abi.encodeWithSelector(TestOPG.TestOPGAuthorizationUsed.selector, NONCE));
        _transfer(signature);
    }

    function test_transferWithAuthorization_RefusesAnotherSigner() public {
        bytes memory signature = _authorization(token.TRANSFER_WITH_AUTHORIZATION_TYPEHASH(), HOLDER_KEY + 1, STRANGER);
        vm.expectRevert(
            abi.encodeWithSelector(TestOPG.TestOPGBadSignature.selector, holder, vm.addr(HOLDER_KEY + 1))
        );
        _transfer(signature);
    }

    function test_transferWithAuthorization_RefusesOutsideItsTime() public {
        bytes memory signature = _authorization(token.TRANSFER_WITH_AUTHORIZATION_TYPEHASH(), HOLDER_KEY, STRANGER);
        bytes memory refusal =
            abi.encodeWithSelector(TestOPG.TestOPGAuthorizationNotValid.selector, START - 1, START + 1);
        vm.warp(START - 1);
        vm.expectRevert(refusal);
        _transfer(signature);
        vm.warp(START + 1);
        vm.expectRevert(refusal);
        _transfer(signature);
    }

    function test_receiveWithAuthorization_IsThePayeesAlone() public {
        bytes memory signature = _authorization(token.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(), HOLDER_KEY, STRANGER);
        vm.expectRevert(
            abi.encodeWithSelector(TestOPG.TestOPGCallerNotPayee.selector, STRANGER, address(this))
        );
        token.receiveWithAuthorization(holder, STRANGER, 60, START - 1, START + 1, NONCE, signature);
        vm.prank(STRANGER);
        token.receiveWithAuthorization(holder, STRANGER, 60, START - 1, START + 1, NONCE, signature);
        assertEq(token.balanceOf(STRANGER), 60, "moved");
    }
}

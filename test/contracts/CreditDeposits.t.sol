// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {DepositBox} from "../../contracts/credits/DepositBox.sol";
import {ICreditDeposits} from "../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditKeysets} from "../../contracts/interfaces/ICreditKeysets.sol";
import {KeysetId, Units} from "../../contracts/types/Types.sol";
import {TestOPG} from "./support/TestOPG.sol";
import {TestPermit2} from "./support/TestPermit2.sol";
import {CreditStage} from "./utils/CreditStage.sol";
import {PlainHash} from "./utils/PlainHash.sol";
import {vm} from "./utils/Vm.sol";

/// The five ways in, and the guardian.
contract CreditDepositsTest is CreditStage {
    uint256 private constant HOLDER_KEY = 0x401D;
    address private constant CLAIM = address(0xC1A11);
    ICreditDeposits.DepositSize private constant ONE = ICreditDeposits.DepositSize.One;
    ICreditDeposits.DepositSize private constant TEN = ICreditDeposits.DepositSize.Ten;

    address private holder;
    TestPermit2 private permit2;

    function setUp() public override {
        super.setUp();
        holder = vm.addr(HOLDER_KEY);
        token.mint(holder, 1_000 * OPG * UNIT);
        permit2 = TestPermit2(address(vault.PERMIT2()));
        vm.etch(address(permit2), _create("test/contracts/support/TestPermit2.sol/TestPermit2", "").code);
        assertEq(address(permit2), 0x000000000022D473030F116dDEE9F6B43aC78BA3, "where Permit2 is");
    }

    function _assertDeposited(address claimKey, address payer, ICreditDeposits.DepositSize size) private view {
        ICreditDeposits.Deposit memory entry = vault.depositOf(KEYSET, claimKey);
        assertEq(entry.payer, payer, "payer");
        assertEq(entry.depositedAt, _now(), "time");
        assertEq(entry.requestedAt, 0, "not asked back");
        assertEq(uint256(entry.size), uint256(size), "size");
        assertEq(entry.state, ICreditDeposits.DepositState.Open, "state");
    }

    function _assertNothingHappened() private view {
        assertEq(vault.depositOf(KEYSET, CLAIM).state, ICreditDeposits.DepositState.None, "no deposit");
        assertEq(_deposited(KEYSET), 0, "nothing behind the keyset");
        assertEq(_one(address(vault)), 0, "nothing held");
    }

    // By approval

    function test_deposit_TakesEachSize() public {
        uint64[3] memory amounts = [uint64(1e6), 1e7, 1e8];
        uint64 sum = 0;
        for (uint256 i = 0; i < 3; i++) {
            ICreditDeposits.DepositSize size = ICreditDeposits.DepositSize(i);
            _fund(PAYER, amounts[i]);
            vm.expectEmit(address(vault));
            emit ICreditDeposits.Deposited(KEYSET, vm.addr(CLAIM_KEY + i), PAYER, Units.wrap(amounts[i]));
            vm.prank(PAYER);
            vault.deposit(KEYSET, size, vm.addr(CLAIM_KEY + i));
            _assertDeposited(vm.addr(CLAIM_KEY + i), PAYER, size);
            sum += amounts[i];
            assertEq(_deposited(KEYSET), sum, "behind the keyset");
            assertEq(_one(address(vault)), sum, "held");
        }
    }

    function test_deposit_RefusesAnUnknownSize() public {
        _fund(PAYER, 100 * OPG);
        vm.prank(PAYER);
        (bool ok,) = address(vault).call(abi.encodeWithSelector(vault.deposit.selector, KEYSET, 3, CLAIM));
        assertTrue(!ok, "refused");
    }

    function test_deposit_HappensOnceForAClaimKey() public {
        address claimKey = _deposit(ONE, 0);
        _fund(PAYER, OPG);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultDepositExists.selector, KEYSET, claimKey));
        vm.prank(PAYER);
        vault.deposit(KEYSET, ONE, claimKey);
        _openKeyset(OTHER_KEYSET, issuer);
        vm.prank(PAYER);
        vault.deposit(OTHER_KEYSET, ONE, claimKey);
        assertEq(_deposited(OTHER_KEYSET), OPG, "but in another keyset");
    }

    function test_deposit_EndsWithTheFirstPhase() public {
        _fund(PAYER, OPG);
        vm.warp(SIGN_UNTIL);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultPhaseOver.selector, SIGN_UNTIL));
        vm.prank(PAYER);
        vault.deposit(KEYSET, ONE, CLAIM);
        vm.warp(SIGN_UNTIL - 1);
        vm.prank(PAYER);
        vault.deposit(KEYSET, ONE, CLAIM);
    }

    function test_deposit_RefusesNoKeysetAndNoClaimKey() public {
        _fund(PAYER, OPG);
        vm.startPrank(PAYER);
        vm.expectRevert(abi.encodeWithSelector(ICreditKeysets.VaultKeysetUnknown.selector, OTHER_KEYSET));
        vault.deposit(OTHER_KEYSET, ONE, CLAIM);
        vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
        vault.deposit(KEYSET, ONE, address(0));
        vm.stopPrank();
    }

    function test_deposit_RefusesWhatWasNotApproved() public {
        vm.prank(holder);
        token.approve(address(vault), OPG * UNIT - 1);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        vm.prank(holder);
        vault.deposit(KEYSET, ONE, CLAIM);
        _assertNothingHappened();
    }

    // By permit

    function _permit(uint256 value, uint256 deadline) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 structHash = keccak256(abi.encode(typeHash, holder, vault, value, token.nonces(holder), deadline));
        return vm.sign(HOLDER_KEY, _tokenDigest(structHash));
    }

    function _tokenDigest(bytes32 structHash) private view returns (bytes32) {
        return PlainHash.digest(
            PlainHash.domain("OpenGradient (test)", block.chainid, address(token)), structHash
        );
    }

    function test_depositWithPermit_NeedsNoApproval() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(10 * OPG * UNIT, START);
        vm.prank(holder);
        vault.depositWithPermit(KEYSET, TEN, CLAIM, START, v, r, s);
        _assertDeposited(CLAIM, holder, TEN);
        assertEq(_one(address(vault)), 10 * OPG, "held");
    }

    function test_depositWithPermit_IsNotStoppedByWhoSubmitsThePermitFirst() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(10 * OPG * UNIT, START);
        vm.prank(STRANGER);
        token.permit(holder, address(vault), 10 * OPG * UNIT, START, v, r, s);
        vm.prank(holder);
        vault.depositWithPermit(KEYSET, TEN, CLAIM, START, v, r, s);
        _assertDeposited(CLAIM, holder, TEN);
    }

    function test_depositWithPermit_RefusesAWrongOne() public {
        (uint8 v, bytes32 r, bytes32 s) = _permit(OPG * UNIT, START);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        vm.prank(holder);
        vault.depositWithPermit(KEYSET, TEN, CLAIM, START, v, r, s);
        // Another's permit is the caller's in name only.
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        vm.prank(STRANGER);
        vault.depositWithPermit(KEYSET, ONE, CLAIM, START, v, r, s);
        _assertNothingHappened();
    }

    // By authorisation

    struct Authorization {
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    function _authorize(KeysetId keyset, address claimKey, uint256 value)
        private
        view
        returns (Authorization memory signed)
    {
        bytes32 nonce = keccak256(abi.encode(keyset, claimKey));
        bytes32 structHash = keccak256(
            abi.encode(
                token.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(), holder, vault, value, START - 1, START + 1, nonce
            )
        );
        (signed.v, signed.r, signed.s) = vm.sign(HOLDER_KEY, _tokenDigest(structHash));
    }

    function _submit(KeysetId keyset, ICreditDeposits.DepositSize size, address claimKey, Authorization memory a)
        private
    {
        vm.prank(STRANGER);
        vault.depositWithAuthorization(keyset, size, claimKey, holder, START - 1, START + 1, a.v, a.r, a.s);
    }

    function test_depositWithAuthorization_IsSubmittedByAnyone() public {
        _submit(KEYSET, TEN, CLAIM, _authorize(KEYSET, CLAIM, 10 * OPG * UNIT));
        _assertDeposited(CLAIM, holder, TEN);
        assertEq(_one(address(vault)), 10 * OPG, "held");
    }

    /// Whoever copies it can make this very deposit and nothing else.
    function test_depositWithAuthorization_CannotBeTurnedIntoAnotherDeposit() public {
        _openKeyset(OTHER_KEYSET, issuer);
        Authorization memory signed = _authorize(KEYSET, CLAIM, 10 * OPG * UNIT);
        vm.expectPartialRevert(TestOPG.TestOPGBadSignature.selector);
        _submit(KEYSET, TEN, STRANGER, signed);
        vm.expectPartialRevert(TestOPG.TestOPGBadSignature.selector);
        _submit(OTHER_KEYSET, TEN, CLAIM, signed);
        vm.expectPartialRevert(TestOPG.TestOPGBadSignature.selector);
        _submit(KEYSET, ONE, CLAIM, signed);
        vm.expectPartialRevert(TestOPG.TestOPGCallerNotPayee.selector);
        vm.prank(STRANGER);
        token.receiveWithAuthorization(
            holder,
            address(vault),
            10 * OPG * UNIT,
            START - 1,
            START + 1,
            keccak256(abi.encode(KEYSET, CLAIM)),
            signed.v,
            signed.r,
            signed.s
        );
        _assertNothingHappened();
        _submit(KEYSET, TEN, CLAIM, signed);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultDepositExists.selector, KEYSET, CLAIM));
        _submit(KEYSET, TEN, CLAIM, signed);
    }

    function test_depositWithAuthorization_RefusesNoPayer() public {
        vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
        vault.depositWithAuthorization(KEYSET, ONE, CLAIM, address(0), START - 1, START + 1, 27, 0, 0);
    }

    // By Permit2

    function _signPermit2(uint256 amount, KeysetId keyset, address claimKey, uint256 nonce)
        private
        view
        returns (bytes memory)
    {
        bytes32 permittedHash = keccak256(
            abi.encode(keccak256("TokenPermissions(address token,uint256 amount)"), address(token), amount)
        );
        bytes32 witness = keccak256(
            abi.encode(keccak256("CreditDeposit(bytes32 keyset,address claimKey)"), keyset, claimKey)
        );
        bytes32 typeHash = keccak256(
            "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,CreditDeposit witness)CreditDeposit(bytes32 keyset,address claimKey)TokenPermissions(address token,uint256 amount)"
        );
        bytes32 structHash =
            keccak256(abi.encode(typeHash, permittedHash, vault, nonce, START, witness));
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                block.chainid,
                address(permit2)
            )
        );
        return _signature(HOLDER_KEY, PlainHash.digest(domain, structHash));
    }

    function _approvePermit2() private {
        vm.prank(holder);
        token.approve(address(permit2), type(uint256).max);
    }

    function test_depositWithPermit2_IsSubmittedByAnyone() public {
        _approvePermit2();
        bytes memory signature = _signPermit2(10 * OPG * UNIT, KEYSET, CLAIM, 7);
        vm.prank(STRANGER);
        vault.depositWithPermit2(KEYSET, TEN, CLAIM, holder, 7, START, signature);
        _assertDeposited(CLAIM, holder, TEN);
        assertEq(_one(address(vault)), 10 * OPG, "held");
    }

    function test_depositWithPermit2_CannotBeTurnedIntoAnotherDeposit() public {
        _approvePermit2();
        _openKeyset(OTHER_KEYSET, issuer);
        bytes memory signature = _signPermit2(10 * OPG * UNIT, KEYSET, CLAIM, 7);
        bytes4 refusal = TestPermit2.InvalidSigner.selector;
        vm.startPrank(STRANGER);
        vm.expectRevert(refusal);
        vault.depositWithPermit2(KEYSET, TEN, STRANGER, holder, 7, START, signature);
        vm.expectRevert(refusal);
        vault.depositWithPermit2(OTHER_KEYSET, TEN, CLAIM, holder, 7, START, signature);
        vm.expectRevert(refusal);
        vault.depositWithPermit2(KEYSET, ONE, CLAIM, holder, 7, START, signature);
        vm.expectRevert(refusal);
        vault.depositWithPermit2(KEYSET, TEN, CLAIM, STRANGER, 7, START, signature);
        vault.depositWithPermit2(KEYSET, TEN, CLAIM, holder, 7, START, signature);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultDepositExists.selector, KEYSET, CLAIM));
        vault.depositWithPermit2(KEYSET, TEN, CLAIM, holder, 7, START, signature);
        vm.stopPrank();
    }

    // From a box

    function test_depositFromBox_MovesExactlyTheSize() public {
        address box = vault.boxOf(KEYSET, CLAIM, holder);
        // More than asked for: a plain transfer may be anything.
        vm.prank(holder);
        token.transfer(box, 11 * OPG * UNIT + 1);
        vm.prank(STRANGER);
        vault.depositFromBox(KEYSET, TEN, CLAIM, holder);
        _assertDeposited(CLAIM, holder, TEN);
        assertEq(_one(address(vault)), 10 * OPG, "held");
        assertEq(token.balanceOf(box), OPG * UNIT + 1, "the rest stays in the box");
        vm.prank(holder);
        vault.emptyBox(KEYSET, CLAIM, token);
        assertEq(token.balanceOf(holder), 990 * OPG * UNIT, "and goes back");
    }

    function test_depositFromBox_RefusesABoxWithTooLittle() public {
        address box = vault.boxOf(KEYSET, CLAIM, holder);
        vm.prank(holder);
        token.transfer(box, OPG * UNIT - 1);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        vault.depositFromBox(KEYSET, ONE, CLAIM, holder);
        _assertNothingHappened();
    }

    function test_boxes_AreEachForOnePurchase() public {
        address[4] memory boxes = [
            vault.boxOf(KEYSET, CLAIM, holder),
            vault.boxOf(OTHER_KEYSET, CLAIM, holder),
            vault.boxOf(KEYSET, STRANGER, holder),
            vault.boxOf(KEYSET, CLAIM, STRANGER)
        ];
        for (uint256 i = 0; i < 4; i++) {
            for (uint256 j = 0; j < i; j++) {
                assertTrue(boxes[i] != boxes[j], "differ");
            }
        }
        // Nobody else's purchase takes what lies in one.
        vm.prank(holder);
        token.transfer(boxes[0], OPG * UNIT);
        vm.startPrank(STRANGER);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        vault.depositFromBox(KEYSET, ONE, STRANGER, holder);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        vault.depositFromBox(KEYSET, ONE, CLAIM, STRANGER);
        vault.emptyBox(KEYSET, CLAIM, token);
        vm.stopPrank();
        assertEq(token.balanceOf(boxes[0]), OPG * UNIT, "still there");
    }

    function test_boxOf_RefusesNobody() public {
        vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
        vault.boxOf(KEYSET, CLAIM, address(0));
        vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
        vault.boxOf(KEYSET, address(0), holder);
    }

    function test_emptyBox_ReturnsWhatCameTwiceOrTooLate() public {
        address box = vault.boxOf(KEYSET, CLAIM, holder);
        for (uint256 i = 0; i < 2; i++) {
            vm.prank(holder);
            token.transfer(box, OPG * UNIT);
        }
        vault.depositFromBox(KEYSET, ONE, CLAIM, holder);
        vm.expectRevert(abi.encodeWithSelector(ICreditDeposits.VaultDepositExists.selector, KEYSET, CLAIM));
        vault.depositFromBox(KEYSET, ONE, CLAIM, holder);
        vm.warp(SIGN_UNTIL + 1);
        vm.prank(holder);
        vault.emptyBox(KEYSET, CLAIM, token);
        assertEq(token.balanceOf(holder), 999 * OPG * UNIT, "back");
        assertEq(token.balanceOf(box), 0, "empty");
    }

    function test_emptyBox_ReturnsOtherTokensToo() public {
        TestOPG other = TestOPG(_create("test/contracts/support/TestOPG.sol/TestOPG", ""));
        other.mint(vault.boxOf(KEYSET, CLAIM, holder), 5);
        vm.prank(holder);
        vault.emptyBox(KEYSET, CLAIM, other);
        assertEq(other.balanceOf(holder), 5, "back");
    }

    function test_box_ObeysTheVaultAlone() public {
        vm.prank(holder);
        vault.emptyBox(KEYSET, CLAIM, token);
        DepositBox box = DepositBox(vault.boxOf(KEYSET, CLAIM, holder));
        assertTrue(address(box).code.length != 0, "deployed where it was foretold");
        vm.expectRevert(
            abi.encodeWithSelector(DepositBox.DepositBoxNotVault.selector, address(vault), holder)
        );
        vm.prank(holder);
        box.give(IERC20(address(token)), holder, 1);
        assertEq(DepositBox(vault.BOX()).VAULT(), address(vault), "the original too");
    }

    // The guardian

    function test_pause_StopsAllFiveWaysIn() public {
        vm.prank(GUARDIAN);
        vault.pause();
        bytes[5] memory calls = [
            abi.encodeCall(vault.deposit, (KEYSET, ONE, CLAIM)),
            abi.encodeCall(vault.depositWithPermit, (KEYSET, ONE, CLAIM, 0, 0, 0, 0)),
            abi.encodeCall(vault.depositWithAuthorization, (KEYSET, ONE, CLAIM, holder, 0, 0, 0, 0, 0)),
            abi.encodeCall(vault.depositWithPermit2, (KEYSET, ONE, CLAIM, holder, 0, 0, "")),
            abi.encodeCall(vault.depositFromBox, (KEYSET, ONE, CLAIM, holder))
        ];
        for (uint256 i = 0; i < 5; i++) {
            vm.prank(holder);
            (bool ok, bytes memory reason) = address(vault).call(calls[i]);
            assertTrue(!ok, "refused");
            assertEq(reason, abi.encodeWithSelector(Pausable.EnforcedPause.selector), "because paused");
        }
        vm.prank(GUARDIAN);
        vault.unpause();
        _deposit(ONE, 0);
    }

    function test_pause_LeavesBoxesOpen() public {
        address box = vault.boxOf(KEYSET, CLAIM, holder);
        vm.prank(holder);
        token.transfer(box, OPG * UNIT);
        vm.prank(GUARDIAN);
        vault.pause();
        vm.prank(holder);
        vault.emptyBox(KEYSET, CLAIM, token);
        assertEq(token.balanceOf(holder), 1_000 * OPG * UNIT, "back");
    }

    function test_pause_IsTheGuardiansAlone() public {
        bytes memory refusal =
            abi.encodeWithSelector(ICreditDeposits.VaultNotGuardian.selector, GUARDIAN, address(this));
        vm.expectRevert(refusal);
        vault.pause();
        vm.prank(GUARDIAN);
        vault.pause();
        vm.expectRevert(refusal);
        vault.unpause();
    }

    function test_setGuardian_IsTheOwnersAlone() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, GUARDIAN));
        vm.prank(GUARDIAN);
        vault.setGuardian(STRANGER);
        vm.expectRevert(ICreditKeysets.VaultZeroAddress.selector);
        vault.setGuardian(address(0));
        vm.expectEmit(address(vault));
        emit ICreditDeposits.GuardianChanged(STRANGER);
        vault.setGuardian(STRANGER);
        vm.prank(STRANGER);
        vault.pause();
        assertTrue(vault.paused(), "paused");
    }
}

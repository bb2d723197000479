// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICreditDeposits} from "../../../contracts/interfaces/ICreditDeposits.sol";
import {ICreditExits} from "../../../contracts/interfaces/ICreditExits.sol";
import {CreditId, EnclaveId, KeysetId, Units} from "../../../contracts/types/Types.sol";
import {PlainBls} from "./PlainBls.sol";
import {PlainHash} from "./PlainHash.sol";
import {Stage} from "./Stage.sol";
import {TestKeyset} from "./TestKeyset.sol";
import {vm} from "./Vm.sol";

/// @title CreditStage
/// A keyset that is open, and hands that pay for credits, issue them and take them out again. KEYSET is the test keyset 0, OTHER_KEYSET 1.
abstract contract CreditStage is Stage {
    uint256 internal constant CLAIM_KEY = 0xC1A1;
    address internal constant RECIPIENT = address(0x2EC1);
    uint64 internal constant OPG = 1e6;

    EnclaveId internal issuer;

    /// What one call of `openExits` takes.
    struct Exits {
        KeysetId keyset;
        address recipient;
        bytes keys;
        bytes exponents;
        ICreditExits.CreditExit[] credits;
        bytes signatures;
        CreditId[] ids;
        uint256 units;
    }

    /// What one call of `answerDeposit` takes.
    struct Answer {
        bytes keys;
        bytes exponents;
        bytes blinded;
        bytes signatures;
        bytes32 r;
        bytes32 vs;
    }

    function setUp() public virtual override {
        super.setUp();
        issuer = _issuer(ISSUER_KEY, KEYSET, 0);
    }

    function _numberOf(KeysetId keyset) internal view returns (uint256) {
        return KeysetId.unwrap(keyset) == KeysetId.unwrap(KEYSET) ? 0 : 1;
    }

    function _vaultDigest(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = PlainHash.domain("Sealpath CreditVault", block.chainid, address(vault));
        return PlainHash.digest(domain, structHash);
    }

    // Deposits

    function _amountOf(ICreditDeposits.DepositSize size) internal pure returns (uint64) {
        return size == ICreditDeposits.DepositSize.One
            ? OPG
            : size == ICreditDeposits.DepositSize.Ten ? 10 * OPG : 100 * OPG;
    }

    /// PAYER deposits for the holder of the claim key number `i`, whose address it answers.
    function _deposit(ICreditDeposits.DepositSize size, uint256 i) internal returns (address claimKey) {
        claimKey = vm.addr(CLAIM_KEY + i);
        _fund(PAYER, _amountOf(size));
        vm.prank(PAYER);
        vault.deposit(KEYSET, size, claimKey);
    }

    function _deposited(KeysetId keyset) internal view returns (uint64) {
        return Units.unwrap(vault.keysetOf(keyset).deposited);
    }

    function _depositState(address claimKey) internal view returns (ICreditDeposits.DepositState) {
        return vault.depositOf(KEYSET, claimKey).state;
    }

    // Answers

    /// The issuer's answer of KEYSET to the claim key number `i`, which asked for credits of these exponents.
    function _answer(uint256 i, bytes memory exponents) internal view returns (Answer memory) {
        return _answerOf(0, i, exponents);
    }

    /// The same of the keyset number `k`.
    function _answerOf(uint256 k, uint256 i, bytes memory exponents) internal view returns (Answer memory answer) {
        answer.exponents = exponents;
        for (uint256 j = 0; j < exponents.length; j++) {
            uint256 exponent = uint8(exponents[j]);
            bytes32 message = keccak256(abi.encode("blank", i, j));
            bytes memory point = PlainBls.multiply(PlainBls.hashToG1(message), 1 + uint256(keccak256(abi.encode(j))) % 1e40);
            answer.blinded = bytes.concat(answer.blinded, point);
            answer.signatures = bytes.concat(answer.signatures, TestKeyset.signPoint(k, exponent, point));
            if (j == 0 || exponents[j] != exponents[j - 1]) {
                answer.keys = bytes.concat(answer.keys, TestKeyset.keyOf(k, exponent));
            }
        }
        _signAnswer(answer, CLAIM_KEY + i, k == 0 ? KEYSET : OTHER_KEYSET);
    }

    /// Signs what the holder of a claim key asks for.
    function _signAnswer(Answer memory answer, uint256 key, KeysetId keyset) internal view {
        bytes32 outputsHash = keccak256(bytes.concat(answer.exponents, answer.blinded));
        bytes32 typeHash = keccak256("IssueRequest(bytes32 keyset,address claimKey,bytes32 outputsHash)");
        bytes32 digest = _vaultDigest(keccak256(abi.encode(typeHash, keyset, vm.addr(key), outputsHash)));
        (answer.r, answer.vs) = vm.signCompact(key, digest);
    }

    function _post(Answer memory answer, address claimKey) internal {
        vault.answerDeposit(
            KEYSET,
            claimKey,
            answer.keys,
            answer.exponents,
            answer.blinded,
            answer.signatures,
            answer.r,
            answer.vs
        );
    }

    /// Exponents of the fewest credits worth `units`, ascending.
    function _exponentsOf(uint256 units) internal pure returns (bytes memory exponents) {
        for (uint256 exponent = 0; exponent < 23; exponent++) {
            if (units >> exponent & 1 == 1) exponents = bytes.concat(exponents, bytes1(uint8(exponent)));
        }
        for (uint256 i = 0; i < units >> 23; i++) {
            exponents = bytes.concat(exponents, bytes1(uint8(23)));
        }
    }

    // Exits

    function _exitKey(uint256 credit) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("exit key", credit))) >> 8;
    }

    function _secretOf(uint256 credit) internal pure returns (bytes32) {
        return keccak256(abi.encode("t", credit));
    }

    /// Text of its own for what CreditHash.creditId makes.
    function _creditId(KeysetId keyset, uint256 credit) internal view returns (CreditId) {
        return CreditId.wrap(
            keccak256(
                abi.encode(
                    keccak256("Sealpath credit v1"),
                    block.chainid,
                    address(vault),
                    keyset,
                    vm.addr(_exitKey(credit)),
                    keccak256(abi.encodePacked(_secretOf(credit)))
                )
            )
        );
    }

    /// Exits of KEYSET's credits number `first` and on, one for each of `exponents`, to RECIPIENT.
    function _exits(uint256 first, bytes memory exponents) internal view returns (Exits memory) {
        return _exits(KEYSET, first, exponents, RECIPIENT);
    }

    function _exits(KeysetId keyset, uint256 first, bytes memory exponents, address recipient)
        internal
        view
        returns (Exits memory exits)
    {
        exits.keyset = keyset;
        exits.recipient = recipient;
        exits.exponents = exponents;
        exits.credits = new ICreditExits.CreditExit[](exponents.length);
        exits.ids = new CreditId[](exponents.length);
        for (uint256 i = 0; i < exponents.length; i++) {
            _addExit(exits, i, first + i, uint8(exponents[i]));
            if (i == 0 || exponents[i] != exponents[i - 1]) {
                bytes memory key = TestKeyset.keyOf(_numberOf(keyset), uint8(exponents[i]));
                exits.keys = bytes.concat(exits.keys, key);
            }
        }
    }

    function _addExit(Exits memory exits, uint256 i, uint256 credit, uint8 exponent) private view {
        CreditId id = _creditId(exits.keyset, credit);
        exits.ids[i] = id;
        exits.units += 1 << exponent;
        bytes memory signature = TestKeyset.sign(_numberOf(exits.keyset), exponent, CreditId.unwrap(id));
        exits.signatures = bytes.concat(exits.signatures, signature);
        (bytes32 r, bytes32 vs) = _signExit(credit, id, exits.recipient);
        exits.credits[i] = ICreditExits.CreditExit({
            exitKey: vm.addr(_exitKey(credit)),
            hashT: keccak256(abi.encodePacked(_secretOf(credit))),
            r: r,
            vs: vs
        });
    }

    function _signExit(uint256 credit, CreditId id, address recipient) internal view returns (bytes32 r, bytes32 vs) {
        bytes32 typeHash = keccak256("Exit(bytes32 credit,address recipient)");
        return vm.signCompact(_exitKey(credit), _vaultDigest(keccak256(abi.encode(typeHash, id, recipient))));
    }

    function _open(Exits memory exits) internal {
        vault.openExits(
            exits.keyset, exits.recipient, exits.keys, exits.exponents, exits.credits, exits.signatures
        );
    }

    function _exitState(CreditId credit) internal view returns (ICreditExits.ExitState) {
        return vault.exitOf(credit).state;
    }

    // Assertions on states

    function assertEq(ICreditExits.ExitState actual, ICreditExits.ExitState expected, string memory what)
        internal
        pure
    {
        assertEq(uint256(actual), uint256(expected), what);
    }

    function assertEq(ICreditDeposits.DepositState actual, ICreditDeposits.DepositState expected, string memory what)
        internal
        pure
    {
        assertEq(uint256(actual), uint256(expected), what);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ICreditKeysets} from "../interfaces/ICreditKeysets.sol";
import {IEnclaveRegistry} from "../interfaces/IEnclaveRegistry.sol";
import {ReceiptHash} from "../libraries/ReceiptHash.sol";
import {EnclaveId, EnclaveRole, EnclaveState, KeysetId, Units} from "../types/Types.sol";
import {Bls12381} from "./Bls12381.sol";
import {CreditHash} from "./CreditHash.sol";

/// @title CreditKeysets
/// The part of the vault that knows keysets: their keys, their phases, their writer, and the money behind them.
/// The owner, an OpenZeppelin TimelockController, opens keysets. It cannot change one, and cannot move tokens.
abstract contract CreditKeysets is ICreditKeysets, EIP712, Ownable2Step, ReentrancyGuardTransient {
    /// Exits stay open at least this long after spending has ended: users sleep.
    uint40 public constant EXIT_PHASE_MIN = 365 days;
    /// Credits in one call, of exits and of answers: far below the 16,777,216 gas that a transaction may use (EIP-7825).
    uint256 public constant CREDITS_MAX = 64;
    uint256 internal constant KEYS = 24;
    bytes32 private constant SUCCESSION_TYPEHASH = keccak256("Succession(bytes32 keyset,address successor)");

    /// Two storage words: what a clearing looks at, and the rest.
    struct Entry {
        EnclaveId writer;
        Units deposited;
        uint16 number;
        // Second word. `exitDay` is the day whose opened exits `exitsOpened` counts, in units (CreditExits).
        uint40 signUntil;
        uint40 spendUntil;
        uint40 exitUntil;
        uint16 exitDay;
        uint64 exitsOpened;
    }

    IERC20 public immutable TOKEN;
    IEnclaveRegistry public immutable REGISTRY;

    uint16 public keysetCount;
    mapping(KeysetId keyset => Entry) internal _keysets;
    mapping(uint16 number => KeysetId keyset) internal _keysetNumbered;
    mapping(KeysetId keyset => bytes32[KEYS] hashes) private _keyHashes;

    constructor(address owner, IEnclaveRegistry registry, IERC20 token)
        EIP712("Sealpath CreditVault", "1")
        Ownable(owner)
    {
        require(address(registry) != address(0) && address(token) != address(0), VaultZeroAddress());
        REGISTRY = registry;
        TOKEN = token;
    }

    /// @inheritdoc ICreditKeysets
    function openKeyset(bytes calldata keys, KeysetTimes calldata times, EnclaveId writer)
        external
        onlyOwner
        returns (KeysetId keyset)
    {
        require(EnclaveId.unwrap(writer) != address(0), VaultZeroAddress());
        require(
            times.signUntil < times.spendUntil && uint256(times.spendUntil) + EXIT_PHASE_MIN <= times.exitUntil,
            VaultPhasesOutOfOrder(times)
        );
        bytes32[KEYS] memory hashes = _checkKeys(keys);
        keyset = CreditHash.keysetId(hashes, [times.signUntil, times.spendUntil, times.exitUntil]);
        require(_keysets[keyset].number == 0, VaultKeysetExists(keyset));
        uint16 number = ++keysetCount;
        _keysetNumbered[number] = keyset;
        _keyHashes[keyset] = hashes;
        _keysets[keyset] = Entry({
            writer: writer,
            deposited: Units.wrap(0),
            number: number,
            signUntil: times.signUntil,
            spendUntil: times.spendUntil,
            exitUntil: times.exitUntil,
            exitDay: 0,
            exitsOpened: 0
        });
        emit KeysetOpened(keyset, writer, number, times, keys);
    }

    /// @inheritdoc ICreditKeysets
    function takeOver(KeysetId keyset, EnclaveId successor, bytes32 r, bytes32 vs) external {
        EnclaveId writer = _entryOf(keyset).writer;
        // What a compromised key signs says nothing. Its keyset is left to exits.
        (EnclaveState writerState,) = REGISTRY.standingOf(writer);
        (EnclaveState state, EnclaveRole role) = REGISTRY.standingOf(successor);
        require(
            writerState != EnclaveState.Compromised && state == EnclaveState.Active && role == EnclaveRole.Issuer
                && REGISTRY.operatorOf(successor) == REGISTRY.operatorOf(writer),
            VaultSuccessorUnfit(successor)
        );
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(SUCCESSION_TYPEHASH, keyset, successor)));
        address signer = ReceiptHash.recover(digest, r, vs);
        require(signer == EnclaveId.unwrap(writer), VaultSuccessionNotSigned(writer, signer));
        _keysets[keyset].writer = successor;
        emit KeysetTakenOver(keyset, successor);
    }

    /// @inheritdoc ICreditKeysets
    function keysetOf(KeysetId keyset) external view returns (Keyset memory) {
        Entry storage entry = _keysets[keyset];
        return Keyset({writer: entry.writer, deposited: entry.deposited, number: entry.number});
    }

    /// @inheritdoc ICreditKeysets
    function keysetTimes(KeysetId keyset) external view returns (KeysetTimes memory) {
        Entry storage entry = _keysets[keyset];
        return KeysetTimes(entry.signUntil, entry.spendUntil, entry.exitUntil);
    }

    /// @inheritdoc ICreditKeysets
    function keyHashOf(KeysetId keyset, uint256 exponent) public view returns (bytes32) {
        require(exponent < KEYS, VaultExponentUnknown(exponent));
        return _keyHashes[keyset][exponent];
    }

    // Internal

    /// Units that the clearings of a keyset claim and its exits were paid.
    function _takenFrom(KeysetId keyset) internal view virtual returns (uint256);

    function _entryOf(KeysetId keyset) internal view returns (Entry storage entry) {
        entry = _keysets[keyset];
        require(entry.number != 0, VaultKeysetUnknown(keyset));
    }

    /// What of a keyset's money neither clearings nor exits have taken must cover `amount`. Whatever an issuer's key signs, its keyset pays with
    /// its own money only.
    function _requireCovered(KeysetId keyset, Entry storage entry, uint256 amount) internal view {
        // Never negative: clearings and exits are each refused beyond what is deposited, and refunds pass here too.
        uint256 left = Units.unwrap(entry.deposited) - _takenFrom(keyset);
        require(amount <= left, VaultKeysetDrained(left, amount));
    }

    /// Where each group of equal `exponents` ends, and what they are worth together. They ascend, and `keys` has the key of each group.
    function _groupsOf(KeysetId keyset, bytes calldata keys, bytes calldata exponents)
        internal
        view
        returns (uint256[] memory ends, uint256 units)
    {
        ends = new uint256[](keys.length / Bls12381.G2_BYTES);
        uint256 groups = 0;
        uint256 previous = 0;
        uint256 count = exponents.length;
        for (uint256 i = 0; i < count; i++) {
            uint256 exponent = uint8(exponents[i]);
            if (i == 0 || exponent != previous) {
                require(exponent >= previous, VaultNotSorted(i));
                if (groups != 0) ends[groups - 1] = i;
                require(groups < ends.length, VaultBytesLength((groups + 1) * Bls12381.G2_BYTES, keys.length));
                bytes32 expected = keyHashOf(keyset, exponent);
                bytes32 actual = _hashOfKey(keys, groups);
                require(actual == expected, VaultKeyOther(exponent, expected, actual));
                groups++;
                previous = exponent;
            }
            units += 1 << exponent;
        }
        if (groups != 0) ends[groups - 1] = count;
        require(keys.length == groups * Bls12381.G2_BYTES, VaultBytesLength(groups * Bls12381.G2_BYTES, keys.length));
    }

    /// Hashes of the 24 keys, each of which is a point of the subgroup, none the identity and no two the same: with the identity for a key
    /// everybody could sign, and a credit under a repeated key would be worth what its holder says.
    function _checkKeys(bytes calldata keys) private view returns (bytes32[KEYS] memory hashes) {
        require(
            keys.length == KEYS * Bls12381.G2_BYTES, VaultBytesLength(KEYS * Bls12381.G2_BYTES, keys.length)
        );
        bytes32 identity = keccak256(new bytes(Bls12381.G2_BYTES));
        // Each key beside the identity of G1: the pairing refuses a point outside of the subgroup, and is one.
        bytes memory pairs = new bytes(KEYS * Bls12381.PAIR_BYTES);
        for (uint256 i = 0; i < KEYS; i++) {
            bytes32 hash = _hashOfKey(keys, i);
            require(hash != identity, VaultKeyIsIdentity(i));
            for (uint256 j = 0; j < i; j++) {
                require(hash != hashes[j], VaultKeyRepeated(i));
            }
            hashes[i] = hash;
            // Inside of `pairs`, behind its length and the pair's point of G1.
            assembly ("memory-safe") {
                calldatacopy(add(add(pairs, 0xa0), mul(i, 0x180)), add(keys.offset, mul(i, 0x100)), 0x100)
            }
        }
        uint256 input;
        assembly ("memory-safe") {
            input := add(pairs, 0x20)
        }
        assert(Bls12381.isPairingOne(input, KEYS));
    }

    function _hashOfKey(bytes calldata keys, uint256 i) private pure returns (bytes32) {
        return keccak256(keys[i * Bls12381.G2_BYTES:(i + 1) * Bls12381.G2_BYTES]);
    }
}

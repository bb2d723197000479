// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IEvidenceVerifier} from "../../interfaces/IEvidenceVerifier.sol";
import {MeasurementId} from "../../types/Types.sol";
import {check, EvidenceCode} from "./EvidenceCode.sol";
import {Es384} from "./Es384.sol";
import {NitroDocument} from "./NitroDocument.sol";
import {X509} from "./X509.sol";

/// @title NitroVerifier
/// Verifies AWS Nitro attestation documents: COSE_Sign1 with ES384 under a certificate chain that ends in the one pinned root.
/// Units: time in seconds. Nitro's own timestamps are milliseconds.
/// The owner can revoke certificates, for good. It cannot accept anything: there is no owner in the cryptography.
/// Safety assumes: P384 and SHA384 are the contracts that were reviewed (pinned by address at deployment).
/// Liveness assumes: somebody makes the hints (offchain/protocol/evidence/p384Hints.ts); a bad hint costs liveness only.
contract NitroVerifier is IEvidenceVerifier, Ownable2Step {
    /// The pinned root, parsed by the deployer; `hash` makes sure that it is the root that documents carry.
    /// @param hash keccak256 of its DER encoding.
    /// @param key Its public key, x and y: 96 bytes in three words.
    struct Root {
        bytes32 hash;
        bytes32 subjectHash;
        uint40 notBefore;
        uint40 notAfter;
        uint8 pathLength;
        bytes32[3] key;
    }

    /// A CA certificate whose signature was verified: what is needed to verify what it signed.
    struct Authority {
        uint40 notBefore;
        uint40 notAfter;
        uint8 pathLength;
        bytes32 subjectHash;
        bytes32 revocationId;
        bytes32[3] key;
    }

    bytes32 public constant TEE_TYPE = keccak256("aws-nitro");

    Es384.Contracts private _crypto;
    Authority private _root;
    bytes32 public immutable ROOT_HASH;
    /// Whether the root is a development root: its evidence proves the format, not an enclave.
    bool public immutable IS_DEVELOPMENT;

    /// By keccak256(id of the parent, keccak256 of the signed part): a signature is never an identifier, because anyone can make
    /// its twin.
    mapping(bytes32 id => Authority) private _authorities;
    /// By keccak256(keccak256(issuer's Name), serial). A set that only grows: nothing brings a revoked certificate back.
    /// @inheritdoc IEvidenceVerifier
    mapping(bytes32 revocationId => bool) public isRevoked;

    event AuthorityCached(bytes32 indexed id, bytes32 indexed revocationId, uint40 notAfter);
    event CertificateRevoked(bytes32 indexed revocationId);

    constructor(address owner, address p384, address sha384, Root memory root, bool isDevelopment) Ownable(owner) {
        _crypto = Es384.Contracts({p384: p384, sha384: sha384});
        ROOT_HASH = root.hash;
        IS_DEVELOPMENT = isDevelopment;
        _root = Authority({
            notBefore: root.notBefore,
            notAfter: root.notAfter,
            pathLength: root.pathLength,
            subjectHash: root.subjectHash,
            revocationId: 0,
            key: root.key
        });
    }

    /// Revokes a certificate for good: its issuer's Name and its serial number, hashed as above.
    function revoke(bytes32 revocationId) external onlyOwner {
        isRevoked[revocationId] = true;
        emit CertificateRevoked(revocationId);
    }

    /// Whether a CA certificate needs no hints any more. Its id: keccak256(abi.encode(id of the parent, keccak256(signed part))), the root's
    /// being ROOT_HASH.
    function isCached(bytes32 id) external view returns (bool) {
        return _authorities[id].notAfter != 0;
    }

    /// Reverts with `EvidenceRefused(code)`. `hints` are, for each signature that has to be verified (CA certificates that are not cached,
    /// then the leaf, then the document), their length in two bytes and the hints themselves; consumed exactly.
    /// @inheritdoc IEvidenceVerifier
    function verify(bytes calldata evidence, bytes calldata hints) external returns (AttestationResult memory result) {
        NitroDocument.Document memory document = NitroDocument.parse(evidence);
        Es384.Session memory session = Es384.open(_crypto);
        uint256 validUntil;
        (validUntil, result.certificates) = _verifyChain(evidence, document, session, hints);
        check(Es384.verifyDocument(session, evidence, document, hints), EvidenceCode.BAD_DOCUMENT_SIGNATURE);
        check(session.used == hints.length, EvidenceCode.HINTS_LENGTH);
        result.measurement = _measurement(evidence, document);
        result.userData = evidence[document.userData.start:document.userData.end];
        result.issuedAt = uint64(document.timestampMs / 1000);
        // The root's end is 40 bits wide, and the chain's is not later.
        result.validUntil = uint64(validUntil);
        result.development = IS_DEVELOPMENT;
    }

    /// Walks from the root to the leaf, leaves the leaf's key in the session, and answers the end of the chain's validity and the ids of its
    /// certificates.
    function _verifyChain(
        bytes calldata evidence,
        NitroDocument.Document memory document,
        Es384.Session memory session,
        bytes calldata hints
    ) private returns (uint256 validUntil, bytes32[] memory certificates) {
        NitroDocument.Span memory span = document.bundle[0];
        check(keccak256(evidence[span.start:span.end]) == ROOT_HASH, EvidenceCode.ROOT_NOT_PINNED);
        Authority memory parent = _root;
        bytes32 id = ROOT_HASH;
        uint256 count = document.bundleCount;
        _requirePathLength(parent, count - 1);
        _requireValid(parent.notBefore, parent.notAfter);
        validUntil = parent.notAfter;
        // The bundle's without the root, and the leaf's.
        certificates = new bytes32[](count);
        for (uint256 i = 1; i < count; i++) {
            (id, parent) = _authority(evidence, document.bundle[i], id, parent, session, hints);
            // `i` is below `count`.
            _requirePathLength(parent, count - 1 - i);
            _requireValid(parent.notBefore, parent.notAfter);
            check(!isRevoked[parent.revocationId], EvidenceCode.CERTIFICATE_REVOKED);
            certificates[i - 1] = parent.revocationId;
            if (parent.notAfter < validUntil) validUntil = parent.notAfter;
        }
        X509.Certificate memory leaf = X509.parse(evidence, document.certificate.start, document.certificate.end);
        _requireSignedBy(evidence, leaf, parent, session, hints);
        check(!leaf.isCa, EvidenceCode.LEAF_IS_CA);
        check(leaf.canSignData, EvidenceCode.LEAF_KEY_USAGE);
        _requireValid(leaf.notBefore, leaf.notAfter);
        check(!isRevoked[leaf.revocationId], EvidenceCode.CERTIFICATE_REVOKED);
        if (leaf.notAfter < validUntil) validUntil = leaf.notAfter;
        certificates[count - 1] = leaf.revocationId;
        session.key = Es384.keyAt(evidence, leaf.key);
    }

    /// The CA certificate in `span` under `parent`: from the cache, or verified and cached.
    function _authority(
        bytes calldata evidence,
        NitroDocument.Span memory span,
        bytes32 parentId,
        Authority memory parent,
        Es384.Session memory session,
        bytes calldata hints
    ) private returns (bytes32 id, Authority memory authority) {
        (uint256 tbs, uint256 tbsEnd) = X509.tbsOf(evidence, span.start, span.end);
        id = keccak256(abi.encode(parentId, keccak256(evidence[tbs:tbsEnd])));
        authority = _authorities[id];
        if (authority.notAfter != 0) return (id, authority);
        X509.Certificate memory certificate = X509.parse(evidence, span.start, span.end);
        check(certificate.isCa, EvidenceCode.CHAIN_NOT_CA);
        check(certificate.canSignCertificates, EvidenceCode.CHAIN_KEY_USAGE);
        _requireSignedBy(evidence, certificate, parent, session, hints);
        // Dates of four-digit years fit 40 bits; a path length is one byte.
        authority = Authority({
            notBefore: uint40(certificate.notBefore),
            notAfter: uint40(certificate.notAfter),
            pathLength: uint8(certificate.pathLength),
            subjectHash: certificate.subjectHash,
            revocationId: certificate.revocationId,
            key: Es384.keyAt(evidence, certificate.key)
        });
        _authorities[id] = authority;
        emit AuthorityCached(id, authority.revocationId, authority.notAfter);
    }

    function _requireSignedBy(
        bytes calldata evidence,
        X509.Certificate memory certificate,
        Authority memory parent,
        Es384.Session memory session,
        bytes calldata hints
    ) private view {
        check(certificate.issuerHash == parent.subjectHash, EvidenceCode.CHAIN_NAME);
        session.key = parent.key;
        check(Es384.verifyCertificate(session, evidence, certificate, hints), EvidenceCode.BAD_CHAIN_SIGNATURE);
    }

    function _requirePathLength(Authority memory authority, uint256 authoritiesBelow) private pure {
        bool isBounded = authority.pathLength != X509.NO_PATH_LENGTH;
        check(!isBounded || authority.pathLength >= authoritiesBelow, EvidenceCode.CHAIN_PATH_LENGTH);
    }

    function _requireValid(uint256 notBefore, uint256 notAfter) private view {
        check(block.timestamp >= notBefore, EvidenceCode.CERTIFICATE_NOT_YET_VALID);
        check(block.timestamp <= notAfter, EvidenceCode.CERTIFICATE_EXPIRED);
    }

    /// keccak256(abi.encode(TEE_TYPE, PCR0, PCR1, PCR2)). Debug mode, which shows as three PCRs of zeros, is refused: its host can
    /// read the enclave's memory.
    function _measurement(bytes calldata evidence, NitroDocument.Document memory document)
        private
        pure
        returns (MeasurementId)
    {
        bytes calldata pcr0 = evidence[document.pcrs[0]:document.pcrs[0] + 48];
        bytes calldata pcr1 = evidence[document.pcrs[1]:document.pcrs[1] + 48];
        bytes calldata pcr2 = evidence[document.pcrs[2]:document.pcrs[2] + 48];
        bool isDebug = _isZero(pcr0) && _isZero(pcr1) && _isZero(pcr2);
        check(!isDebug, EvidenceCode.DEBUG_MODE);
        return MeasurementId.wrap(keccak256(abi.encode(TEE_TYPE, pcr0, pcr1, pcr2)));
    }

    function _isZero(bytes calldata pcr) private pure returns (bool) {
        return bytes32(pcr[:32]) == 0 && bytes16(pcr[32:48]) == 0;
    }
}

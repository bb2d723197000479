// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {NitroDocument} from "../../../contracts/attestation/nitro/NitroDocument.sol";
import {X509} from "../../../contracts/attestation/nitro/X509.sol";

/// @title NitroParser
/// The parsers behind an address, to be compared with their TypeScript twins.
contract NitroParser {
    function parseDocument(bytes calldata data) external pure returns (NitroDocument.Document memory) {
        return NitroDocument.parse(data);
    }

    function parseCertificate(bytes calldata data) external pure returns (X509.Certificate memory) {
        return X509.parse(data, 0, data.length);
    }
}

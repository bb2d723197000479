"""Makes the images of this folder with nothing but Python's own library and the openssl command: a second implementation of the format.

Run in this folder; keys are made anew and not kept, so the files change with every run. Format: aws/aws-nitro-enclaves-image-format, src/defs/mod.rs.
"""
import hashlib
import json
import os
import struct
import subprocess
import tempfile
import zlib

KERNEL, CMDLINE, RAMDISK, SIGNATURE, METADATA = range(1, 6)
CURVES = [("es256", "prime256v1", "sha256", 32, b"\xa1\x01\x26"),
          ("es384", "secp384r1", "sha384", 48, b"\xa1\x01\x38\x22"),
          ("es512", "secp521r1", "sha512", 66, b"\xa1\x01\x38\x23")]


def extend(*parts):
    return hashlib.sha384(bytes(48) + hashlib.sha384(b"".join(parts)).digest()).digest()


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    return bytes([major << 5 | 24, n]) if n < 256 else struct.pack(">BH", major << 5 | 25, n)


def text(s):
    return head(3, len(s)) + s.encode()


def data(b):
    return head(2, len(b)) + b


def numbers(b):
    return head(4, len(b)) + b"".join(head(0, n) for n in b)


def image(sections):
    offsets, sizes, body, at = [], [], b"", 548
    for kind, content in sections:
        offsets.append(at)
        sizes.append(len(content))
        section = struct.pack(">HHQ", kind, 0, len(content)) + content
        body += section
        at += len(section)
    pad = [0] * (32 - len(sections))
    front = struct.pack(">4sHHQQHH", b".eif", 4, 0, 1 << 30, 2, 0, len(sections))
    front += struct.pack(">32Q", *offsets, *pad) + struct.pack(">32Q", *sizes, *pad) + bytes(4)
    return front + struct.pack(">I", zlib.crc32(front + body)) + body


def raw(der, length):
    """r || s of an ECDSA signature in DER."""
    at = 3 if der[1] & 0x80 else 2
    out = b""
    for _ in range(2):
        size = der[at + 1]
        out += int.from_bytes(der[at + 2:at + 2 + size], "big").to_bytes(length, "big")
        at += 2 + size
    return out


def main():
    listed = []
    for name, curve, digest, length, protected in CURVES:
        with tempfile.TemporaryDirectory() as folder:
            key, pem = os.path.join(folder, "key"), os.path.join(folder, "pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:" + curve, "-nodes", "-keyout", key,
                            "-out", pem, "-days", "3650", "-subj", "/CN=signer of " + name], check=True, capture_output=True)
            certificate = open(pem, "rb").read()
            der = subprocess.run(["openssl", "x509", "-in", pem, "-outform", "DER"], check=True, capture_output=True).stdout
            kernel, cmdline = name.encode() * 700, b"console=ttyS0"
            disks = [bytes(range(256)) * 8, b"application of " + name.encode(), b"model"]
            pcrs = [extend(kernel, cmdline, *disks), extend(kernel, cmdline, disks[0]), extend(*disks[1:])]
            payload = b"\xa2" + text("register_index") + b"\0" + text("register_value") + numbers(pcrs[0])
            signed = b"\x84" + text("Signature1") + data(protected) + b"\x40" + data(payload)
            signature = subprocess.run(["openssl", "dgst", "-" + digest, "-sign", key], input=signed, check=True, capture_output=True).stdout
            cose = b"\x84" + data(protected) + b"\xa0" + data(payload) + data(raw(signature, length))
            section = b"\x81\xa2" + text("signing_certificate") + numbers(certificate) + text("signature") + numbers(cose)
            metadata = json.dumps({"ImageName": name, "ImageVersion": "1", "BuildMetadata": {}, "DockerInfo": {}, "CustomMetadata": {}}).encode()
            content = image([(KERNEL, kernel), (CMDLINE, cmdline), (METADATA, metadata), *((RAMDISK, disk) for disk in disks), (SIGNATURE, section)])
        open(name + ".eif", "wb").write(content)
        listed.append({"image": name + ".eif", "sha256": hashlib.sha256(content).hexdigest(),
                       "pcrs": {"0": pcrs[0].hex(), "1": pcrs[1].hex(), "2": pcrs[2].hex(), "8": extend(der).hex()}})
    with open("images.json", "w") as out:
        json.dump({"source": "makeImages.py of this folder: Python and openssl, nothing of ours", "images": listed}, out, indent=2)
        out.write("\n")


main()

"""Writes a GGUF file, version 3, of a llama architecture: matrices as F16, norms as F32, an SPM vocabulary and the chat template."""

import struct

ALIGNMENT = 32
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_F32, TENSOR_F16 = 0, 1


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


ENCODERS = {
    UINT32: lambda value: struct.pack("<I", value),
    INT32: lambda value: struct.pack("<i", value),
    FLOAT32: lambda value: struct.pack("<f", value),
    BOOL: lambda value: struct.pack("<B", value),
    STRING: text,
}


def field(key, kind, value):
    return text(key) + struct.pack("<I", kind) + ENCODERS[kind](value)


def array_field(key, kind, values):
    return text(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + b"".join(ENCODERS[kind](value) for value in values)


def write_gguf(path, fields, tensors):
    """`fields`: encoded key-value pairs. `tensors`: (name, numpy array of float32 or float16), rows first as PyTorch has them."""
    infos, data = [], []
    offset = 0
    for name, array in tensors:
        kind = {"float32": TENSOR_F32, "float16": TENSOR_F16}[str(array.dtype)]
        # GGUF names dimensions from the fastest: a matrix of R rows and C columns is [C, R].
        dimensions = array.shape[::-1]
        infos.append(text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset))
        raw = array.tobytes()
        raw += b"\0" * (-len(raw) % ALIGNMENT)
        data.append(raw)
        offset += len(raw)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields)) + b"".join(fields) + b"".join(infos)
    head += b"\0" * (-len(head) % ALIGNMENT)
    path.write_bytes(head + b"".join(data))

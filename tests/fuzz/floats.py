"""Vectors in two forms: what is converted has the bits that a client makes of the other form; all else is an error."""

from __future__ import annotations

import base64
import json
import math
import struct

from formats.floats import as_base64, as_numbers

SEEDS = [
    b"[1,-2.5e-3,0.1]",
    b"[]",
    b"[-0.0,3.4028235e38,1e-45]",
    b"[1e39]",
    b'"AACAPwAAIMDNzMw9"',
    b'"\\/\\/\\/\\/AA=="',
    b'"AADAfw=="',
    b"[[1],null]",
]
TOKENS = [b"[", b"]", b",", b'"', b"e38", b"e-46", b"-", b"0.", b"==", b"\\/", b"null", b"NaN", b"AACAfw"]


def check(data: bytes) -> None:
    if not data:
        return  # no dialect takes nothing for a result
    try:
        characters = as_base64(data)
    except ValueError:
        characters = None
    if data[:1] == b"[":
        assert as_numbers(data) is data
        if characters is not None:
            _check_bits(base64.b64decode(characters, validate=True), data)
        return
    try:
        numbers = as_numbers(data)
    except ValueError:
        return
    assert characters is not None
    _check_bits(base64.b64decode(characters, validate=True), numbers)


def _check_bits(packed: bytes, written: bytes) -> None:
    values = [float(value) for value in json.loads(written)]
    assert packed == struct.pack(f"<{len(values)}f", *values) or _has_negative_zero_as_integer(written)
    assert all(map(math.isfinite, struct.unpack(f"<{len(values)}f", packed)))


def _has_negative_zero_as_integer(written: bytes) -> bool:
    """Whether a number is ``-0``, which Python reads as the integer 0 and others as a float."""
    return any(type(value) is int and value == 0 for value in json.loads(written))

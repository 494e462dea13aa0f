"""Turns a vector's JSON from numbers into base64 and back: ``[0.5,…]`` and ``"AAAAPw…"`` of little-endian float32.

The characters of base64 hold float32, four bytes a number, least significant byte first, as OpenAI's API has them.
Numbers that are written with enough digits for float32, as servers write them, give the same bits in both forms.
"""

from __future__ import annotations

import binascii
import struct

import msgspec

_read_numbers = msgspec.json.Decoder(list[float]).decode
_read_text = msgspec.json.Decoder(str).decode
_to_json = msgspec.json.Encoder().encode
_OPENING = ord("[")
_QUOTE = ord('"')
_BYTES_A_NUMBER = 4


def as_base64(result: bytes) -> bytes:
    """Return a vector's base64 characters, without quotes; raises ``ValueError``.

    ``result``: a JSON array of numbers, which is converted, or a JSON text of base64, whose characters pass as they
    are. A number beyond float32's range is an error, never an infinity.
    """
    if result[0] != _OPENING:
        return _characters(result)
    numbers = _read_numbers(result)
    try:
        # With "<" each number is checked against float32's range; the native form and `array` make infinities.
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
    except OverflowError as problem:
        raise ValueError("a number of the vector is too large for float32") from problem
    return binascii.b2a_base64(packed, newline=False)


def as_numbers(result: bytes) -> bytes:
    """Return a vector as a JSON array of numbers; raises ``ValueError``.

    ``result``: a JSON text of base64, which is converted, or a JSON array of numbers, which passes as it is. The digits
    are those of each float32's exact value as a double, so that both precisions read the number that was sent. NaN and
    infinities, which JSON cannot hold, are errors.
    """
    if result[0] == _OPENING:
        return result
    packed = binascii.a2b_base64(_characters(result), strict_mode=True)
    if len(packed) % _BYTES_A_NUMBER:
        raise ValueError(f"{len(packed)} bytes of base64 are no vector of float32")
    numbers = _to_json(struct.unpack(f"<{len(packed) // _BYTES_A_NUMBER}f", packed))
    if b"n" in numbers:  # of "null", which msgspec writes for what is no number; numbers have no letter but "e"
        raise ValueError("the vector holds NaN or an infinity")
    return numbers


def _characters(result: bytes) -> bytes:
    """Return what stands between the quotes of a JSON text of ASCII characters."""
    if result[0] != _QUOTE:
        raise ValueError("the result is neither an array of numbers nor a text of base64")
    if b"\\" in result:  # some servers write "/" as "\/"
        return _read_text(result).encode("ascii")
    return result[1:-1]

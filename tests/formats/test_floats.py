"""Vectors change their form and keep every bit."""

from __future__ import annotations

import base64
import json
import math
import random
import struct
from decimal import Decimal

import pytest

from formats.floats import as_base64, as_numbers


def packed(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def text(data: bytes) -> bytes:
    return b'"' + base64.b64encode(data) + b'"'


def any_float32(numbers: random.Random) -> float:
    """Return a finite float32 of any magnitude, subnormal ones among them."""
    while not math.isfinite(number := struct.unpack("<f", numbers.randbytes(4))[0]):
        pass
    return float(number)


def shortest(number: float) -> str:
    """Return as few digits as tell this float32 from all others, as servers in Rust and C++ write them."""
    return next(
        digits for count in range(1, 18) if struct.pack("<f", float(digits := f"{number:.{count}g}")) == packed(number)
    )


# To base64


def test_numbers_become_little_endian_float32() -> None:
    assert as_base64(b"[1,-2.5,0.1]") == base64.b64encode(bytes.fromhex("0000803f 000020c0 cdcccc3d"))


def test_the_empty_array_has_no_characters() -> None:
    assert as_base64(b"[]") == b""


@pytest.mark.parametrize("result", [b"[1e0,-1.5E+2]", b"[ 1.0 ,\n-150 ]"])
def test_numbers_may_be_written_in_each_way_that_json_has(result: bytes) -> None:
    assert as_base64(result) == base64.b64encode(packed(1, -150))


def test_the_base64_of_numbers_has_the_bits_that_a_client_makes_of_them() -> None:
    numbers = random.Random(1)
    vector = [any_float32(numbers) for _ in range(5000)]
    for written in (f"[{','.join(map(shortest, vector))}]", json.dumps(vector)):
        assert base64.b64decode(as_base64(written.encode())) == packed(*vector) == packed(*json.loads(written))


def test_base64_passes_as_it_is_without_its_quotes() -> None:
    assert as_base64(b'"AACAPw=="') == b"AACAPw=="
    assert as_base64(b'""') == b""


def test_an_escaped_slash_is_a_slash() -> None:
    result = text(b"\xff\xff\x7f?").replace(b"/", b"\\/")
    assert b"\\" in result
    assert base64.b64decode(as_base64(result), validate=True) == b"\xff\xff\x7f?"
    assert as_numbers(result) == b"[0.9999999403953552]"


@pytest.mark.parametrize(("number", "fits"), [("3.4028235677973362e38", True), ("3.4028235677973366e38", False)])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_beyond_float32_is_an_error_and_no_infinity(number: str, fits: bool, sign: str) -> None:
    result = f"[1,{sign}{number}]".encode()
    if fits:
        assert all(map(math.isfinite, struct.unpack("<2f", base64.b64decode(as_base64(result)))))
    else:
        with pytest.raises(ValueError, match="too large for float32"):
            as_base64(result)


@pytest.mark.parametrize("result", [b"[1e400]", b"[null]", b'["a"]', b"[NaN]", b"[[1]]", b"[1", b"1", b"null", b"{}"])
def test_what_is_no_vector_is_an_error(result: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        as_base64(result)


# To numbers


def test_base64_becomes_the_exact_values_of_its_float32() -> None:
    written = as_numbers(text(packed(1, -2.5, 0.1, -0.0)))
    assert written == b"[1.0,-2.5,0.10000000149011612,-0.0]"
    assert as_numbers(text(b"")) == b"[]"


def test_each_float32_comes_back_to_the_last_bit() -> None:
    numbers = random.Random(2)
    vector = packed(*(any_float32(numbers) for _ in range(5000)))
    written = as_numbers(text(vector))
    assert packed(*json.loads(written)) == vector
    assert base64.b64decode(as_base64(written)) == vector


def test_digits_are_those_of_the_double_next_to_none_other() -> None:
    value = struct.unpack("<f", packed(0.3))[0]
    assert Decimal(json.loads(as_numbers(text(packed(0.3))))[0]) == Decimal(value)


def test_numbers_pass_as_they_are() -> None:
    result = b"[1.0e0, 2,3.14159265358979323846]"
    assert as_numbers(result) is result


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_an_error(number: float) -> None:
    with pytest.raises(ValueError, match="NaN or an infinity"):
        as_numbers(text(packed(1, number)))


@pytest.mark.parametrize(
    "result", [b'"AAAA"', b'"A"', b'"AAAAAA"', b'"AACAPw=\n="', b'"AAC!APw=="', b'"\xc3\xa9"', b"1"]
)
def test_what_is_no_base64_of_float32_is_an_error(result: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        as_numbers(result)

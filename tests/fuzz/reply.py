"""Upstream replies: slices are taken exactly where a parser of every number finds vectors, and say what it says."""

from __future__ import annotations

import json
from typing import NoReturn

from formats.slices import NotVectorsError, split_vectors

SEEDS = [
    b"\0[[0.5,-1e-3]]",
    b"\1[[1,2],[3,4]]",
    b"\1 [ [ 1 , 2 ] ,\r\n[3\t,4] ] ",
    b"\2[[-0.0],[1e999],[12345678901234567890123]]",
    b"\0[[]]",
    b"\1[[1,2],[3]]",
    b"\1[[null],[true]]",
    b'\0{"error":"x"}',
    b"\0[[[1]]]",
    b"\0" + b"[" * 1200 + b"]" * 1200,
]
TOKENS = [b"[[", b"],[", b"]]", b"[]", b",", b"NaN", b"Infinity", b"null", b'"1"', b"{}", b"1e5", b"-0.0", b"01", b"1."]


def check(data: bytes) -> None:
    """The first byte says how many vectors were asked for, the rest is the reply."""
    if not data:
        return
    count, body = 1 + data[0] % 4, data[1:]
    try:
        vectors, dimension = split_vectors(body, count)
    except NotVectorsError as problem:
        str(problem).encode()
        assert _vectors(body, count) is None
        return
    meant = _vectors(body, count)
    assert meant is not None
    assert [json.loads(vector, parse_int=str, parse_float=str) for vector in vectors] == meant
    assert dimension == len(meant[0])
    at = 0
    for vector in vectors:
        assert vector[:1] + vector[-1:] == b"[]"
        at = body.index(vector, at) + len(vector)


def _vectors(body: bytes, count: int) -> list[list[str]] | None:
    """Return each number of the reply as it is written; None unless it is ``count`` vectors of one dimension."""

    def no_constant(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        said = json.loads(body.decode(), parse_constant=no_constant, parse_int=_Digits, parse_float=_Digits)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, list) or len(said) != count:
        return None
    if not all(isinstance(vector, list) and vector for vector in said) or len({len(vector) for vector in said}) > 1:
        return None
    return said if all(type(number) is _Digits for vector in said for number in vector) else None


class _Digits(str):
    """A number's characters, told apart from a JSON string."""

    __slots__ = ()

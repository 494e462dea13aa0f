"""Upstream replies: slices are taken exactly where a parser of every number finds vectors, and say what it says."""

from __future__ import annotations

import json
from typing import Any

from formats.slices import BadRowsError, NotVectorsError, split_vectors

SEEDS = [
    b"\0[[0.5,-1e-3]]",
    b"\1[[1,2],[3,4]]",
    b"\1 [ [ 1 , 2 ] ,\r\n[3\t,4] ] ",
    b"\2[[-0.0],[1e999],[12345678901234567890123]]",
    b"\0[[]]",
    b"\1[[1,2],[3]]",
    b"\1[[null],[true]]",
    b"\1[[1,2],null]",
    b"\2[[1,2],[3,NaN],[-Infinity,4]]",
    b"\2[[1e5],[-nan(ind)],[+inf]]",
    b'\1[{"a":"NaN"},"\\nan"]',
    b'\0{"error":"x"}',
    b"\0[[[1]]]",
    b"\0" + b"[" * 1200 + b"]" * 1200,
]
TOKENS = [
    b"[[",
    b"],[",
    b"]]",
    b"[]",
    b",",
    b"NaN",
    b"-Infinity",
    b"nan",
    b"inf",
    b"null",
    b'"1"',
    b"{}",
    b"1e5",
    b"-0.0",
    b"01",
    b"1.",
]


def check(data: bytes) -> None:
    """The first byte says how many vectors were asked for, the rest is the reply."""
    if not data:
        return
    count, body = 1 + data[0] % 4, data[1:]
    rows = _rows(body, count)
    try:
        vectors, dimension = split_vectors(body, count)
    except BadRowsError as problem:
        _check_bad_rows(problem, body, count, rows)
    except NotVectorsError as problem:
        str(problem).encode()
        assert rows is None or (count > 1 and not any(_is_row(row) for row in rows))
    else:
        assert rows is not None
        assert [_parsed(vector) for vector in vectors] == rows
        assert all(map(_is_vector, rows))
        assert {len(row) for row in rows} == {dimension}
        _check_slices(vectors, body)


def _check_bad_rows(problem: BadRowsError, body: bytes, count: int, rows: list[Any] | None) -> None:
    assert len(problem.rows) == count
    assert problem.why.keys() == {at for at, row in enumerate(problem.rows) if row is None}
    assert problem.dimensions.keys() == set(range(count)) - problem.why.keys()
    assert problem.why or len(set(problem.dimensions.values())) > 1
    for at, length in problem.dimensions.items():
        parsed = _parsed(problem.rows[at] or b"")
        assert _is_vector(parsed)
        assert len(parsed) == length
    _check_slices([row for row in problem.rows if row is not None], body)
    if rows is not None:  # not every server writes NaN as Python does, and strings may hold anything
        assert problem.dimensions.keys() == {at for at, row in enumerate(rows) if _is_vector(row)}


def _check_slices(vectors: list[bytes], body: bytes) -> None:
    """Each is a part of the reply, in order."""
    at = 0
    for vector in vectors:
        assert vector[:1] + vector[-1:] == b"[]"
        at = body.index(vector, at) + len(vector)


class _Digits(str):
    """A number's characters, told apart from a JSON string."""

    __slots__ = ()


def _parsed(text: bytes) -> Any:
    return json.loads(text.decode(), parse_int=_Digits, parse_float=_Digits)


def _rows(body: bytes, count: int) -> list[Any] | None:
    """Return the rows of a reply, each number as it is written; None unless there are ``count``."""
    try:
        said = _parsed(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, list) and len(said) == count else None


def _is_row(row: Any) -> bool:
    """Whether a row is a vector, or what servers send instead of one."""
    return row is None or isinstance(row, float) or (isinstance(row, list) and all(map(_is_number, row)))


def _is_vector(row: Any) -> bool:
    return isinstance(row, list) and bool(row) and all(type(number) is _Digits for number in row)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, float | _Digits)

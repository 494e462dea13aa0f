"""Answers of OpenAI's route: rows get the place and the numbers that a parser of every number gives them."""

from __future__ import annotations

import base64
import json
import struct
from math import isfinite
from typing import Any

from formats.floats import as_base64, as_numbers
from formats.slices import BadRowsError, NotVectorsError
from upstream.dialects.openai_vectors import NoDataError, embeddings

SEEDS = [
    b'\1{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":"AACAPwAAAEA="}],"usage":{"prompt_tokens":7}}',
    b'\1{"data":[{"embedding":[1]},{"index":1,"embedding":[2e3]}]}',
    b'\2{"data":[{"index":2,"embedding":[1]},{"index":0,"embedding":[2]},{"index":1,"embedding":[NaN]}]}',
    b'\0{"data":[{"index":0,"embedding":"AAAAAAAAgH8AAAAA"}],"usage":{"total_tokens":1e3}}',
    b'\0{"data":[{"index":0,"embedding":"AACAPwAA\\nwH8="}]}',
    b'\0[{"index":0,"embedding":[[1,2]]}]',
    b'\0{"data":[],"error":{"message":"base64"}}',
    b'\0{"data":[{"index":0.0,"embedding":"\\/////w=="}]}',
    b'\0{"data":' + b"[" * 1200,
]
TOKENS = [
    *(b'"data":', b'"index":', b'"embedding":', b'"usage":', b'"prompt_tokens":', b'"error":'),
    *(b"NaN", b"-Infinity", b"null", b"true", b"1e39", b"-0.0", b"[", b"]", b"{", b"}", b",", b'"', b"\\/", b"\\n"),
    *(b'"AACAPw=="', b"AAAA", b"//9/fw==", b"AADAfw==", b"=", b"=="),
]


def check(data: bytes) -> None:
    """The first byte says how many vectors were asked for, the rest is the reply."""
    if not data:
        return
    count, body = 1 + data[0] % 4, data[1:]
    rows = _rows(body, count)
    try:
        found = embeddings(body, count)
    except BadRowsError as problem:
        _check_bad_rows(problem, count, rows)
    except NoDataError:
        pass
    except NotVectorsError as problem:
        str(problem).encode()
        is_text = body.decode("utf-8", "replace").encode() == body
        assert rows is None or not is_text or not all(map(_is_vector, rows))
    else:
        assert rows is not None
        assert [_parsed(vector) for vector in found.vectors] == rows
        assert {len(row) for row in rows} == {found.dimension}
        assert found.tokens is None or found.tokens > 0
        for vector in found.vectors:
            _check_forms(vector)


def _check_bad_rows(problem: BadRowsError, count: int, rows: list[Any] | None) -> None:
    assert len(problem.rows) == count
    assert problem.why.keys() == {at for at, row in enumerate(problem.rows) if row is None}
    assert problem.why or len(set(problem.dimensions.values())) > 1
    for at, length in problem.dimensions.items():
        assert len(_parsed(problem.rows[at] or b"")) == length
    if rows is not None:  # not every server writes NaN as Python does
        assert all(at not in problem.dimensions or _is_vector(row) for at, row in enumerate(rows))


def _check_forms(vector: bytes) -> None:
    """Each front gets the form that it needs: one vector has both, unless a number is too large for float32."""
    numbers = _parsed(vector)
    assert [struct.pack("<f", each) for each in _parsed(as_numbers(vector)) if abs(each) < 1e38] == [
        struct.pack("<f", each) for each in numbers if abs(each) < 1e38
    ]
    if all(abs(each) < 1e38 for each in numbers):
        assert base64.b64decode(as_base64(vector), validate=True) == struct.pack(f"<{len(numbers)}f", *numbers)


def _rows(body: bytes, count: int) -> list[Any] | None:
    """Return the vectors as Python's own parser has them, in their places; None if they are not one for each input."""
    try:
        # msgspec does not look at the text of members that it skips, which may not be UTF-8.
        said = json.loads(body.decode("utf-8", "replace"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    data = said.get("data") if isinstance(said, dict) else said
    if not isinstance(data, list) or len(data) != count or not all(isinstance(row, dict) for row in data):
        return None
    indices = [row.get("index") for row in data]
    if indices.count(None) == 1 and count > 1:
        indices[indices.index(None)] = 0
    elif indices.count(None) == count:
        indices = list(range(count))
    if any(type(index) is not int for index in indices) or set(indices) != set(range(count)):
        return None
    return [
        _numbers(row.get("embedding")) for _, row in sorted(zip(indices, data, strict=True), key=lambda each: each[0])
    ]


def _numbers(row: Any) -> Any:
    if isinstance(row, str):
        return _parsed_base64("".join(row.split()))
    return row[0] if isinstance(row, list) and len(row) == 1 and isinstance(row[0], list) else row


def _parsed(vector: bytes) -> Any:
    said = json.loads(vector)
    return _parsed_base64(said) if isinstance(said, str) else said


def _parsed_base64(text: str) -> list[float] | None:
    try:
        packed = base64.b64decode(text, validate=True)
        numbers = list(struct.unpack(f"<{len(packed) // 4}f", packed))
    except (ValueError, struct.error):
        return None
    return numbers if all(map(isfinite, numbers)) else None


def _is_vector(row: Any) -> bool:
    return isinstance(row, list) and len(row) > 0 and all(type(each) in {int, float} for each in row)

"""The bodies of OpenAI's answers: rows in the order of their inputs, or none at all."""

from __future__ import annotations

import base64
import json
import random
import struct
from typing import Any

import pytest

from formats.slices import EMPTY, NO_NUMBER_WITHIN, NO_NUMBERS, NULL, BadRowsError, NotVectorsError
from upstream.dialects.openai_vectors import Embeddings, NoDataError, embeddings

NAN, INFINITY = float("nan"), float("inf")


def text_of(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def json_of(*numbers: float) -> bytes:
    return b'"' + text_of(*numbers).encode() + b'"'


def body_of(*rows: Any, indices: list[Any] | None = None, **members: Any) -> bytes:
    """Return an answer's body; a row in bytes stands as it is. ``indices``: None for a row that has none."""
    data = []
    for at, row in enumerate(rows):
        index = at if indices is None else indices[at]
        embedding = row if isinstance(row, bytes) else json.dumps(row).encode()
        said = b"" if index is None else b'"index":' + json.dumps(index).encode() + b","
        data.append(b'{"object":"embedding",' + said + b'"embedding":' + embedding + b"}")
    more = b"".join(
        b"," + json.dumps(name).encode() + b":" + json.dumps(each).encode() for name, each in members.items()
    )
    return b'{"object":"list","data":[' + b",".join(data) + b"]" + more + b"}"


# Vectors


def test_numbers_are_the_servers_own_digits() -> None:
    found = embeddings(body_of(b"[0.10,-2e-7]", b"[ 3 , 4 ]"), 2)
    assert (found.vectors, found.dimension) == ([b"[0.10,-2e-7]", b"[ 3 , 4 ]"], 2)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 384, 1024, 1536, 3072])
def test_base64_of_each_padding_is_passed_on_with_its_quotes(length: int) -> None:
    numbers = [random.Random(at).gauss(0, 0.6) for at in range(length)]
    found = embeddings(body_of(text_of(*numbers), text_of(*numbers)), 2)
    assert (found.vectors, found.dimension) == ([json_of(*numbers)] * 2, length)


def test_numbers_and_base64_may_stand_in_one_answer() -> None:
    assert embeddings(body_of(text_of(1, 2), [1, 2]), 2).vectors == [json_of(1, 2), b"[1, 2]"]


def test_large_numbers_are_vectors_as_well() -> None:
    numbers = [3.4e38, -3.4e38, 2.0**127, 1.0, -1.99, 0.5, 1.7e38, 0.0, -0.0]
    assert embeddings(body_of(text_of(*numbers)), 1).vectors == [json_of(*numbers)]


@pytest.mark.parametrize(
    "written", [text_of(1.9, -1.9).replace("/", "\\/"), text_of(1, 2)[:5] + "\\n" + text_of(1, 2)[5:]]
)
def test_base64_with_escapes_or_line_breaks_becomes_plain(written: str) -> None:
    assert embeddings(body_of(b'"' + written.encode() + b'"'), 1).vectors[0].count(b"\\") == 0


def test_the_list_alone_of_llama_server_is_read_with_its_nested_vectors() -> None:
    body = b'[{"index":1,"embedding":[[3,4]]},{"index":0,"embedding":[[1,2]]}]'
    found = embeddings(body, 2)
    assert (found.vectors, found.dimension, found.tokens) == ([b"[1,2]", b"[3,4]"], 2, None)


# Places


@pytest.mark.parametrize(
    ("indices", "order"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([2, 0, 1], [1, 2, 0]),
        ([None, None, None], [0, 1, 2]),
        # As protobuf writes 0.
        ([None, 1, 2], [0, 1, 2]),
        ([2, 1, None], [2, 1, 0]),
    ],
)
def test_rows_are_placed_by_their_indices(indices: list[int | None], order: list[int]) -> None:
    found = embeddings(body_of([0], [1], [2], indices=indices), 3)
    assert found.vectors == [b"[%d]" % row for row in order]


@pytest.mark.parametrize(
    "indices",
    [[0, 0, 1], [0, 1, 3], [1, 2, 3], [0, 1, -1], [None, 0, 1], [None, None, 2], [0, 2, None], ["0", "1", "2"]],
)
def test_indices_that_are_not_those_of_the_inputs_leave_no_row(indices: list[Any]) -> None:
    with pytest.raises(NotVectorsError) as raised:
        embeddings(body_of([0], [1], [2], indices=indices), 3)
    assert not isinstance(raised.value, BadRowsError)


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_rows_leaves_none(count: int) -> None:
    with pytest.raises(NotVectorsError, match=f"2 vectors for {count} inputs"):
        embeddings(body_of([0], [1]), count)


# Bad rows


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (None, NULL),
        ([1, None], NO_NUMBER_WITHIN),
        (b"[1,NaN]", NO_NUMBER_WITHIN),
        (b"[1,-Infinity]", NO_NUMBER_WITHIN),
        (b"[nan,1]", NO_NUMBER_WITHIN),
        ([], EMPTY),
        ([[1, 2], [3, 4]], NO_NUMBERS),
        ([True, False], NO_NUMBERS),
        (7, NO_NUMBERS),
        ({"a": 1}, NO_NUMBERS),
        (text_of(1, NAN), NO_NUMBER_WITHIN),
        (text_of(-INFINITY, 1), NO_NUMBER_WITHIN),
        ("", EMPTY),
        ("no base64 at all", NO_NUMBERS),
        (text_of(1, 2)[:-1], NO_NUMBERS),
        (text_of(1, 2)[:-4], NO_NUMBERS),
        ("AAAA", NO_NUMBERS),
        ("AA=AAA==", NO_NUMBERS),
        (b'"\xff"', NO_NUMBERS),
        ("A===AAAA", NO_NUMBERS),
        ("====", NO_NUMBERS),
        ("AAAAA---", NO_NUMBERS),
    ],
)
def test_a_row_that_is_no_vector_is_told_apart_from_its_mates(row: Any, why: str) -> None:
    with pytest.raises(BadRowsError) as raised:
        embeddings(body_of([1, 2], row, text_of(3, 4)), 3)
    assert raised.value.why == {1: why}
    assert raised.value.rows == [raised.value.rows[0], None, json_of(3, 4)]
    assert raised.value.dimensions == {0: 2, 2: 2}


@pytest.mark.parametrize("bad", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("at", range(7))
def test_what_is_no_number_is_found_at_each_place_of_base64(at: int, bad: float) -> None:
    numbers = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7]
    numbers[at] = bad
    with pytest.raises(BadRowsError) as raised:
        embeddings(body_of(text_of(*numbers)), 1)
    assert raised.value.why == {0: NO_NUMBER_WITHIN}


def test_rows_of_different_lengths_are_told_with_their_lengths() -> None:
    with pytest.raises(BadRowsError) as raised:
        embeddings(body_of([1, 2], text_of(1)), 2)
    assert (raised.value.why, raised.value.dimensions) == ({}, {0: 2, 1: 1})


def test_where_no_row_is_a_vector_the_server_speaks_otherwise() -> None:
    with pytest.raises(NotVectorsError) as raised:
        embeddings(body_of({"a": 1}, {"a": 2}), 2)
    assert not isinstance(raised.value, BadRowsError)


def test_a_text_beside_the_rows_may_hold_any_word() -> None:
    body = body_of(b"[1,NaN]", [1, 2], model="x, nan, y", id="infinity-2c31", why="-inf")
    with pytest.raises(BadRowsError) as raised:
        embeddings(body, 2)
    assert raised.value.rows == [None, b"[1, 2]"]


# Nothing to take


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data":[]}',
        b'{"data":null,"usage":{}}',
        b'{"error":{"message":"no"}}',
        b'{"error":"no","data":[{"embedding":[1],"index":0}]}',
        b"[]",
    ],
)
def test_an_answer_without_rows_or_with_an_error_has_no_data(body: bytes) -> None:
    with pytest.raises(NoDataError):
        embeddings(body, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b'"x"',
        b"[[1,2]]",
        b'{"data":[[1,2]]}',
        b'{"data":{"embedding":[1]}}',
        b'{"data":[{"index":0}]}',
        b'{"data":[{"embedding":[1],"index":0}',
        b'{"data":[{"embedding":[1],"index":"0"}]}',
        b'{"data":[{"embedding":[1],"index":0}]}x',
        b"[" * 60_000,
        b'{"data":' + b"[" * 60_000,
        b'{"data":[{"embedding":NaN',
    ],
)
def test_what_is_no_answer_of_openais_has_no_vectors(body: bytes) -> None:
    with pytest.raises(NotVectorsError):
        embeddings(body, 1)


# Tokens


def test_nonsense_beside_the_rows_costs_none() -> None:
    for usage in (b'{"x":1e999}', b'{"\xff":1}', b'"7"', b"[]"):
        body = b'{"data":[{"embedding":[1]}],"usage":' + usage + b"}"
        assert embeddings(body, 1) == Embeddings([b"[1]"], 1, None)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7, "total_tokens": 9}, 7),
        ({"total_tokens": 9}, 9),
        ({"prompt_tokens": 0, "total_tokens": 9}, 9),
        ({"prompt_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": -1}, None),
        ({"prompt_tokens": 1.5}, None),
        ({"prompt_tokens": True}, None),
        ({"prompt_tokens": "7"}, None),
        ({"prompt_tokens": 2**60}, None),
        ({}, None),
        (None, None),
        ([7], None),
        ("7", None),
    ],
)
def test_tokens_are_those_of_the_inputs_and_nonsense_counts_as_untold(usage: Any, tokens: int | None) -> None:
    assert embeddings(body_of([1], usage=usage), 1).tokens == tokens

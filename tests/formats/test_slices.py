"""A reply is split into the upstream's own bytes, told apart row by row, or refused as a whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from formats.slices import BadRowsError, NotVectorsError, split_vectors

numbers = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1e-300, 2**70]),
)
spaces = st.text(" \t\r\n", max_size=2)


@st.composite
def replies(draw: st.DrawFn) -> tuple[list[str], str]:
    """Vectors of one dimension, each written with whatever spaces JSON allows, and the reply that holds them."""
    dimension = draw(st.integers(1, 4))
    vectors = []
    for vector in draw(st.lists(st.lists(numbers, min_size=dimension, max_size=dimension), min_size=1, max_size=5)):
        padded = [draw(spaces) + json.dumps(number) + draw(spaces) for number in vector]
        vectors.append(f"[{','.join(padded)}]")
    return vectors, f"[{','.join(draw(spaces) + vector + draw(spaces) for vector in vectors)}]{draw(spaces)}"


@given(replies())
@settings(deadline=None)
def test_the_slices_are_the_upstreams_own_bytes(reply: tuple[list[str], str]) -> None:
    vectors, body = reply
    slices, dimension = split_vectors(body.encode(), len(vectors))
    assert slices == [vector.encode() for vector in vectors]
    assert dimension == len(json.loads(vectors[0]))


def is_vectors(body: bytes) -> bool:
    """Say the same as ``split_vectors``, by parsing every number."""

    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        said = json.loads(body.decode(), parse_constant=no_constant)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(said, list)
        and len(said) == 2
        and all(isinstance(vector, list) and vector for vector in said)
        and all(type(number) in {int, float} for vector in said for number in vector)
        and len({len(vector) for vector in said}) == 1
    )


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=3), st.sampled_from([float("nan"), float("inf")])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=8,
)
near_misses = st.text('[],0123.eE+- \ntrulN"{}:', max_size=12).map(lambda inner: f"[[{inner}]]")


@given(st.one_of(st.lists(anything, min_size=1, max_size=3).map(json.dumps), near_misses))
@settings(deadline=None, max_examples=300)
@example("[[1],[2]]")
@example("[[01],[2]]")
@example("[[1.],[2]]")
@example("[[e],[2]]")
@example("[[1-1],[2]]")
@example("[[1,],[2,]]")
@example("[[],[]]")
@example("[[1,2],[3]]")
@example("[[1],[2,3]]")
@example("[[[]],[[]]]")
def test_exactly_what_is_vectors_of_numbers_is_taken(body: str) -> None:
    try:
        split_vectors(body.encode(), 2)
    except NotVectorsError:
        taken = False
    else:
        taken = True
    assert taken == is_vectors(body.encode())


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"\xef\xbb\xbf[[1]]", b"[[1]]x", b"[[1]", b"[[1]][[1]]", b"[" * 100_000, b"[[1\x00]]"]
)
def test_what_is_no_json_document_is_refused(body: bytes) -> None:
    with pytest.raises(NotVectorsError, match="not a JSON array"):
        split_vectors(body, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_count_gives_no_vector_at_all(count: int) -> None:
    with pytest.raises(NotVectorsError, match=f"2 vectors for {count} inputs"):
        split_vectors(b"[[1],[2]]", count)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[1,2]", "not a vector of numbers"),
        (b'[{"embedding":[1]},{"embedding":[2]}]', "not a vector of numbers"),
        (b"[[[1]],[[2]]]", "not a vector of numbers"),
        (b'{"a": 1}', "not a JSON array"),
        (b"NaN", "not a JSON array"),
        (b"[[1],[NaN]", "not a JSON array"),
        (b"[[1],[nano]]", "not a JSON array"),
        (b"[[1],[1nan]]", "not a JSON array"),
        (b"[[NaN]]", "1 vectors for 2 inputs"),
    ],
)
def test_a_refused_reply_says_why_and_is_a_value_error(body: bytes, why: str) -> None:
    with pytest.raises(NotVectorsError, match=why) as raised:
        split_vectors(body, 2)
    assert isinstance(raised.value, ValueError)
    assert not isinstance(raised.value, BadRowsError)


AMONG, NO_ARRAY = "a null or NaN among its numbers", "not an array of numbers"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"null", "null"),
        (b"NaN", "null"),
        (b"[null,1]", AMONG),
        (b"[ 1 , null ]", AMONG),
        (b"[1,NaN]", AMONG),
        (b"[-Infinity,1]", AMONG),
        (b"[Infinity]", AMONG),
        (b"[nan]", AMONG),
        (b"[-nan,+inf]", AMONG),
        (b"[inf,1e5]", AMONG),
        (b"[-nan(ind)]", AMONG),
        (b"[]", "empty"),
        (b"[ \n]", "empty"),
        (b"[true]", NO_ARRAY),
        (b"[1,false]", NO_ARRAY),
        (b"[{}]", NO_ARRAY),
        (b'["1","2"]', NO_ARRAY),
        (b"[[1,2]]", NO_ARRAY),
        (b'{"error":"NaN"}', NO_ARRAY),
        (b'"\\nan"', NO_ARRAY),
        (b"0.5", NO_ARRAY),
    ],
)
def test_a_row_that_is_no_vector_leaves_the_others_their_own_bytes(row: bytes, why: str) -> None:
    with pytest.raises(BadRowsError) as raised:
        split_vectors(b"[[0.50,\n-1E5 ]," + row + b", [ 1e999,2]]", 3)
    problem = raised.value
    assert problem.rows == [b"[0.50,\n-1E5 ]", None, b"[ 1e999,2]"]
    assert (problem.why, problem.dimensions) == ({1: why}, {0: 2, 2: 2})
    assert str(problem) == f"the upstream's answer holds something that is not a vector of numbers: {why}"


def test_a_lone_row_that_is_no_vector_is_a_bad_row_too() -> None:
    for row in (b"null", b"[NaN]", b"[]", b'{"error":"no"}', b"[[1]]"):
        with pytest.raises(BadRowsError) as raised:
            split_vectors(b"[" + row + b"]", 1)
        assert (raised.value.rows, raised.value.dimensions) == ([None], {})


@pytest.mark.parametrize(
    ("body", "dimensions"), [(b"[[1],[2,3]]", {0: 1, 1: 2}), (b"[[1,2],[3]]", {0: 2, 1: 1}), (b"[[],[3]]", {1: 1})]
)
def test_rows_of_different_lengths_are_left_to_the_caller(body: bytes, dimensions: dict[int, int]) -> None:
    with pytest.raises(BadRowsError) as raised:
        split_vectors(body, 2)
    assert raised.value.dimensions == dimensions


def test_what_is_said_of_bad_rows_quotes_nothing_of_them() -> None:
    with pytest.raises(BadRowsError) as raised:
        split_vectors(b'[[1],{"secret":"text"}]', 2)
    assert "secret" not in str(raised.value) + str(raised.value.why)

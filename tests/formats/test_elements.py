"""An array of any JSON values is cut into the sender's own bytes, or refused as a whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formats.elements import NotElementsError, joined_elements, split_elements

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
spaces = st.text(" \t\r\n", max_size=2)


@given(st.lists(st.tuples(spaces, values, spaces), max_size=5), st.booleans())
@settings(deadline=None)
def test_the_slices_are_the_senders_own_bytes(padded: list[tuple[str, object, str]], escaped: bool) -> None:
    told = [json.dumps(value, ensure_ascii=escaped) for _, value, _ in padded]
    body = "[" + ",".join(f"{a}{each}{b}" for (a, _, b), each in zip(padded, told, strict=True)) + "]"
    encoded = body.encode("utf-8", "surrogatepass")
    expected = [each.encode("utf-8", "surrogatepass") for each in told]
    assert split_elements(encoded) == expected
    assert split_elements(joined_elements(expected), len(expected)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"1",
        b"null",
        b"[1",
        b"[1]]",
        b"[1][2]",
        b"[NaN]",
        b"[1,]",
        b'["\xff"]',
        b"\xef\xbb\xbf[]",
        b"[" * 99_999,
    ],
)
def test_what_is_no_array_is_refused_without_quoting_it(body: bytes) -> None:
    with pytest.raises(NotElementsError) as raised:
        split_elements(body)
    assert str(raised.value) == "the upstream's answer is not a JSON array"


@pytest.mark.parametrize("count", [1, 3])
def test_another_count_than_that_of_the_inputs_is_refused(count: int) -> None:
    with pytest.raises(NotElementsError) as raised:
        split_elements(b'["secret",2]', count)
    assert str(raised.value) == f"the upstream answered 2 results for {count} inputs"


def test_no_elements_are_an_empty_array() -> None:
    assert split_elements(b" [ ] ", 0) == []
    assert joined_elements([]) == b"[]"

"""What APIs of texts alone share: fields that take texts, the count of a list, vectors in a form, and tokens."""

from __future__ import annotations

import pytest
from marshmallow import Schema

from api.apis.texts import Texts, check_count, estimated_tokens, load, quoted_base64, tokens, vectors
from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError
from batching import BatchKey, Call, Task
from batching.errors import UpstreamProtocolError


class TextsSchema(Schema):
    texts = Texts(required=True)


def call(*items: bytes) -> Call:
    return Call(list(items), BatchKey(Task.EMBED), 0.0)


def answered(*results: bytes) -> Call:
    done = call(*results)
    done.fill(0, list(results))
    return done


@pytest.mark.parametrize(
    ("value", "expected"), [("a", ([b'"a"'], False)), (["a"], ([b'"a"'], True)), (["ü"], (['"ü"'.encode()], True))]
)
def test_a_text_and_a_list_of_texts_are_told_apart(value: object, expected: object) -> None:
    assert load(TextsSchema(), {"texts": value}, {})["texts"] == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "texts: must be a text or a list of texts"),
        ([1, 2], "texts[0]: must be a text"),
        (["a", [1]], "texts[1]: must be a text"),
        (["a", None], "texts[1]: must be a text"),
        (["a", ""], "texts[1]: must not be empty"),
        ("", "texts: must not be empty"),
        (None, "texts: must not be null"),
    ],
)
def test_token_ids_are_no_texts(value: object, message: str) -> None:
    with pytest.raises(WrongFieldsError) as caught:
        load(TextsSchema(), {"texts": value}, {})
    assert caught.value.message == message


def test_an_empty_list_holds_no_text() -> None:
    with pytest.raises(RequestError) as caught:
        load(TextsSchema(), {"texts": []}, {})
    assert (caught.value.status, caught.value.message) == (400, "`texts` must not be empty")


def test_a_list_is_counted_before_it_is_looked_at() -> None:
    with pytest.raises(RequestError, match="batch size 3 > maximum allowed batch size 2") as caught:
        load(TextsSchema(), {"texts": [1, 2, 3]}, {"texts": 2})
    assert caught.value.status == 400


@pytest.mark.parametrize("value", [["a"], ["a", "b"], "abc", None, 3, {}])
def test_only_lists_that_are_too_long_are_refused(value: object) -> None:
    check_count(value, 2)


def test_vectors_of_either_form_become_numbers_or_base64() -> None:
    done = answered(b"[0.5]", b'"AAAAPw=="')
    assert vectors(done) == b"[0.5],[0.5]"
    assert vectors(done, quoted_base64) == b'"AAAAPw==","AAAAPw=="'


@pytest.mark.parametrize("result", [b'"AAA"', b'"AADAfw=="', b"{}"])
def test_a_result_that_is_no_vector_is_the_upstreams_mistake(result: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        vectors(answered(result))


def test_tokens_are_those_that_the_upstream_counted() -> None:
    counted = call(b'"a text of many bytes"')
    counted.tokens = 3
    assert tokens(counted) == 3


@pytest.mark.parametrize(("text", "expected"), [("a", 1), ("four", 1), ("fives", 2), ("ü" * 4, 2)])
def test_tokens_that_are_not_counted_are_estimated_by_the_bytes_of_each_text(text: str, expected: int) -> None:
    item = f'"{text}"'.encode()
    assert tokens(call(item)) == expected
    assert tokens(call(item, item)) == 2 * expected


@pytest.mark.parametrize(
    ("item", "count"),
    [
        (b'"a"', 1),
        (b'"abcd"', 1),
        (b'"abcde"', 2),
        (b'" "', 1),
        ('"üü"'.encode(), 1),
        ('"üüü"'.encode(), 2),
        (b"[5]", 1),
        (b"[5,6,7]", 3),
    ],
)
def test_a_text_is_estimated_by_its_bytes_and_token_ids_are_counted(item: bytes, count: int) -> None:
    assert estimated_tokens([item]) == count
    assert estimated_tokens([item, b'"a"']) == count + 1

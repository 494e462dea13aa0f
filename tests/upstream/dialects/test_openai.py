"""OpenAI's dialect: the keys that it can do, and the bytes that a batch becomes."""

from __future__ import annotations

from typing import Any

import pytest

from batching import BatchKey, Options, Task
from batching.errors import Unsupported
from tests.support.fakes import KEY, items_of
from tests.upstream.dialects.openai_bench import BASE, asked_by, described, embed
from upstream.dialects.openai import (
    MAX_REMEMBERED_KEYS,
    MAX_REPLY_BYTES_BESIDE,
    MAX_REPLY_BYTES_PER_ITEM,
    OpenAiDialect,
)

IDS = [b"[1,2]", b"[ 3 ]"]

# Keys


@pytest.mark.parametrize(
    "options",
    [
        {"normalize": True},
        {"truncate": True},
        {"truncate": False},
        {"truncation_direction": "right"},
        {"truncation_direction": "left", "truncate": False},
        {"raw_scores": False},
        {"more": (("no_such_member", b"1"),), "family": "tei"},
    ],
)
def test_what_holds_anyway_is_dropped(options: dict[str, Any]) -> None:
    assert OpenAiDialect(BASE).fit(embed(**options), items_of("a")) == KEY


def test_a_key_without_options_is_the_same_object() -> None:
    key = BatchKey(Task.EMBED)
    assert OpenAiDialect(BASE).fit(key, items_of("a")) is key


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"normalize": False}, "normalize"),
        ({"prompt_name": "query"}, "prompt_name"),
        ({"truncation_direction": "left"}, "truncation_direction"),
        ({"truncation_direction": "left", "truncate": True}, "truncation_direction"),
        ({"more": (("input_type", b'"query"'),), "family": "tei"}, "input_type"),
    ],
)
def test_what_would_change_the_vectors_is_refused_by_its_name(options: dict[str, Any], field: str) -> None:
    with pytest.raises(Unsupported) as raised:
        OpenAiDialect(BASE).fit(embed(**options), items_of("a"))
    assert (raised.value.field, raised.value.status) == (field, 422)
    assert raised.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize("task", [Task.EMBED_ALL, Task.EMBED_SPARSE, Task.CLASSIFY])
def test_what_has_no_route_is_refused_with_what_could_do_it(task: Task) -> None:
    with pytest.raises(Unsupported, match="Text Embeddings Inference"):
        OpenAiDialect(BASE).fit(BatchKey(task), items_of("a"))


def test_members_of_openais_api_and_dimensions_stay() -> None:
    key = embed("m", dimensions=8, more=(("input_type", b'"query"'),), family="openai")
    assert OpenAiDialect(BASE).fit(key, items_of("a")) == key


def test_the_clients_model_stays_unless_the_setting_or_the_address_decides() -> None:
    assert OpenAiDialect(BASE).fit(embed("m"), items_of("a")).model == "m"
    assert OpenAiDialect(BASE, "fixed").fit(embed("m"), items_of("a")) == KEY
    assert OpenAiDialect(f"{BASE}/openai/deployments/d").fit(embed("m"), items_of("a")) == KEY


def test_the_only_model_and_none_share_a_key() -> None:
    dialect = OpenAiDialect(BASE)
    before = dialect.fit(embed("a"), items_of("a"))
    described(dialect, {"/v1/models": ["a"]})
    assert (before.model, dialect.fit(embed("a"), items_of("a"))) == ("a", KEY)
    assert dialect.fit(embed("b"), items_of("a")).model == "b"


@pytest.mark.parametrize("key", [KEY, embed("m", more=(("x", b"1"),), family="openai")])
def test_token_ids_share_no_batch_with_texts(key: BatchKey) -> None:
    dialect = OpenAiDialect(BASE)
    of_texts, of_ids = dialect.fit(key, items_of("a", "b")), dialect.fit(key, IDS)
    assert of_texts != of_ids
    assert dialect.request(of_texts, IDS).body == dialect.request(of_ids, IDS).body
    assert dialect.fit(of_ids, IDS) == of_ids


@pytest.mark.parametrize("items", [[b'"a"', b"[1]"], [b"[1]", b'"a"', b"[2]"]])
def test_texts_and_token_ids_in_one_request_are_refused(items: list[bytes]) -> None:
    with pytest.raises(Unsupported) as raised:
        OpenAiDialect(BASE).fit(KEY, items)
    assert raised.value.field == "inputs"


def test_texts_and_token_ids_for_prediction_become_embeddings() -> None:
    dialect = OpenAiDialect(BASE)
    predict = BatchKey(Task.PREDICT, model="m")
    assert dialect.fit(predict, items_of("a")) == embed("m")
    assert dialect.fit(predict, IDS) == dialect.fit(embed("m"), IDS)


@pytest.mark.parametrize("item", [b"7", b"{}", b'["a"]', b"[1.5]", b"[[1]]", b"null", b'""', b"[]"])
def test_other_instances_are_refused(item: bytes) -> None:
    with pytest.raises(Unsupported) as raised:
        OpenAiDialect(BASE).fit(BatchKey(Task.PREDICT), [b'"a"', item])
    assert raised.value.field == "instances"
    assert raised.value.message.startswith("instances[1]: ")


def test_a_prediction_with_other_members_is_refused_by_the_first() -> None:
    key = BatchKey(Task.PREDICT, Options(more=(("parameters", b'{"k":1}'),), family="kserve"))
    with pytest.raises(Unsupported) as raised:
        OpenAiDialect(BASE).fit(key, items_of("a"))
    assert raised.value.field == "parameters"


# Requests


def test_a_request_holds_the_items_as_they_are_and_asks_for_base64() -> None:
    request = OpenAiDialect(BASE).request(KEY, [b'"a"', '"ü"'.encode(), b"[ 3 ]"])
    assert (request.path, request.method) == ("/v1/embeddings", "POST")
    assert request.body == b'{"input":["a","\xc3\xbc",[ 3 ]],"encoding_format":"base64"}'


@pytest.mark.parametrize(
    ("key", "members"),
    [
        (embed("m"), {"model": "m"}),
        (embed('a "b"'), {"model": 'a "b"'}),
        (embed(dimensions=8), {"dimensions": 8}),
        (
            embed(more=(("input_type", b'"query"'), ("truncation", b"true"))),
            {"input_type": "query", "truncation": True},
        ),
        (embed("m", more=(("input", b"1"), ("model", b"1"), ("encoding_format", b"1"))), {"model": "m"}),
    ],
)
def test_what_the_key_holds_stands_behind_the_items(key: BatchKey, members: dict[str, Any]) -> None:
    dialect = OpenAiDialect(BASE)
    for _ in range(2):  # the second time from memory
        assert asked_by(dialect, key) == {"input": ["a"], "encoding_format": "base64", **members}


@pytest.mark.parametrize("name", ["output_dtype", "embedding_type", "embed_dtype", "endianness"])
def test_numbers_are_asked_for_where_base64_could_hold_others_than_float32(name: str) -> None:
    assert asked_by(OpenAiDialect(BASE), embed(more=((name, b'"x"'),)))["encoding_format"] == "float"


def test_a_fixed_model_stands_in_each_request() -> None:
    assert asked_by(OpenAiDialect(BASE, "fixed"), embed("m"))["model"] == "fixed"
    assert asked_by(OpenAiDialect(BASE, "fixed"))["model"] == "fixed"


def test_the_only_model_of_the_server_is_asked_for_where_none_is_named() -> None:
    dialect = OpenAiDialect(BASE)
    assert "model" not in asked_by(dialect)
    described(dialect, {"/v1/models": ["only"]})
    assert asked_by(dialect)["model"] == "only"
    described(dialect, {"/v1/models": ["a", "b"]})
    assert "model" not in asked_by(dialect)


def test_as_many_keys_as_there_may_be_are_remembered() -> None:
    dialect = OpenAiDialect(BASE)
    for number in range(3 * MAX_REMEMBERED_KEYS):
        key = dialect.fit(embed(dimensions=number, normalize=True), items_of("a"))
        assert asked_by(dialect, key)["dimensions"] == number
    assert max(len(dialect._members), len(dialect._fitted)) <= MAX_REMEMBERED_KEYS


@pytest.mark.parametrize("count", [1, 32])
def test_a_reply_may_be_as_long_as_its_rows_can_be(count: int) -> None:
    limit = OpenAiDialect(BASE).reply_limit(KEY, count)
    assert limit == MAX_REPLY_BYTES_BESIDE + count * MAX_REPLY_BYTES_PER_ITEM

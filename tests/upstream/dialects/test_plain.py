"""The dialect of plain servers: what a batch becomes, which answers are read, and what is refused before a call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batching import Answer, BatchKey, Options, Task
from batching.errors import Unsupported, UpstreamMisconfigured, UpstreamProtocolError
from tests.support.fakes import KEY, items_of
from tests.support.upstream.forms import PlainForm, Trouble
from upstream.dialects.dialect import RefusalKind, UpstreamInfo
from upstream.dialects.plain import MAX_REPLY_BYTES_BESIDE, MAX_REPLY_BYTES_PER_ITEM, PlainDialect
from upstream.http_reply import Reply


def reply_of(body: bytes | Any, status: int = 200) -> Reply:
    return Reply(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def invalid(*places: list[Any], kind: str = "string_type") -> Reply:
    """Return pydantic's refusal for these places."""
    return reply_of({"detail": [{"type": kind, "loc": place, "msg": "wrong", "input": "x"} for place in places]}, 422)


# Requests


@pytest.mark.parametrize(
    ("dialect", "path", "body"),
    [
        (PlainDialect(), "/embed", b'{"inputs":["a","b"]}'),
        (PlainDialect("/v1/encode", "texts"), "/v1/encode", b'{"texts":["a","b"]}'),
        (PlainDialect(input_field='a "b"'), "/embed", b'{"a \\"b\\"":["a","b"]}'),
        (
            PlainDialect("/encode?pool=mean", "texts", extra='{"model":"m","normalize":true,"opt":{"b":[1.50]}}'),
            "/encode?pool=mean",
            b'{"texts":["a","b"],"model":"m","normalize":true,"opt":{"b":[1.5]}}',
        ),
    ],
)
def test_the_body_is_a_list_of_texts_with_constant_members_behind(
    dialect: PlainDialect, path: str, body: bytes
) -> None:
    request = dialect.request(dialect.fit(KEY, items_of("a", "b")), items_of("a", "b"))
    assert (request.path, request.body) == (path, body)


def test_members_that_the_api_does_not_know_are_passed_on() -> None:
    dialect = PlainDialect(extra='{"model":"m"}')
    options = Options(more=(("model", b'"m"'), ("pool", b'"cls"')), family="tei")
    key = dialect.fit(BatchKey(Task.EMBED, options), items_of("a"))
    for _ in range(2):  # the second time from memory
        assert dialect.request(key, items_of("a")).body == b'{"inputs":["a"],"model":"m","pool":"cls"}'


# What can be done


def test_a_request_without_options_keeps_its_key() -> None:
    assert PlainDialect().fit(KEY, items_of("a")) is KEY


@pytest.mark.parametrize(
    "key",
    [
        BatchKey(Task.EMBED, model="text-embedding-3-small"),
        BatchKey(Task.EMBED, Options(normalize=True)),
        BatchKey(Task.EMBED, Options(truncate=True, truncation_direction="right")),
        BatchKey(Task.EMBED, Options(truncate=False)),
        BatchKey(Task.EMBED, Options(more=(("seed", b"1"),), family="openai")),
        BatchKey(Task.PREDICT, model="m"),
    ],
)
def test_what_changes_nothing_for_such_a_server_is_left_out_of_the_key(key: BatchKey) -> None:
    dialect = PlainDialect()
    for _ in range(2):
        assert dialect.fit(key, items_of("a")) == KEY


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (BatchKey(Task.EMBED, Options(dimensions=8)), "dimensions"),
        (BatchKey(Task.EMBED, Options(normalize=False)), "normalize"),
        (BatchKey(Task.EMBED, Options(prompt_name="query")), "prompt_name"),
        (BatchKey(Task.EMBED, Options(truncation_direction="left")), "truncation_direction"),
        (BatchKey(Task.EMBED, Options(more=(("input_type", b'"query"'),), family="openai")), "input_type"),
        (BatchKey(Task.EMBED, Options(more=(("inputs", b'"x"'),), family="tei")), "inputs"),
        (BatchKey(Task.EMBED, Options(more=(("model", b'"other"'),), family="tei")), "model"),
        (BatchKey(Task.PREDICT, Options(more=(("parameters", b"{}"),), family="kserve")), "parameters"),
        (BatchKey(Task.EMBED_ALL), None),
        (BatchKey(Task.EMBED_SPARSE), None),
        (BatchKey(Task.CLASSIFY), None),
    ],
)
def test_what_would_change_the_result_is_refused_by_its_name(key: BatchKey, field: str | None) -> None:
    with pytest.raises(Unsupported) as caught:
        PlainDialect(extra='{"model":"m"}').fit(key, items_of("a"))
    assert caught.value.field == field
    assert (field or "cannot do") in str(caught.value)


@pytest.mark.parametrize(
    ("task", "item", "words", "field"),
    [
        (Task.EMBED, b"[1,2]", "no token ids", "inputs"),
        (Task.EMBED, b'{"a":1}', "nothing else", "inputs"),
        (Task.EMBED, b"5", "nothing", "inputs"),
        (Task.PREDICT, b"[1,2]", "no token ids", "inputs"),
        (Task.PREDICT, b'{"a":1}', r"instances\[1\]: .*must be a text", "instances"),
        (Task.PREDICT, b'""', r"instances\[1\]: must not be empty", "instances"),
    ],
)
def test_only_texts_are_sent(task: Task, item: bytes, words: str, field: str) -> None:
    with pytest.raises(Unsupported, match=words) as caught:
        PlainDialect().fit(BatchKey(task), [b'"a"', item])
    assert caught.value.field == field


# Answers


@pytest.mark.parametrize("count", [1, 32])
def test_a_reply_may_be_as_long_as_its_vectors_can_be(count: int) -> None:
    assert PlainDialect().reply_limit(KEY, count) == MAX_REPLY_BYTES_BESIDE + count * MAX_REPLY_BYTES_PER_ITEM


def test_where_the_vectors_stand_is_seen_in_the_first_answer_and_kept() -> None:
    dialect = PlainDialect()
    first = reply_of(b'{"mine":[[1,2],[3,4]],"took":0.1}')
    assert dialect.answer(KEY, 2, first) == Answer([b"[1,2]", b"[3,4]"], 2)
    # Alone it could be either.
    assert dialect.answer(KEY, 1, reply_of(b'{"mine":[[5,6]],"more":[[7,8]]}')) == Answer([b"[5,6]"], 2)


def test_an_answer_that_is_wrong_teaches_nothing() -> None:
    dialect = PlainDialect()
    with pytest.raises(UpstreamProtocolError):
        dialect.answer(KEY, 2, reply_of(b'{"mine":[[1,2]]}'))
    assert dialect.answer(KEY, 1, reply_of(b'{"embeddings":[[5,6]]}')) == Answer([b"[5,6]"], 2)


def test_the_settings_say_where_the_vectors_stand() -> None:
    dialect = PlainDialect(output_field="result.data")
    assert dialect.answer(KEY, 1, reply_of(b'{"embeddings":[[1]],"result":{"data":[[5,6]]}}')) == Answer([b"[5,6]"], 2)
    with pytest.raises(UpstreamProtocolError, match="no member 'result'"):
        dialect.answer(KEY, 1, reply_of(b'{"embeddings":[[1]]}'))


def test_a_server_that_takes_one_text_a_call_is_a_mistake_of_the_settings() -> None:
    with pytest.raises(UpstreamMisconfigured, match="one text a call"):
        PlainDialect().answer(KEY, 2, reply_of(b"[0.1,0.2]"))


# Refusals


def test_a_list_where_a_text_is_wanted_is_a_mistake_of_the_settings() -> None:
    refusal = PlainDialect().refusal(invalid(["body", "inputs"]))
    assert refusal.kind is RefusalKind.MISCONFIGURED
    assert refusal.text.startswith("POST /embed: it takes one text a call")


@pytest.mark.parametrize("kind", ["missing", "value_error.missing"])
def test_a_member_that_is_missing_is_a_mistake_of_the_settings(kind: str) -> None:
    refusal = PlainDialect().refusal(invalid(["body", "texts"], kind=kind))
    assert refusal.kind is RefusalKind.MISCONFIGURED
    assert refusal.text == (
        "POST /embed wants 'texts' and is sent 'inputs': set upstream_input_field or upstream_extra"
    )


def test_a_text_that_is_wanted_in_the_url_is_a_mistake_of_the_settings() -> None:
    refusal = PlainDialect().refusal(invalid(["query", "text"], kind="missing"))
    assert refusal.kind is RefusalKind.MISCONFIGURED
    assert "wants 'text' in its URL" in refusal.text


@pytest.mark.parametrize(
    "reply",
    [
        invalid(["body", "inputs", 3]),
        invalid(["body", "inputs", "str"], ["body", "inputs", "list[str]", 1]),
        invalid(["body", "inputs", 0], kind="string_too_long"),
        invalid(["body", "pool"], kind="extra_forbidden"),
        invalid(["body", "other"]),
        reply_of({"detail": "too long"}, 422),
        reply_of(
            {"detail": [{"loc": "body", "type": "missing"}, "x", None, {"loc": ["body", 1], "type": "missing"}]}, 422
        ),
        reply_of(b"no JSON", 400),
    ],
)
def test_other_refusals_are_about_the_inputs(reply: Reply) -> None:
    assert PlainDialect().refusal(reply).kind is RefusalKind.INPUTS


def test_recorded_troubles_mean_what_they_say() -> None:
    def kind(trouble: Trouble) -> RefusalKind:
        recorded = PlainForm().trouble(trouble)
        assert recorded is not None
        return PlainDialect().refusal(reply_of(recorded.body, recorded.status)).kind

    assert kind(Trouble.REFUSED_INPUT) is RefusalKind.INPUTS
    assert kind(Trouble.BAD_INPUT) is RefusalKind.SUSPICIOUS
    assert kind(Trouble.UNKNOWN_PATH) is RefusalKind.MISCONFIGURED


# What it says of itself


def documented(**members: dict[str, Any]) -> Reply:
    """Return the OpenAPI document of a server whose ``POST /embed`` has these members."""
    schema = {"type": "object", "properties": members, "required": ["inputs"]}
    operation = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    return reply_of({"openapi": "3.1.0", "paths": {"/embed": {"post": operation}}})


TEXTS = {"type": "array", "items": {"type": "string"}}


def test_a_document_tells_how_many_texts_a_call_may_have() -> None:
    document = documented(inputs={**TEXTS, "maxItems": 16})
    assert PlainDialect().describe(lambda _: document) == UpstreamInfo(None, 16, None)
    assert PlainDialect("/other").describe(lambda _: document) is None


def test_options_that_the_server_documents_are_passed_on() -> None:
    dialect = PlainDialect()
    key = BatchKey(Task.EMBED, Options(normalize=False, truncate=True, more=(("pool", b"1"),), family="tei"))
    with pytest.raises(Unsupported):
        dialect.fit(key, items_of("a"))
    dialect.describe(lambda _: documented(inputs=TEXTS, normalize={"type": "boolean"}))
    fitted = dialect.fit(key, items_of("a"))
    assert dialect.request(fitted, items_of("a")).body == b'{"inputs":["a"],"normalize":false,"pool":1}'
    with pytest.raises(Unsupported, match="dimensions"):
        dialect.fit(BatchKey(Task.EMBED, Options(dimensions=8)), items_of("a"))
    dialect.describe(lambda _: documented(inputs=TEXTS))
    with pytest.raises(Unsupported):
        dialect.fit(key, items_of("a"))


def test_an_option_that_the_settings_fix_stays_fixed() -> None:
    dialect = PlainDialect(extra='{"normalize":true}')
    dialect.describe(lambda _: documented(inputs=TEXTS, normalize={"type": "boolean"}))
    assert dialect.fit(BatchKey(Task.EMBED, Options(normalize=True)), items_of("a")).options.more == (
        ("normalize", b"true"),
    )
    with pytest.raises(Unsupported, match="the settings of this service"):
        dialect.fit(BatchKey(Task.EMBED, Options(normalize=False)), items_of("a"))


@pytest.mark.parametrize("reply", [None, reply_of(b"", 404), reply_of(b"[]"), reply_of(b"{}")])
def test_without_a_document_nothing_is_told(reply: Reply | None) -> None:
    assert PlainDialect().describe(lambda _: reply) is None


def test_the_key_is_a_bearer_token_and_no_other_path_is_asked() -> None:
    assert PlainDialect().credentials("k") == {"Authorization": "Bearer k"}
    assert not PlainDialect().forwards("/similarity")

"""KServe's v1 dialect: instances of any JSON, as many predictions, and which model is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batching import Answer, BatchKey, Options, Task
from batching.errors import Unsupported, UpstreamMisconfigured, UpstreamProtocolError
from tests.support.fakes import items_of
from tests.support.upstream.forms import KserveForm, Trouble
from upstream.dialects.dialect import RefusalKind, UpstreamInfo
from upstream.dialects.kserve import MAX_REPLY_BYTES, MAX_REPLY_BYTES_BESIDE, KserveDialect
from upstream.http_reply import Reply

EMBED = BatchKey(Task.EMBED, model="m")
PREDICT = BatchKey(Task.PREDICT, model="m")


def reply_of(body: bytes | Any, status: int = 200) -> Reply:
    return Reply(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def knowing(*models: str, model: str | None = None) -> KserveDialect:
    """Return the dialect of a server that lists these models."""
    dialect = KserveDialect(model)
    dialect.describe(lambda _: reply_of({"models": list(models)}))
    return dialect


# Requests


@pytest.mark.parametrize("task", [Task.PREDICT, Task.EMBED])
def test_instances_are_sent_byte_by_byte_to_the_models_path(task: Task) -> None:
    dialect = KserveDialect()
    items = [b'"a"', b'"\\u00fc"'] if task is Task.EMBED else [b'{"x": 1.50}', b"[1, 2]", b"null", b'"a"']
    key = dialect.fit(BatchKey(task, model="m"), items)
    for _ in range(2):  # the second time from memory
        request = dialect.request(key, items)
        assert request.path == "/v1/models/m:predict"
        assert request.body == b'{"instances":[' + b",".join(items) + b"]}"


def test_other_members_stand_behind_the_instances() -> None:
    more = (("parameters", b'{"k":1.0}'), ("signature_name", b'"s"'))
    key = KserveDialect().fit(PREDICT._replace(options=Options(more=more, family="kserve")), [b"1"])
    body = KserveDialect().request(key, [b"1"]).body
    assert body == b'{"instances":[1],"parameters":{"k":1.0},"signature_name":"s"}'


@pytest.mark.parametrize(
    ("model", "path"), [("a b", "a%20b"), ("org/m", "org%2Fm"), ("m:1?x#y", "m%3A1%3Fx%23y"), ("ü", "%C3%BC")]
)
def test_a_models_name_cannot_leave_its_place_in_the_path(model: str, path: str) -> None:
    dialect = KserveDialect()
    key = dialect.fit(BatchKey(Task.PREDICT, model=model), [b"1"])
    assert dialect.request(key, [b"1"]).path == f"/v1/models/{path}:predict"


# Which model


@pytest.mark.parametrize(
    ("dialect", "named", "task", "asked"),
    [
        (KserveDialect(), "a", Task.PREDICT, "a"),
        (KserveDialect("b"), "a", Task.PREDICT, "a"),
        (KserveDialect("b"), None, Task.PREDICT, "b"),
        (knowing("c"), None, Task.PREDICT, "c"),
        (KserveDialect("b"), "text-embedding-3-small", Task.EMBED, "b"),
        (knowing("c"), "text-embedding-3-small", Task.EMBED, "c"),
        (knowing("c", "d"), "d", Task.EMBED, "d"),
        (knowing("c", "d", model="c"), None, Task.EMBED, "c"),
        (KserveDialect(), "a", Task.EMBED, "a"),
    ],
)
def test_the_model_is_the_clients_or_the_set_or_the_only_one(
    dialect: KserveDialect, named: str | None, task: Task, asked: str
) -> None:
    assert dialect.fit(BatchKey(task, model=named), items_of("a")) == BatchKey(task, model=asked)


@pytest.mark.parametrize("dialect", [KserveDialect(), knowing("c", "d")])
@pytest.mark.parametrize("task", [Task.PREDICT, Task.EMBED])
def test_where_no_model_is_known_to_be_meant_one_has_to_be_named(dialect: KserveDialect, task: Task) -> None:
    with pytest.raises(Unsupported, match="name one") as caught:
        dialect.fit(BatchKey(task), items_of("a"))
    assert caught.value.field == "model"


def test_a_model_that_comes_later_is_learned() -> None:
    dialect = knowing("c")
    assert dialect.fit(BatchKey(Task.EMBED), items_of("a")).model == "c"
    dialect.describe(lambda _: reply_of({"models": ["d"]}))
    assert dialect.fit(BatchKey(Task.EMBED), items_of("a")).model == "d"


# What can be done


@pytest.mark.parametrize(
    ("key", "field"),
    [
        (EMBED._replace(options=Options(dimensions=8)), "dimensions"),
        (EMBED._replace(options=Options(normalize=False)), "normalize"),
        (EMBED._replace(options=Options(prompt_name="query")), "prompt_name"),
        (EMBED._replace(options=Options(truncation_direction="left")), "truncation_direction"),
        (EMBED._replace(options=Options(more=(("input_type", b'"query"'),), family="openai")), "input_type"),
        (BatchKey(Task.EMBED_ALL, model="m"), None),
        (BatchKey(Task.CLASSIFY, model="m"), None),
    ],
)
def test_what_the_protocol_has_no_name_for_is_refused(key: BatchKey, field: str | None) -> None:
    with pytest.raises(Unsupported) as caught:
        KserveDialect().fit(key, items_of("a"))
    assert caught.value.field == field


def test_options_that_change_nothing_are_left_out_of_the_key() -> None:
    options = Options(normalize=True, truncate=True, more=(("seed", b"1"),), family="openai")
    assert KserveDialect().fit(EMBED._replace(options=options), items_of("a")) == EMBED


def test_token_ids_are_no_texts() -> None:
    with pytest.raises(Unsupported, match="no token ids"):
        KserveDialect().fit(EMBED, [b'"a"', b"[1,2]"])


@pytest.mark.parametrize("count", [1, 32, 100_000])
def test_a_reply_has_a_bound_however_many_instances(count: int) -> None:
    assert KserveDialect().reply_limit(PREDICT, count) <= MAX_REPLY_BYTES_BESIDE + MAX_REPLY_BYTES


# Answers


def test_predictions_are_the_servers_own_bytes_whatever_they_are() -> None:
    reply = reply_of(b'{"predictions": [ 1.50, {"a": [1, 2]} ,null,"x"],"model_name":"m"}')
    assert KserveDialect().answer(PREDICT, 4, reply) == Answer([b"1.50", b'{"a": [1, 2]}', b"null", b'"x"'])


def test_for_an_embedding_the_predictions_are_vectors() -> None:
    reply = reply_of(b'{"predictions":[[1.50,2],[3,4]]}')
    assert KserveDialect().answer(EMBED, 2, reply) == Answer([b"[1.50,2]", b"[3,4]"], 2)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"predictions":[1]}', "1 results for 2 inputs"),
        (b'{"predictions":[1,2,3]}', "3 results for 2 inputs"),
        (b'{"predictions":{"a":1}}', "not a JSON array"),
        (b'{"predictions":null}', "not a JSON array"),
        (b'{"error":"out of memory"}', "no predictions: out of memory"),
        (b'{"message":"","batchId":"1"}', "no predictions"),
        (b"[1,2]", "not a JSON object"),
        (b"", "not a JSON object"),
    ],
)
def test_a_client_gets_nothing_of_an_answer_that_does_not_fit(body: bytes, words: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=words):
        KserveDialect().answer(PREDICT, 2, reply_of(body))


@pytest.mark.parametrize("body", [b'{"predictions":["a","b"]}', b'{"predictions":[{"label":1},{"label":2}]}'])
def test_predictions_that_are_no_vectors_are_no_embeddings(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        KserveDialect().answer(EMBED, 2, reply_of(body))


def test_a_model_that_takes_one_text_a_call_is_a_mistake_of_the_settings() -> None:
    with pytest.raises(UpstreamMisconfigured, match="one text a call"):
        KserveDialect().answer(EMBED, 2, reply_of(b'{"predictions":[0.1,0.2]}'))


# Refusals


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Trouble.UNKNOWN_MODEL, RefusalKind.INPUTS),
        (Trouble.BAD_INPUT, RefusalKind.SUSPICIOUS),
        (Trouble.REFUSED_INPUT, RefusalKind.INPUTS),
        (Trouble.UNKNOWN_PATH, RefusalKind.MISCONFIGURED),
    ],
)
def test_recorded_troubles_mean_what_they_say(trouble: Trouble, kind: RefusalKind) -> None:
    recorded = KserveForm().trouble(trouble)
    assert recorded is not None
    assert KserveDialect().refusal(reply_of(recorded.body, recorded.status)).kind is kind


# What it says of itself


@pytest.mark.parametrize(
    ("model", "reply", "info"),
    [
        (None, reply_of({"models": ["a"]}), UpstreamInfo("a", None, None, models=("a",))),
        (None, reply_of({"models": ["a", "b"]}), UpstreamInfo(None, None, None, models=("a", "b"))),
        ("b", reply_of({"models": ["a", "b"]}), UpstreamInfo("b", None, None, models=("a", "b"))),
        ("b", reply_of(b"", 404), UpstreamInfo("b", None, None, models=("b",))),
        (None, reply_of(b"", 404), None),
        (None, reply_of({"models": [{"id": "a"}]}), None),
        (None, reply_of(b"[]"), None),
        (None, None, None),
    ],
)
def test_the_list_of_models_is_read(model: str | None, reply: Reply | None, info: UpstreamInfo | None) -> None:
    asked = []
    assert KserveDialect(model).describe(lambda path: (asked.append(path), reply)[1]) == info
    assert asked == ["/v1/models"]


def test_health_is_that_of_the_server_and_then_of_the_model() -> None:
    assert KserveDialect().health_paths == ("/v2/health/ready", "/")
    assert KserveDialect("a/b").health_paths == ("/v2/health/ready", "/v1/models/a%2Fb", "/")
    assert knowing("c").health_paths == ("/v2/health/ready", "/v1/models/c", "/")


def test_the_key_is_a_bearer_token_and_no_other_path_is_asked() -> None:
    assert KserveDialect().credentials("k") == {"Authorization": "Bearer k"}
    assert not KserveDialect().forwards("/similarity")

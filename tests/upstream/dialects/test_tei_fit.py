"""What a TEI can do: keys that mean the same become one, and what its model cannot do is refused in its words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batching import BatchKey, Options, Task
from batching.errors import Unsupported
from upstream.dialects.dialect import UpstreamInfo
from upstream.dialects.tei import TeiDialect
from upstream.http_reply import Reply

PLAIN = BatchKey(Task.EMBED)
TEXTS = [b'"a"', b'"b"']
EMBEDS: dict[str, Any] = {"model_id": "m", "model_type": {"embedding": {"pooling": "mean"}}}
SPLADE: dict[str, Any] = {"model_type": {"embedding": {"pooling": "splade"}}}
CLASSIFIER: dict[str, Any] = {"model_type": {"classifier": {"id2label": {"0": "a"}, "label2id": {"a": 0}}}}
RERANKER: dict[str, Any] = {"model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {}}}}


def told(dialect: TeiDialect, **info: object) -> UpstreamInfo:
    said = dialect.describe(lambda path: Reply(200, {}, json.dumps(info).encode()))
    assert said is not None
    return said


def dialect_of(**info: object) -> TeiDialect:
    dialect = TeiDialect()
    told(dialect, **info)
    return dialect


def refused(dialect: TeiDialect, key: BatchKey, items: list[bytes] = TEXTS) -> Unsupported:
    with pytest.raises(Unsupported) as caught:
        dialect.fit(key, items)
    return caught.value


# Keys


def test_the_plain_key_stays_the_same_object() -> None:
    assert TeiDialect().fit(PLAIN, TEXTS) is PLAIN


@pytest.mark.parametrize("task", [Task.EMBED, Task.EMBED_ALL, Task.EMBED_SPARSE, Task.CLASSIFY])
def test_the_model_that_a_client_names_makes_no_key(task: Task) -> None:
    options = Options(truncate=True, dimensions=2)
    assert TeiDialect().fit(BatchKey(task, options, "gpt"), TEXTS) == BatchKey(task, options)
    assert TeiDialect().fit(BatchKey(task, model="gpt"), TEXTS) == BatchKey(task)


@pytest.mark.parametrize(
    ("default", "asked", "kept"),
    [
        (True, True, None),
        (True, False, False),
        (False, False, None),
        (False, True, True),
        (None, True, True),
        (None, False, False),
        ("yes", True, True),
    ],
)
def test_truncation_that_the_server_does_anyway_makes_no_key(default: object, asked: bool, kept: bool | None) -> None:
    dialect = TeiDialect()
    for _ in range(2):  # before and after the server has told, and from memory
        told(dialect, auto_truncate=default)
        assert dialect.fit(BatchKey(Task.EMBED, Options(truncate=asked)), TEXTS).options == Options(truncate=kept)


def test_what_was_decided_before_the_server_told_is_decided_anew() -> None:
    dialect, key = TeiDialect(), BatchKey(Task.EMBED, Options(truncate=True))
    assert dialect.fit(key, TEXTS) == key
    told(dialect, auto_truncate=True)
    assert dialect.fit(key, TEXTS) == PLAIN
    told(dialect, auto_truncate=False)
    assert dialect.fit(key, TEXTS) == key


def test_members_of_teis_own_api_are_passed_on() -> None:
    key = BatchKey(Task.EMBED, Options(more=(("input_type", b'"query"'),), family="tei"))
    assert TeiDialect().fit(key, TEXTS) == key


@pytest.mark.parametrize(
    "members",
    [
        {"model": b'"gpt"'},
        {"encoding_format": b'"float"'},
        {"options": b'{"wait_for_model":true}'},
        {"parameters": b'{"top_k":1}'},
        {"model": b'"gpt"', "options": b'{"use_cache":false}', "parameters": b"[]"},
    ],
)
def test_members_that_tei_reads_over_make_no_key_once_it_has_shown_to_be_one(members: dict[str, bytes]) -> None:
    dialect, key = TeiDialect(), BatchKey(Task.EMBED, Options(more=tuple(members.items()), family="tei"))
    assert dialect.fit(key, TEXTS) == key  # another server, which does not tell of its model, may know them
    told(dialect, **EMBEDS)
    assert dialect.fit(key, TEXTS) == PLAIN


def test_the_other_members_stay_with_those_that_hold_a_truncation() -> None:
    kept = (("input_type", b'"query"'), ("parameters", b'{"truncate":true}'))
    key = BatchKey(Task.EMBED, Options(more=(kept[0], ("model", b'"m"'), kept[1]), family="tei"))
    assert dialect_of(**EMBEDS).fit(key, TEXTS) == BatchKey(Task.EMBED, Options(more=kept, family="tei"))


@pytest.mark.parametrize("family", ["openai", "kserve"])
def test_members_of_another_api_that_change_nothing_are_dropped(family: str) -> None:
    key = BatchKey(Task.EMBED, Options(dimensions=2, more=(("priority", b"1"),), family=family), "gpt")
    assert TeiDialect().fit(key, TEXTS) == BatchKey(Task.EMBED, Options(dimensions=2))


def test_a_member_of_another_api_that_would_change_the_vectors_is_refused() -> None:
    key = BatchKey(Task.EMBED, Options(more=(("a", b"1"), ("input_type", b'"query"')), family="openai"))
    for _ in range(2):
        problem = refused(TeiDialect(), key)
        assert (problem.field, problem.status) == ("input_type", 422)


# KServe's predict


@pytest.mark.parametrize(
    "items", [[b'"a"'], [b'"a"', b'"[1]"'], [b"[1,2]", b'"a"'], [b"[ 1 ,\n2 ]"], ['"ü\\""'.encode()]]
)
def test_instances_that_are_inputs_are_embedded_with_those_of_other_apis(items: list[bytes]) -> None:
    assert TeiDialect().fit(BatchKey(Task.PREDICT, model="m"), items) == PLAIN


@pytest.mark.parametrize("item", [b'{"text":"a"}', b"1", b"null", b'["a"]', b"[1.5]", b"[[1]]", b"[-1]", b"[true]"])
def test_other_instances_are_refused_and_named(item: bytes) -> None:
    dialect = TeiDialect()
    assert dialect.fit(BatchKey(Task.PREDICT), TEXTS) == PLAIN  # the key is known, and the items are looked at again
    problem = refused(dialect, BatchKey(Task.PREDICT), [b'"a"', item])
    assert (problem.status, problem.field) == (422, "instances")
    assert problem.message.startswith("instances[1]: ")


@pytest.mark.parametrize("item", [b'""', b"[]", b"[ ]"])
def test_an_empty_instance_is_refused_before_it_costs_a_batch(item: bytes) -> None:
    assert refused(TeiDialect(), BatchKey(Task.PREDICT), [item]).status == 400


def test_other_members_of_a_predict_are_refused() -> None:
    key = BatchKey(Task.PREDICT, Options(more=(("signature_name", b'"x"'),), family="kserve"))
    assert refused(TeiDialect(), key).field == "signature_name"


def test_a_task_of_later_is_refused() -> None:
    key = BatchKey("ocr")  # type: ignore[arg-type] # as a task of later would be
    assert refused(TeiDialect(), key).message == "a TEI upstream cannot do ocr"


# The model


@pytest.mark.parametrize("task", [Task.EMBED, Task.EMBED_ALL, Task.EMBED_SPARSE, Task.CLASSIFY])
def test_a_server_that_has_not_told_of_its_model_is_asked(task: Task) -> None:
    assert TeiDialect().fit(BatchKey(task), TEXTS) == BatchKey(task)
    assert dialect_of(model_id="m").fit(BatchKey(task), TEXTS) == BatchKey(task)


@pytest.mark.parametrize(
    ("info", "task", "words"),
    [
        (EMBEDS, Task.CLASSIFY, "Model is not a classifier model"),
        (EMBEDS, Task.EMBED_SPARSE, "Model is not an embedding model with SPLADE pooling"),
        (SPLADE, Task.EMBED, "`normalize` is not available for SPLADE models"),
        (SPLADE, Task.EMBED_ALL, "`embed_all` is not available for SPLADE models"),
        (CLASSIFIER, Task.EMBED, "Model is not an embedding model"),
        (CLASSIFIER, Task.EMBED_ALL, "Model is not an embedding model"),
        (RERANKER, Task.EMBED, "Model is not an embedding model"),
        (RERANKER, Task.PREDICT, "Model is not an embedding model"),
        (RERANKER, Task.EMBED_SPARSE, "Model is not an embedding model with SPLADE pooling"),
    ],
)
def test_what_the_model_cannot_do_is_refused_in_teis_own_words(info: dict[str, Any], task: Task, words: str) -> None:
    problem = refused(dialect_of(**info), BatchKey(task))
    assert (problem.status, problem.error_type, problem.message) == (424, "Backend", f"Backend error: {words}")


@pytest.mark.parametrize(
    ("info", "task"),
    [
        (EMBEDS, Task.EMBED),
        (EMBEDS, Task.EMBED_ALL),
        (SPLADE, Task.EMBED_SPARSE),
        (CLASSIFIER, Task.CLASSIFY),
        (RERANKER, Task.CLASSIFY),
        ({"model_type": {"Reranker": {}}}, Task.CLASSIFY),
    ],
)
def test_what_the_model_can_do_is_done(info: dict[str, Any], task: Task) -> None:
    assert dialect_of(**info).fit(BatchKey(task), TEXTS) == BatchKey(task)


def test_a_sparse_model_gives_dense_vectors_that_are_not_normalized() -> None:
    key = BatchKey(Task.EMBED, Options(normalize=False))
    assert dialect_of(**SPLADE).fit(key, TEXTS) == key


def test_a_model_that_takes_the_place_of_another_is_judged_by_itself() -> None:
    dialect = dialect_of(**CLASSIFIER)
    refused(dialect, PLAIN)
    told(dialect, **EMBEDS)
    assert dialect.fit(PLAIN, TEXTS) is PLAIN
    told(dialect, **CLASSIFIER)
    refused(dialect, PLAIN)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (EMBEDS, UpstreamInfo("m", None, None, "mean", purpose="embedding", models=("m",))),
        ({**EMBEDS, "served_model_name": "s"}, UpstreamInfo("m", None, None, "mean", None, "embedding", ("s",))),
        (
            {**EMBEDS, "served_model_name": 1, "model_sha": "h"},
            UpstreamInfo("m", None, None, "h, mean", None, "embedding", ("m",)),
        ),
        (RERANKER, UpstreamInfo(None, None, None, purpose="reranker")),
        (SPLADE, UpstreamInfo(None, None, None, "splade", purpose="sparse")),
        (CLASSIFIER, UpstreamInfo(None, None, None, purpose="classifier")),
        ({"model_type": "embedding"}, UpstreamInfo(None, None, None)),
        ({"model_type": {"embedding": []}}, UpstreamInfo(None, None, None, purpose="embedding")),
        ({"max_batch_tokens": 16384}, UpstreamInfo(None, None, None)),  # how TEI batches, and no limit of a call
    ],
)
def test_info_tells_purpose_names_and_revision(info: dict[str, Any], expected: UpstreamInfo) -> None:
    assert told(TeiDialect(), **info) == expected._replace(raw=json.dumps(info).encode())

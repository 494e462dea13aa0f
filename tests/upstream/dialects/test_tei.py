"""TEI's dialect: the bytes that a batch becomes, and what is read out of the replies. No socket here."""

from __future__ import annotations

import json

import pytest

from batching import Answer, BatchKey, Options, Task
from batching.errors import UpstreamProtocolError
from formats.slices import BadRowsError
from tests.support.fakes import KEY, items_of
from upstream.dialects.dialect import Refusal, RefusalKind, UpstreamInfo
from upstream.dialects.tei import (
    MAX_REMEMBERED_KEYS,
    MAX_REPLY_BYTES,
    MAX_REPLY_BYTES_BESIDE,
    MAX_REPLY_BYTES_OF,
    MAX_REPLY_BYTES_PER_ITEM,
    TeiDialect,
)
from upstream.http_reply import Reply
from upstream.request import Request

#: What is said of a name that would write into a terminal.
NAMED = UpstreamInfo("ab WARNING all is lost", None, None, models=("ab WARNING all is lost",))


def reply_of(body: bytes = b"", status: int = 200) -> Reply:
    return Reply(status, {}, body)


# Requests


@pytest.mark.parametrize(
    ("options", "members"),
    [
        (Options(), b""),
        (Options(normalize=True), b',"normalize":true'),
        (Options(normalize=False), b',"normalize":false'),
        (Options(truncate=True), b',"truncate":true'),
        (Options(truncation_direction="left"), b',"truncation_direction":"Left"'),
        (Options(truncation_direction="right"), b',"truncation_direction":"Right"'),
        (Options(prompt_name='a "query"\n'), b',"prompt_name":"a \\"query\\"\\n"'),
        (Options(prompt_name=""), b',"prompt_name":""'),
        (Options(dimensions=256), b',"dimensions":256'),
        (Options(dimensions=0), b',"dimensions":0'),
        (Options(raw_scores=True), b',"raw_scores":true'),
        (Options(more=(("x", b"[1,2.50]"),), family="tei"), b',"x":[1,2.50]'),
        (Options(more=(('a "b"', b"null"),), family="tei"), b',"a \\"b\\"":null'),
        # All are sorted by name.
        (
            Options(False, True, "left", None, 8, (("embed", b"1"), ("z", b"{}")), "tei"),
            b',"dimensions":8,"embed":1,"normalize":false,"truncate":true,"truncation_direction":"Left","z":{}',
        ),
        # The items are never replaced.
        (Options(more=(("inputs", b'["x"]'), ("y", b"1")), family="tei"), b',"y":1'),
        # A member that the API does not know stands for the server's own.
        (Options(normalize=False, more=(("normalize", b'"l2"'),), family="tei"), b',"normalize":"l2"'),
    ],
)
def test_options_stand_behind_the_inputs(options: Options, members: bytes) -> None:
    dialect = TeiDialect()
    for _ in range(2):  # the second time from memory
        request = dialect.request(BatchKey(Task.EMBED, options), items_of("a"))
        assert (request.path, request.method, request.body) == ("/embed", "POST", b'{"inputs":["a"]%b}' % members)
        assert isinstance(json.loads(request.body or b""), dict)


def test_items_are_sent_byte_by_byte_and_in_order() -> None:
    items = [b'"a"', b'"b\\n"', b'"\\u00fc"', '"ü"'.encode(), b"[1,2]", b"[ 3 ]"]
    body = TeiDialect().request(KEY, items).body
    assert body == b'{"inputs":["a","b\\n","\\u00fc","\xc3\xbc",[1,2],[ 3 ]]}'


def test_the_model_that_a_client_names_is_not_sent() -> None:
    assert TeiDialect().request(BatchKey(Task.EMBED, model="gpt"), items_of("a")).body == b'{"inputs":["a"]}'


def test_as_many_keys_as_there_may_be_are_remembered() -> None:
    dialect = TeiDialect()
    for number in range(3 * MAX_REMEMBERED_KEYS):
        key = BatchKey(Task.EMBED, Options(dimensions=number))
        assert dialect.request(key, [b"1"]).body == b'{"inputs":[1],"dimensions":%d}' % number
    assert len(dialect._members) <= MAX_REMEMBERED_KEYS


@pytest.mark.parametrize(
    ("task", "item", "path", "sent"),
    [
        (Task.EMBED, b"[1,2]", "/embed", b'{"inputs":[[1,2],[1,2]]}'),
        (Task.EMBED_ALL, b'"a"', "/embed_all", b'{"inputs":["a","a"]}'),
        (Task.EMBED_SPARSE, b'"a"', "/embed_sparse", b'{"inputs":["a","a"]}'),
        (Task.CLASSIFY, b'["q","a"]', "/predict", b'{"inputs":[["q","a"],["q","a"]]}'),
        (Task.CLASSIFY, b'["a"]', "/predict", b'{"inputs":[["a"],["a"]]}'),
    ],
)
def test_each_task_has_its_route(task: Task, item: bytes, path: str, sent: bytes) -> None:
    assert TeiDialect().request(BatchKey(task), [item, item]) == Request(path, sent)


@pytest.mark.parametrize("task", [Task.EMBED, Task.CLASSIFY])
@pytest.mark.parametrize("count", [1, 2, 32])
def test_a_reply_may_be_as_long_as_its_vectors_can_be(task: Task, count: int) -> None:
    limit = TeiDialect().reply_limit(BatchKey(task), count)
    assert limit == MAX_REPLY_BYTES_BESIDE + count * MAX_REPLY_BYTES_PER_ITEM


@pytest.mark.parametrize(("task", "count"), [(Task.EMBED_ALL, 1), (Task.EMBED_ALL, 8), (Task.EMBED_SPARSE, 64)])
def test_longer_results_may_take_more_up_to_a_bound_for_all_together(task: Task, count: int) -> None:
    dialect = TeiDialect()
    limit = dialect.reply_limit(BatchKey(task), count)
    assert limit == MAX_REPLY_BYTES_BESIDE + count * MAX_REPLY_BYTES_OF[task]
    assert dialect.reply_limit(BatchKey(task), 1000) == MAX_REPLY_BYTES_BESIDE + MAX_REPLY_BYTES


def test_the_key_is_told_as_a_bearer_token() -> None:
    assert TeiDialect().credentials("k") == {"Authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/similarity", True), ("/tokenize", True), ("/decode", True), ("/rerank", True), ("/info", True)]
    + [(path, False) for path in ("/vertex", "/embed", "/", "/metrics", "/similarity/../info", "")],
)
def test_only_routes_that_are_known_may_be_forwarded(path: str, expected: bool) -> None:
    assert TeiDialect().forwards(path) is expected


# Answers


@pytest.mark.parametrize(
    ("body", "vectors", "dimension"),
    [
        (b"[[1,2],[3,4]]", [b"[1,2]", b"[3,4]"], 2),
        (b" [ [ 1 ,\n\t2 ] , [3,4] ] ", [b"[ 1 ,\n\t2 ]", b"[3,4]"], 2),
        (b"[[0.10000000000000000000000001]]", [b"[0.10000000000000000000000001]"], 1),
        (b"[[0.1,-2,3e-7,4E+08,1e999,-0.0]]", [b"[0.1,-2,3e-7,4E+08,1e999,-0.0]"], 6),
    ],
)
def test_the_answers_vectors_are_the_upstreams_own_bytes(body: bytes, vectors: list[bytes], dimension: int) -> None:
    assert TeiDialect().answer(KEY, len(vectors), reply_of(body)) == Answer(vectors, dimension)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[[1],[2]",
        b'{"data":[]}',
        b"[]",
        b"[[1]]",
        b"[[1],[2],[3]]",
        b'[{"embedding":[1]},{"embedding":[2]}]',
        b"[0.5,0.25]",
        b"[" * 60_000,
        b"[[1],[2]]x",
    ],
)
def test_what_is_not_one_vector_for_each_input_is_no_answer(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError) as raised:
        TeiDialect().answer(KEY, 2, reply_of(body))
    assert raised.value.__cause__ is not None
    assert raised.value.message == str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("body", "rows", "why", "dimensions"),
    [
        (b"[[1,2],null]", [b"[1,2]", None], {1: "null"}, {0: 2}),
        (b"[[1,NaN],[ 1,2.50]]", [None, b"[ 1,2.50]"], {0: "a null or NaN among its numbers"}, {1: 2}),
        (b"[[1],[2,3]]", [b"[1]", b"[2,3]"], {}, {0: 1, 1: 2}),
    ],
)
def test_an_answer_of_which_some_rows_are_bad_tells_which(
    body: bytes, rows: list[bytes | None], why: dict[int, str], dimensions: dict[int, int]
) -> None:
    with pytest.raises(BadRowsError) as raised:
        TeiDialect().answer(KEY, 2, reply_of(body))
    assert (raised.value.rows, raised.value.why, raised.value.dimensions) == (rows, why, dimensions)


@pytest.mark.parametrize(
    ("task", "body", "results"),
    [
        (Task.EMBED_ALL, b"[[[1,2.50],[3,4]],\n[ [5,6] ]]", [b"[[1,2.50],[3,4]]", b"[ [5,6] ]"]),
        (Task.EMBED_SPARSE, b'[[{"index":1,"value":0.50}], [ ]]', [b'[{"index":1,"value":0.50}]', b"[ ]"]),
        (Task.CLASSIFY, b'[[{"score":1.0,"label":"a"}],[{}]]', [b'[{"score":1.0,"label":"a"}]', b"[{}]"]),
    ],
)
def test_other_results_are_the_upstreams_own_bytes_too(task: Task, body: bytes, results: list[bytes]) -> None:
    assert TeiDialect().answer(BatchKey(task), 2, reply_of(body)) == Answer(results)


@pytest.mark.parametrize(
    ("task", "body"),
    [
        (Task.EMBED_ALL, b"[[1],[2]]"),
        (Task.EMBED_ALL, b"[[[1]],null]"),
        (Task.EMBED_ALL, b"[[[1]],[[null]]]"),
        (Task.EMBED_ALL, b'[[[1]],[["1"]]]'),
        (Task.EMBED_ALL, b"[[[1]],[[NaN]]]"),
        (Task.EMBED_ALL, b"[[[1]],[]]"),
        (Task.EMBED_SPARSE, b"[[1],[2]]"),
        (Task.EMBED_SPARSE, b"[[{}],{}]"),
        (Task.CLASSIFY, b"[[{}],[]]"),
        (Task.CLASSIFY, b'[{"score":1,"label":"a"},{"score":0,"label":"b"}]'),
        (Task.CLASSIFY, b"[[{}],null]"),
        *[(task, b"[[[{}]]]") for task in (Task.EMBED_ALL, Task.EMBED_SPARSE, Task.CLASSIFY)],
        *[(task, b'{"error":"no"}') for task in (Task.EMBED_ALL, Task.EMBED_SPARSE, Task.CLASSIFY)],
    ],
)
def test_results_of_another_shape_are_no_answer(task: Task, body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        TeiDialect().answer(BatchKey(task), 2, reply_of(body))


@pytest.mark.parametrize(
    ("said", "tokens"),
    [("7", 7), ("0", 0), (None, None), ("", None), ("-1", None), ("7.5", None), ("\u0667", None), ("1" * 99, None)],
)
def test_the_tokens_are_those_that_the_server_counted(said: str | None, tokens: int | None) -> None:
    reply = Reply(200, {} if said is None else {"x-compute-tokens": said}, b"[[1]]")
    assert TeiDialect().answer(KEY, 1, reply) == Answer([b"[1]"], 1, tokens=tokens)
    classified = reply._replace(body=b"[[{}]]")
    assert TeiDialect().answer(BatchKey(Task.CLASSIFY), 1, classified).tokens == tokens


# Refusals


def test_a_refusal_is_read_by_its_status_and_its_words() -> None:
    said = reply_of(b'{"error":"too long","error_type":"Tokenizer"}', 422)
    assert TeiDialect().refusal(said) == Refusal(RefusalKind.INPUTS, "too long", "Tokenizer")


# What it says of itself


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"model_id":"m","max_client_batch_size":32,"max_concurrent_requests":512}',
            UpstreamInfo("m", 32, 512, models=("m",)),
        ),
        (b'{"model_id":7,"max_client_batch_size":true,"max_concurrent_requests":-1}', UpstreamInfo(None, None, None)),
        (b'{"max_client_batch_size":1.5,"max_concurrent_requests":"9"}', UpstreamInfo(None, None, None)),
        (b'{"max_client_batch_size":0,"max_concurrent_requests":1}', UpstreamInfo(None, None, 1)),
        (b"{}", UpstreamInfo(None, None, None)),
        (b"[]", None),
        (b"", None),
        (b"<html>", None),
        (b"[" * 30_000, None),
        (b'{"model_id":"\xff"}', UpstreamInfo("\ufffd", None, None, models=("\ufffd",))),
        (b'{"model_id":"a\\u001b[31mb\\r\\nWARNING all is lost"}', NAMED),
        (b'{"model_id":"\\u001b[2J\\n"}', UpstreamInfo(None, None, None)),
        (b'\xef\xbb\xbf{"model_id":"m"}', UpstreamInfo("m", None, None, models=("m",))),
    ],
)
def test_limits_are_read_from_info_and_those_that_make_no_sense_count_as_untold(
    body: bytes, said: UpstreamInfo | None
) -> None:
    asked: list[str] = []

    def get(path: str) -> Reply:
        asked.append(path)
        return reply_of(body)

    assert TeiDialect().describe(get) == (said and said._replace(raw=body))
    assert asked == ["/info"]


@pytest.mark.parametrize("status", [204, 404, 500])
def test_a_server_without_info_says_nothing(status: int) -> None:
    assert TeiDialect().describe(lambda path: reply_of(b'{"model_id":"m"}', status)) is None


def test_a_server_that_does_not_answer_says_nothing() -> None:
    assert TeiDialect().describe(lambda path: None) is None

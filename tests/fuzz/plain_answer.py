"""Answers of plain and KServe servers: what is taken for vectors are vectors, in the server's own bytes."""

from __future__ import annotations

import json

from batching import BatchKey, Task
from batching.errors import UpstreamError
from formats.slices import BadRowsError
from tests.support.fakes import KEY
from upstream.dialects.kserve import KserveDialect
from upstream.dialects.plain import PlainDialect
from upstream.http_reply import Reply

SEEDS = [
    b"\1[[1,2],[3,4]]",
    b'\1{"embeddings":[[1,2],[3,4]]}',
    b'\1{"data":[{"index":1,"embedding":[1]},{"index":0,"embedding":[2e3]}]}',
    b'\0{"result":{"vectors":[[1.50]]}}',
    b'\1{"predictions":[[1],[NaN]]}',
    b'\1{"predictions":[{"a":[1,2]},"x"]}',
    b"\0[0.1,0.2]",
    b'\0{"embedding":[0.1]}',
    b'\1{"embeddings":[null,[1]]}',
    b'\0{"error":"\xff"}',
    b"\0" + b'{"a":' * 1200,
]
TOKENS = [
    *(b'"embeddings":', b'"data":', b'"index":', b'"embedding":', b'"predictions":', b'"vectors":', b'"detail":'),
    *(b"NaN", b"-Infinity", b"null", b"true", b"1e999", b"-0.0", b"[", b"]", b"{", b"}", b",", b'"', b"[[", b"\xff"),
]
PREDICT = BatchKey(Task.PREDICT, model="m")


def check(data: bytes) -> None:
    """The first byte says how many texts were asked for, the rest is the reply."""
    if not data:
        return
    count, body = 1 + data[0] % 4, data[1:]
    reply = Reply(200, {}, body)
    for dialect in (PlainDialect(), PlainDialect(output_field="data.embedding"), KserveDialect("m")):
        try:
            answer = dialect.answer(KEY, count, reply)
        except (UpstreamError, BadRowsError) as problem:
            str(problem).encode()
            continue
        assert len(answer.results) == count
        for each in answer.results:
            vector = json.loads(each)
            assert all(type(number) in {int, float} for number in vector)
            assert len(vector) == answer.dimension
            assert each in body
    _check_predictions(count, reply)
    PlainDialect().refusal(Reply(422, {}, body)).text.encode()


def _check_predictions(count: int, reply: Reply) -> None:
    try:
        results = KserveDialect("m").answer(PREDICT, count, reply).results
    except UpstreamError as problem:
        str(problem).encode()
        return
    said = json.loads(reply.body.decode("utf-8", "replace"))
    assert [json.loads(each) for each in results] == said["predictions"]

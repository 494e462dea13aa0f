"""Refusals and ``/info`` of an upstream: whatever they say, the client is told something sane, and no other's text."""

from __future__ import annotations

import json

from api.error_forms import error_body, retry_after_header
from batching import Batch
from batching.call import Part
from batching.errors import UpstreamError, UpstreamOverloaded, UpstreamRejected, UpstreamUnavailable
from tests.support.fakes import KEY, FakeClock, call_of
from upstream.dialects.relaying import MAX_RELAYED_TEXT
from upstream.dialects.tei import TeiDialect
from upstream.endpoint import Endpoint
from upstream.http_reply import Reply

STATUSES = (400, 413, 422, 429, 503, 500, 424, 204, 301, 404, 599)
_OURS = "the upstream "

SEEDS = [
    b'\0\0\n{"error":"too long","error_type":"Validation"}',
    b'\1\1\n{"error":"quotes a neighbour","error_type":"Validation"}',
    b"\3\0" + b"7\n",
    b"\4\0Wed, 21 Oct 2026 07:28:00 GMT\n<html>",
    b"\3\0\xb2\n",
    b"\3\0" + b"99999999999999999999\n",
    b'\2\0\n{"error":"\\ud800 \\u0000","error_type":"<b>"}',
    b'\0\0\n{"error":["x"],"error_type":1}',
    b'\5\0\n{"model_id":"m","max_client_batch_size":32,"max_concurrent_requests":512}',
    b'\5\0\n{"model_id":1,"max_client_batch_size":-1,"max_concurrent_requests":1e999}',
    b"\0\0\n" + b"[" * 1200,
    b'\0\0\n{"error":"\xff","error_type":"Validation"}',
    b'\5\0\n{"model_id":"\xff"}',
]
TOKENS = [
    *(b'"error":', b'"error_type":', b'"model_id":', b'"max_client_batch_size":', b'"max_concurrent_requests":'),
    *(b'"Validation"', b'"Tokenizer"', b"\\ud800", b"\\udc00", b"\\u0000", b"\xed\xa0\x80", b"\xc2\xb2", b"\xb9"),
    *(b"null", b"true", b"-1", b"1e999", b"18446744073709551616", b"0", b"00000", b"{", b"}", b",", b'"', b"\n"),
]


class _Endpoint(Endpoint):
    """Gets its replies from the fuzzer."""

    reply = Reply(200, {}, b"")

    def _call(self, *args: object) -> Reply:
        return self.reply


_endpoint = _Endpoint("http://127.0.0.1:1", TeiDialect(), FakeClock(), connections=1, timeout=1.0)


def check(data: bytes) -> None:
    """Two bytes choose the status and the size of the batch; a line is ``Retry-After``, and the rest the body."""
    if len(data) < 2:
        return
    status, count = STATUSES[data[0] % len(STATUSES)], 1 + data[1] % 2
    retry_after, _, body = data[2:].partition(b"\n")
    _endpoint.reply = Reply(status, {"retry-after": retry_after.decode("latin-1")}, body)
    batch = Batch(KEY, "full", 0.0)
    batch.add(Part(call_of(*"ab"[:count]), 0, count))
    try:
        _endpoint.send(batch)
    except UpstreamError as error:
        _check_refusal(error, count)
    else:
        raise AssertionError(f"{status} is no answer")
    _check_info(body)


def _check_refusal(error: UpstreamError, count: int) -> None:
    assert 400 <= error.status <= 599
    assert error.error_type.isascii()
    assert error.error_type.isalpha()
    assert 0 < len(error.message) <= MAX_RELAYED_TEXT + len("the upstream answered with status 500: ")
    assert error.message.isprintable()
    if count > 1 or not isinstance(error, UpstreamRejected):
        assert error.message.startswith(_OURS)
    assert json.loads(error_body(error.message, error.error_type, "id"))["error"] == error.message
    if error.retry_after is not None:
        assert 0 < int(retry_after_header(error.retry_after)) < 100_003
    if error.pause is not None:
        assert isinstance(error, UpstreamOverloaded | UpstreamUnavailable)
        assert 0 <= error.pause < 100_000


def _check_info(reply: bytes) -> None:
    _endpoint.reply = Reply(200, {}, reply)
    info = _endpoint.info(1.0)
    if info is not None:
        name, *limits = info
        assert name is None or isinstance(name, str)
        assert all(limit is None or (type(limit) is int and limit > 0) for limit in limits)

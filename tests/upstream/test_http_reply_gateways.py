"""What gateways, old servers and servers of TLS answer is read as far as it can be trusted."""

from __future__ import annotations

import pytest

from batching.clock import NEVER
from batching.errors import UpstreamMisconfigured, UpstreamProtocolError
from tests.support.upstream.framing import framed, head
from upstream.http_reply import (
    COMPLETE,
    MAX_TEXT_BYTES,
    ReplyReader,
    keep_alive,
)
from upstream.wrong_scheme import EXPECTS_TLS

BODY = b'[[0.25,"not looked at"]]'


def read(*pieces: bytes, max_bytes: int | None = 1000) -> ReplyReader:
    reader = ReplyReader()
    reader.expect(max_bytes)
    for piece in pieces:
        reader.feed(piece)
    return reader


def test_a_reply_of_http_1_0_with_a_length_counts() -> None:
    reader = read(framed(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (reader.progress, reader.reply().body, reader.reusable) == (COMPLETE, BODY, False)


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_a_200_that_only_the_end_of_its_connection_ends_is_refused_with_the_reason(version: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="neither a length nor chunks, so half of it might look whole"):
        read(head(200, "Connection: close").replace(b"HTTP/1.1", version) + BODY)


@pytest.mark.parametrize("count", [10, MAX_TEXT_BYTES, 40 * MAX_TEXT_BYTES])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_page_of_a_gateway_may_have_any_size(count: int, *, has_length: bool) -> None:
    page = b"<html>" + b"x" * count
    length = [f"Content-Length: {len(page)}"] if has_length else []
    reader = read(head(502, "Content-Type: text/html", *length), page)
    if reader.progress is not COMPLETE:
        reader.end()
    assert (reader.reply().status, reader.reply().body) == (502, page[:MAX_TEXT_BYTES])


@pytest.mark.parametrize("coding", ["gzip", "BR", "deflate, gzip"])
def test_a_text_that_a_gateway_compressed_is_none(coding: str) -> None:
    reader = read(framed(b"\x1f\x8b\x08 packed", 503, f"Content-Encoding: {coding}", "Retry-After: 3"))
    assert (reader.reply().status, reader.reply().headers["retry-after"], reader.reply().body) == (503, "3", b"")


@pytest.mark.parametrize(
    ("announced", "idle", "count"),
    [
        ("timeout=5, max=100", 4.0, 100.0),
        ("timeout=5", 4.0, NEVER),
        ("max=0", NEVER, 0.0),
        ("TIMEOUT = 60,Max=3", 59.0, 3.0),
        ('timeout="15"', 14.0, NEVER),
        ("timeout=1", 0.5, NEVER),
        ("timeout=0", 0.0, NEVER),
        ("300", NEVER, NEVER),
        ("", NEVER, NEVER),
        ("timeout=-1", NEVER, NEVER),
        ("timeout=٣", NEVER, NEVER),
    ],
)
def test_what_a_server_announces_of_a_connection_is_read(announced: str, idle: float, count: float) -> None:
    assert keep_alive(announced) == (idle, count)


def test_a_reply_says_what_it_announces_of_its_connection() -> None:
    assert read(framed(BODY, 200, "Keep-Alive: timeout=5")).keep_alive == "timeout=5"
    assert read(framed(BODY)).keep_alive is None


def test_a_tls_alert_instead_of_a_reply_is_a_mistake_of_configuration() -> None:
    with pytest.raises(UpstreamMisconfigured) as raised:
        read(b"\x15\x03\x01\x00\x02\x02\x46")
    assert raised.value.message == EXPECTS_TLS


def test_the_same_bytes_after_a_reply_has_begun_are_nonsense() -> None:
    with pytest.raises(UpstreamProtocolError) as raised:
        read(b"HTTP/1.1 200 OK\r\n", b"\x15\x03\x01\x00\x02\x02\x46")
    assert raised.value.reason != ""

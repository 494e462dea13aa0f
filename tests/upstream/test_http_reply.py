"""Replies are read from bytes in any pieces; what cannot be trusted is refused, and the next reply is not mixed in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.errors import UpstreamBroke, UpstreamProtocolError
from tests.support.upstream.framing import chunked, framed, head
from upstream.http_reply import (
    AWAITING,
    BEGUN,
    COMPLETE,
    HEAD_READ,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_TEXT_BYTES,
    Ending,
    Progress,
    Reply,
    ReplyReader,
)

BODY = b'[[0.25,"not looked at"]]'
PROPER = {
    "a length": framed(BODY),
    "chunks": head(200, "Content-Type: application/json", "Transfer-Encoding: Chunked")
    + chunked(BODY[:3], BODY[3:], b""),
    "a trailer": head(200, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(BODY), BODY),
    "an interim reply": head(103, "Link: </x>") + framed(BODY),
    "chunks with extensions": head(200, "Transfer-Encoding: chunked")
    + b'%x;name=value;x="y z"\r\n%b\r\n0;last\r\n\r\n' % (len(BODY), BODY),
    "a status line without words": framed(BODY).replace(b" Whatever", b" "),
    "a status line that ends at its number": framed(BODY).replace(b" Whatever", b""),
    "an encoding that is none": framed(BODY, 200, "Content-Encoding: Identity"),
    "several interim replies": b"HTTP/1.1 100 Continue\r\n\r\n" + head(102) + head(103, "Link: </x>") + framed(BODY),
    "names in capitals": head(200, f"CONTENT-LENGTH: {len(BODY)}") + BODY,
}


def read(*pieces: bytes, max_bytes: int | None = 1000) -> ReplyReader:
    reader = ReplyReader()
    reader.expect(max_bytes)
    for piece in pieces:
        reader.feed(piece)
    return reader


@pytest.mark.parametrize("data", PROPER.values(), ids=PROPER)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_a_reply_is_the_same_in_whatever_pieces_it_comes(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in itertools.pairwise(places) if start < stop]
    reader = read(*pieces[:-1])
    assert reader.progress is not COMPLETE
    reader.feed(pieces[-1])
    assert reader.progress is COMPLETE
    assert reader.reusable
    assert reader.reply().body == BODY
    assert "x-sum" not in reader.reply().headers
    assert "link" not in reader.reply().headers


def test_the_status_and_the_headers_are_told() -> None:
    reader = read(framed(b"no", 429, "Retry-After: 7", "X-A: 1", "x-a: 2"))
    assert reader.reply() == Reply(
        429,
        {"content-type": "application/json", "content-length": "2", "retry-after": "7", "x-a": "1, 2"},
        b"no",
    )


def test_one_reply_after_the_other_is_read_on_a_connection() -> None:
    reader = read(framed(b"first", 503, "Retry-After: 1"))
    reader.expect(1000)
    assert reader.progress is not COMPLETE
    reader.feed(framed(b"second"))
    assert reader.reply() == Reply(200, {"content-type": "application/json", "content-length": "6"}, b"second")
    assert reader.reusable


@pytest.mark.parametrize(
    "more", [framed(b"second"), framed(b"second")[:9], b"garbage", head(103)], ids=["whole", "begun", "garbage", "1xx"]
)
@pytest.mark.parametrize("apart", [True, False], ids=["apart", "in one piece"])
def test_what_comes_behind_a_reply_ends_the_connection_and_not_the_reply(more: bytes, *, apart: bool) -> None:
    reader = read(*[framed(b"first"), more] if apart else [framed(b"first") + more])
    assert reader.reply().body == b"first"
    assert not reader.reusable


@pytest.mark.parametrize("header", ["Connection: close", "connection: Close"])
def test_a_connection_that_is_to_be_closed_is_not_used_again(header: str) -> None:
    assert not read(framed(BODY, 200, header)).reusable


def test_a_connection_of_http_1_0_is_not_used_again_unless_it_says_so() -> None:
    old = framed(BODY).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert not read(old).reusable
    assert read(old.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1)).reusable


@pytest.mark.parametrize("size", [999, 1000])
def test_a_body_may_be_as_long_as_is_allowed(size: int) -> None:
    assert len(read(framed(b"x" * size)).reply().body) == size
    assert len(read(head(200, "Transfer-Encoding: chunked") + chunked(b"x" * size, b"")).reply().body) == size


def test_a_longer_one_is_refused_by_its_length_alone() -> None:
    with pytest.raises(UpstreamProtocolError, match="of 1001 bytes is too long"):
        read(head(200, "Content-Length: 1001"))


def test_chunks_are_refused_when_there_are_too_many() -> None:
    with pytest.raises(UpstreamProtocolError, match="longer than 1000 bytes"):
        read(head(200, "Transfer-Encoding: chunked") + chunked(b"x" * 600, b"x" * 401))


def test_headers_may_take_so_much_and_no_more() -> None:
    rest = len(head(200, "X: ", "Content-Length: 0"))
    assert read(head(200, "X: " + "x" * (MAX_HEAD_BYTES - rest), "Content-Length: 0")).progress is COMPLETE
    with pytest.raises(UpstreamProtocolError, match="too much beside"):
        read(head(200, "X: " + "x" * MAX_HEAD_BYTES)[:-2])
    with pytest.raises(UpstreamProtocolError, match="too many headers"):
        read(*[head(103, "Link: </x>")] * MAX_HEAD_BYTES)
    with pytest.raises(UpstreamProtocolError, match="too much beside"):
        read(*[head(103)] * MAX_HEAD_BYTES)


def test_there_may_be_so_many_headers_and_no_more() -> None:
    fields = [f"X-{number}: x" for number in range(MAX_HEADERS - 1)]
    assert read(head(200, "Content-Length: 0", *fields)).progress is COMPLETE
    with pytest.raises(UpstreamProtocolError, match="too many headers"):
        read(head(200, "Content-Length: 0", *fields, "X: x"))


def test_trailers_may_not_go_on_and_on() -> None:
    start = head(200, "Transfer-Encoding: chunked") + b"2\r\n[]\r\n0\r\n"
    assert read(start + b"X: y\r\n\r\n").progress is COMPLETE
    with pytest.raises(UpstreamProtocolError, match="too much beside"):
        read(start + b"X: ", *[b"y" * 1000] * (MAX_HEAD_BYTES // 1000 + 1))


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_body_may_come_in_the_smallest_chunks(size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    count = 2 * MAX_HEAD_BYTES // size
    reader = read(head(200, "Transfer-Encoding: chunked"), *[chunk] * count, b"0\r\n\r\n", max_bytes=count * size)
    assert reader.reply().body == b"x" * count * size


@pytest.mark.parametrize(
    "data",
    [
        head(200, "Content-Length: 2", "Content-Length: 2"),
        head(200, "Content-Length: 2", "Transfer-Encoding: chunked"),
        head(200, "Content-Length: +2"),
        head(200, "Content-Length: 0x2"),
        head(200, "Content-Length : 2"),
        head(200, "Content-Length: 2", " folded"),
        head(200, "Content-Length: 2", "Null: \0"),
        head(200, "Content-Length: 2").replace(b"\r\n", b"\n"),
        head(101, "Upgrade: h2c", "Connection: upgrade"),
        head(99, "Content-Length: 2"),
        b"HTTP/3.0 200 OK\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"[[1,2]]",
        head(200, "Transfer-Encoding: chunked") + b"-1\r\n",
        head(200, "Transfer-Encoding: chunked") + b"2\r\nabc",
        head(200, "Transfer-Encoding: gzip, chunked"),
        head(200, "Transfer-Encoding: chunked, gzip"),
        head(200, "Content-Length: 2", "Content-Encoding: gzip"),
        head(200),
    ],
)
def test_what_could_be_misread_is_refused(data: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read(data)


def test_a_connection_that_ends_early_breaks_the_reply() -> None:
    whole = framed(BODY)
    for length in range(len(whole)):
        reader = read(whole[:length])
        with pytest.raises(UpstreamBroke):
            reader.end()
        assert reader.progress is not COMPLETE


def test_a_text_may_end_with_its_connection() -> None:
    reader = read(head(503, "Retry-After: 3"), b"busy")
    assert reader.progress is not COMPLETE
    reader.end()
    assert reader.progress is COMPLETE
    assert reader.reply() == Reply(503, {"retry-after": "3"}, b"busy")
    assert not reader.reusable


def test_half_a_text_is_none() -> None:
    reader = read(framed(b"busy", 503)[:-1])
    reader.end()
    assert (reader.reply().status, reader.reply().body) == (503, b"")


def test_a_text_is_cut_where_it_gets_too_long() -> None:
    reader = read(head(500), b"x" * MAX_TEXT_BYTES, b"y")
    assert reader.progress is COMPLETE
    assert not reader.reusable
    assert reader.reply().body == b"x" * MAX_TEXT_BYTES


def test_a_status_counts_though_its_text_cannot_be_read() -> None:
    reader = read(head(429, "Transfer-Encoding: chunked", "Retry-After: 2"))
    with pytest.raises(UpstreamProtocolError):
        reader.feed(b"nonsense")
    reply = reader.partial_reply()
    assert reply is not None
    assert (reply.status, reply.headers["retry-after"], reply.body) == (429, "2", b"")


def test_a_200_counts_only_with_its_body() -> None:
    assert read(framed(BODY)[:-1]).partial_reply() is None
    assert read(b"HTTP/1.1 429 ").partial_reply() is None
    assert read(framed(BODY)[:-1], max_bytes=None).partial_reply() is not None


PLACES = [
    ((), AWAITING, Ending.BROKEN),
    ((b"HTTP/1.1 ",), BEGUN, Ending.BROKEN),
    ((head(103, "Link: </x>"),), BEGUN, Ending.BROKEN),
    ((head(503, "Content-Length: 4")[:-1],), BEGUN, Ending.BROKEN),
    ((head(503, "Content-Length: 4"),), HEAD_READ, Ending.STATUS_IS_ENOUGH),
    ((head(200, "Content-Length: 4"), b"[[1"), HEAD_READ, Ending.BROKEN),
    ((framed(BODY),), COMPLETE, Ending.WHOLE),
]


@pytest.mark.parametrize(("pieces", "progress", "ending"), PLACES)
def test_a_reader_says_how_far_a_reply_is_and_what_it_is_worth(
    pieces: tuple[bytes, ...], progress: Progress, ending: Ending
) -> None:
    reader = read(*pieces)
    assert (reader.progress, reader.ending) == (progress, ending)


def test_the_next_reply_is_awaited_anew() -> None:
    reader = read(framed(BODY))
    reader.expect(1000)
    assert (reader.progress, reader.ending) == (AWAITING, Ending.BROKEN)


@pytest.mark.parametrize(
    "body", [framed(b"no", 429), head(429) + b"x" * 2 * MAX_TEXT_BYTES], ids=["whole", "longer than is read"]
)
def test_a_status_counts_though_its_head_is_too_long(body: bytes) -> None:
    fields = "\r\n".join(f"X-{number}: x" for number in range(MAX_HEADERS + 1)).encode()
    reader = read()
    with pytest.raises(UpstreamProtocolError, match="too many headers"):
        reader.feed(body.replace(b"\r\n", b"\r\n" + fields + b"\r\n", 1))
    reply = reader.partial_reply()
    assert reply is not None
    assert (reply.status, reply.body, reader.reusable) == (429, b"", False)

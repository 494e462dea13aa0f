"""A body that is taken in pieces is the body that was sent, however the bytes came."""

from __future__ import annotations

import pytest

from batching.errors import UpstreamProtocolError
from tests.support.upstream.framing import chunked, framed, head
from upstream.http_reply import COMPLETE, ReplyReader

BODY = b"[0.25,-0.5]"
CHUNKED = head(200, "Transfer-Encoding: chunked") + chunked(BODY[:3], BODY[3:4], BODY[4:], b"")


@pytest.mark.parametrize("answer", [framed(BODY), CHUNKED, head(103) + framed(BODY)])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_pieces_together_are_the_body(answer: bytes, size: int) -> None:
    reader = ReplyReader()
    reader.expect(100)
    pieces = []
    for at in range(0, len(answer), size):
        reader.feed(answer[at : at + size])
        if reader.has_piece:
            pieces.append(reader.take())
            assert not reader.has_piece
    assert (b"".join(pieces), reader.progress, reader.reusable) == (BODY, COMPLETE, True)
    assert reader.reply().body == b""


def test_pieces_count_together_against_the_limit() -> None:
    reader = ReplyReader()
    reader.expect(10)
    reader.feed(CHUNKED[:-25])
    reader.take()
    with pytest.raises(UpstreamProtocolError, match="longer than 10 bytes"):
        reader.feed(CHUNKED[-25:])


def test_the_framing_of_a_long_body_in_pieces_is_bounded_as_that_of_a_whole_one() -> None:
    reader = ReplyReader()
    reader.expect(1 << 40)
    reader.feed(head(200, "Transfer-Encoding: chunked"))
    for _ in range(50_000):  # a chunk of one byte each: six bytes for one
        reader.feed(chunked(b"0"))
        assert reader.take() == b"0"


@pytest.mark.parametrize(("status", "is_streamed"), [(200, True), (422, False), (503, False)])
def test_only_a_200_comes_in_pieces(status: int, is_streamed: bool) -> None:
    reader = ReplyReader()
    reader.expect(100)
    assert reader.head() is None
    reader.feed(framed(BODY, status, "X-Time: 1"))
    assert (reader.has_piece, reader.head() is not None) == (is_streamed, is_streamed)
    if (begun := reader.head()) is not None:
        assert (begun.headers["x-time"], begun.body) == ("1", b"")

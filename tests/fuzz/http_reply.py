"""The upstream's HTTP: cut anywhere, a reply reads as it does in one piece, or is refused, and never gets too long."""

from __future__ import annotations

from batching.errors import UpstreamError
from upstream.http_reply import COMPLETE, MAX_TEXT_BYTES, Reply, ReplyReader

SEEDS = [
    b"\x10\1HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[[1]]",
    b"\x30\1HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[[1\r\n2;x=y\r\n]]\r\n0\r\nX: y\r\n\r\n",
    b"\x05\1HTTP/1.1 103 Hint\r\nLink: </x>\r\n\r\nHTTP/1.1 429 No\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno",
    b"\x20\0HTTP/1.0 503 No\r\nConnection: keep-alive\r\n\r\nsome text",
    b"\x20\0HTTP/1.1 204 None\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"\x20\1HTTP/1.1 101 Switch\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nabc",
    b"\x20\1HTTP/1.1 200 OK\r\nContent-Length: 9999\r\nContent-Encoding: gzip\r\n\r\n[[1]]",
    b"\x02\1\x15\x03\x01\x00\x02\x02\x46",
    b"\x40\0HTTP/1.1 503 No\r\nContent-Encoding: br\r\nKeep-Alive: timeout=5, max=9\r\nContent-Length: 2\r\n\r\nno",
]
TOKENS = [
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"200 ", b"100 ", b"101 ", b"429 ", b"204 ", b"304 ", b"\r\n", b"\r\n\r\n", b": "),
    *(b"Content-Length", b"Transfer-Encoding", b"chunked", b"gzip", b"Connection", b"close", b"keep-alive", b"Upgrade"),
    *(b"Content-Encoding", b"identity", b"0\r\n\r\n", b"ffffffffffffffff", b"-1", b"+1", b"99999999999999999999"),
]
_LIMIT = 50


def check(data: bytes) -> None:
    """The first byte says where the bytes are cut, the second whether a body of vectors is hoped for."""
    if len(data) < 3:
        return
    cut, max_bytes, said = data[0], (_LIMIT if data[1] % 2 else None), data[2:]
    whole, pieces = _read([said], max_bytes), _read([said[:cut], said[cut:]], max_bytes)
    assert whole == pieces
    reply = whole[0]
    if reply is None:
        return
    assert 200 <= reply.status <= 999
    assert len(reply.body) <= (_LIMIT if reply.status == 200 and max_bytes else MAX_TEXT_BYTES)
    if whole[1] and "content-length" in reply.headers and reply.status not in (204, 304):
        assert int(reply.headers["content-length"]) == len(reply.body)


def _read(pieces: list[bytes], max_bytes: int | None) -> tuple[Reply | None, bool]:
    """Return the reply, if one can be had of these bytes and nothing more, and whether more could follow it."""
    reader = ReplyReader()
    reader.expect(max_bytes)
    try:
        for piece in pieces:
            if piece:
                reader.feed(piece)
        if reader.progress is not COMPLETE:
            reader.end()
    except UpstreamError as problem:
        problem.message.encode()
        return reader.partial_reply(), False
    return reader.reply(), reader.reusable

"""HTTP/1.1 as the benchmarks speak it: requests built once, heads read by regular expressions.

For loopback only, without chunked requests and without pipelining. A framework would cost more processor time
per request than the service being measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_BATCH_SIZE = re.compile(rb"\r\nx-batch-size:[ \t]*(\d+)", re.IGNORECASE)

#: One read buffer for every connection of a process: an asyncio transport fills it and hands it
#: over within one callback, so no two connections ever hold it. 256 KiB takes a full reply in one read.
READ_BUFFER = memoryview(bytearray(256 * 1024))


class WireError(Exception):
    """The other side sent something other than the HTTP that the benchmarks use."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and the path to ask for."""

    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a server needs of a request; `size` counts head and body, in bytes."""

    method: bytes
    path: bytes
    body_at: int
    size: int
    expects_continue: bool


@dataclass(frozen=True, slots=True)
class ReplyHead:
    """What the load generator needs of a reply.

    `size` counts head and body in bytes, or is None for a chunked body, which ends by its last chunk.
    `batch_size` is 0 where the service does not say.
    """

    status: int
    body_at: int
    size: int | None
    batch_size: int
    closes: bool


def endpoint(url: str, path: str | None = None) -> Endpoint:
    """Split `url`; `path` replaces the URL's own. Raises WireError unless it is plain http."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise WireError(f"{url!r}: only http://host:port is supported")
    return Endpoint(parts.hostname, parts.port or 80, path or parts.path or "/")


def build_request(target: Endpoint, body: bytes | None = None) -> bytes:
    """Head and body in one piece, to be sent over and over: POST with a body, else GET."""
    method = "GET" if body is None else "POST"
    head = f"{method} {target.path} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


def build_reply(status: int, reason: str, body: bytes, headers: bytes = b"") -> bytes:
    """A JSON reply in one piece. `headers`: further lines, each with its end."""
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return b"%b%b\r\n%b" % (head.encode(), headers, body)


def read_request_head(data: bytes | bytearray) -> RequestHead | None:
    """The head at the start of `data`, or None while it is incomplete. Raises WireError on nonsense."""
    end = data.find(_HEAD_END)
    if end < 0:
        return None
    line = bytes(data[: data.find(b"\r\n")]).split(b" ")
    if len(line) != 3 or _CHUNKED.search(data, 0, end):
        raise WireError("not a plain HTTP/1.1 request with a Content-Length")
    length = _CONTENT_LENGTH.search(data, 0, end)
    body_at = end + 4
    size = body_at + (int(length[1]) if length else 0)
    # Only a client whose body is not complete here can be waiting for 100 Continue.
    waits = len(data) < size and b"100-continue" in data[:end].lower()
    return RequestHead(line[0], line[1].partition(b"?")[0], body_at, size, waits)


def read_reply_head(data: bytes | bytearray | memoryview, length: int) -> ReplyHead | None:
    """The reply head in the first `length` bytes, or None while incomplete. Raises WireError on nonsense."""
    head = bytes(data[: min(length, 4096)])
    end = head.find(_HEAD_END)
    if end < 0:
        if length >= 4096:
            raise WireError("reply head of more than 4096 bytes")
        return None
    if not head.startswith(b"HTTP/1.1 "):
        raise WireError("not an HTTP/1.1 reply")
    found = _CONTENT_LENGTH.search(head, 0, end)
    if found is None and not _CHUNKED.search(head, 0, end):
        raise WireError("a reply with neither Content-Length nor chunks")
    batch = _BATCH_SIZE.search(head, 0, end)
    return ReplyHead(
        status=int(head[9:12]),
        body_at=end + 4,
        size=end + 4 + int(found[1]) if found else None,
        batch_size=int(batch[1]) if batch else 0,
        closes=_CLOSE.search(head, 0, end) is not None,
    )

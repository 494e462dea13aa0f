"""Reads the HTTP/1.1 replies of one connection from its bytes; knows of no socket and no clock."""

from __future__ import annotations

import re
from enum import Enum, IntEnum
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from batching.clock import NEVER
from batching.errors import UpstreamBroke, UpstreamMisconfigured, UpstreamProtocolError
from upstream.wrong_scheme import EXPECTS_TLS, is_tls_alert

#: What an error says of a reply that ended too early.
BROKE_OFF = "the upstream broke the connection before its answer was complete"
#: Seconds for which a reply is under way, at most, while the upstream counts the connection as idle already.
TRANSIT = 1.0
#: Bytes of status lines and headers, those of interim (1xx) replies included.
MAX_HEAD_BYTES = 65_536
#: Headers of one reply.
MAX_HEADERS = 100
#: Bytes of framing and trailers for each byte of a body: a chunk of one byte comes in six.
MOST_FRAMING = 8
#: Bytes of a body that carries no vectors: an error text, ``/info``.
MAX_TEXT_BYTES = 65_536

_KEEP_ALIVE = re.compile(r"(timeout|max) *= *\"?(\d{1,9})", re.ASCII | re.IGNORECASE)


class Reply(NamedTuple):
    """A reply whose body is no longer than was allowed. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Progress(IntEnum):
    """How far a reply has been read."""

    #: No byte of it has come.
    AWAITING = 0
    #: Bytes have come, interim (1xx) replies perhaps, but not the whole head of the reply.
    BEGUN = 1
    #: Status and headers are here.
    HEAD_READ = 2
    #: The reply is whole, or as much of it as is wanted.
    COMPLETE = 3


# A member is looked up in 80 ns through its class (Python 3.11), and in 10 by a name of the module.
AWAITING, BEGUN, HEAD_READ, COMPLETE = Progress


class Ending(Enum):
    """What a reply is worth if its connection carries no more of it."""

    WHOLE = "whole"
    #: The head is here, and the status says enough to act on without the body.
    STATUS_IS_ENOUGH = "status is enough"
    BROKEN = "broken"


class ReplyReader:
    """Takes the bytes of a connection, reply after reply: ``expect`` one, then ``feed`` until it is ``COMPLETE``.

    The parser is llhttp, strict: a reply with two lengths, a length beside chunks or a bare line feed is refused.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.expect(None)

    def expect(self, max_bytes: int | None) -> None:
        """Begin with the next reply. With ``max_bytes``, the body of a 200 has to be whole, and no longer than that.

        The status of any other reply is enough: its body is read as far as it can be, and is empty otherwise.
        """
        self._max_bytes = max_bytes
        self._limit = MAX_TEXT_BYTES
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._size = self._fed = self._count = 0
        self._problem = ""
        self._status = 0
        self.progress = AWAITING
        #: Whether the connection may carry another request.
        self.reusable = False

    def feed(self, data: bytes | memoryview) -> None:
        """Take what the connection sent; raises ``UpstreamProtocolError`` for what is not a proper reply."""
        if self.progress is AWAITING:
            self.progress = BEGUN
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as problem:
            self.reusable = False
            if self.progress is not COMPLETE:
                if self._fed == 0 and is_tls_alert(data):
                    raise UpstreamMisconfigured(EXPECTS_TLS, reason="a TLS alert") from problem
                words = "the upstream's answer is not proper HTTP"
                raise UpstreamProtocolError(words, reason=str(problem)) from problem
        if self._problem:
            raise UpstreamProtocolError(self._problem)
        self._fed += len(data)
        if self.progress is not COMPLETE and self._fed >= MAX_HEAD_BYTES + self._size * (1 + MOST_FRAMING):
            raise UpstreamProtocolError("the upstream's answer has too much beside its body")

    def end(self) -> None:
        """Take the end of the connection; raises ``UpstreamBroke`` if the reply is ``BROKEN`` by it."""
        ending = self.ending
        if ending is Ending.BROKEN:
            raise UpstreamBroke(BROKE_OFF)
        if ending is Ending.STATUS_IS_ENOUGH and not self._headers.keys().isdisjoint(
            ("content-length", "transfer-encoding")
        ):
            self._body.clear()  # more of it was announced
        self.progress = COMPLETE

    def close(self) -> None:
        """Drop the parser. It refers to this reader in turn: with it, only the garbage collector would free the two."""
        del self._parser

    def reply(self) -> Reply:
        """Return the complete reply."""
        return Reply(self._status, self._headers, bytes(self._body))

    @property
    def has_piece(self) -> bool:
        """Whether ``take`` has something to bring of the body of a 200."""
        return self._status == 200 and bool(self._body)

    def head(self) -> Reply | None:
        """Return status and headers of a 200 whose head has been read, without its body; None for another reply."""
        return Reply(200, self._headers, b"") if self._status == 200 else None

    def take(self) -> bytes:
        """Return the bytes of the body that have come since the last time, and forget them: a body in pieces."""
        piece = bytes(self._body)
        self._body.clear()
        return piece

    @property
    def keep_alive(self) -> str | None:
        """What the reply announces of the connection, apart from whether it is closed."""
        return self._headers.get("keep-alive")

    def partial_reply(self) -> Reply | None:
        """Return a reply that broke off after its head, without its body; None unless its status is enough."""
        if self.ending is not Ending.STATUS_IS_ENOUGH:
            return None
        return Reply(self._status, self._headers, b"")

    @property
    def ending(self) -> Ending:
        """What the reply is worth if the connection ended now."""
        if self.progress is COMPLETE:
            return Ending.WHOLE
        if self.progress is HEAD_READ and not self._needs_body:
            return Ending.STATUS_IS_ENOUGH
        return Ending.BROKEN

    @property
    def _needs_body(self) -> bool:
        return self._status == 200 and self._max_bytes is not None

    # ---- what the parser calls ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        # A second message answers no request of ours: the connection is not used again.
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.progress >= HEAD_READ:  # a trailer, or the head of a second message
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._count += 1
        if self._count > MAX_HEADERS:
            self._problem = "the upstream's answer has too many headers"
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        if self.progress >= HEAD_READ:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = {}
            return
        self._status = status
        self.progress = HEAD_READ
        if self._needs_body:
            self._limit = self._max_bytes or 0
            self._problem = self._problem or self._distrust()
        elif self._is_compressed:
            self._limit = 0  # its text is of no use

    def on_body(self, data: bytes) -> None:
        if self.progress is COMPLETE or self._problem:
            return
        self._size += len(data)
        if self._size <= self._limit:
            self._body += data
        elif self._needs_body:
            self._problem = f"the upstream's answer is longer than {self._limit} bytes"
        else:
            self._body += data[: self._limit - self._size]
            self.progress = COMPLETE

    def on_message_complete(self) -> None:
        # An interim (1xx) message leaves the reply at BEGUN; a reply with a problem is refused by `feed`.
        if self.progress is HEAD_READ and not self._problem:
            self.progress = COMPLETE
            self.reusable = self._parser.should_keep_alive()

    @property
    def _is_compressed(self) -> bool:
        return self._headers.get("content-encoding", "").strip().lower() not in {"", "identity"}

    def _distrust(self) -> str:
        """Return why half an answer might look like a whole one, or what else is wrong with the headers."""
        length = self._headers.get("content-length")
        if self._is_compressed:
            return "the upstream compressed its answer, though it was asked not to"
        if length is None and self._headers.get("transfer-encoding", "").strip().lower() != "chunked":
            return "the upstream's answer has neither a length nor chunks, so half of it might look whole"
        if length is not None and int(length) > self._limit:
            return f"the upstream's answer of {length} bytes is too long"
        return ""


def keep_alive(announced: str) -> tuple[float, float]:
    """Read a ``Keep-Alive`` header: return the seconds that the connection may be idle, and how many requests may come.

    The seconds are somewhat less than announced: the upstream counts from the moment when it has sent its reply.
    """
    said = {name.lower(): float(value) for name, value in _KEEP_ALIVE.findall(announced)}
    timeout = said.get("timeout", NEVER)
    return max(timeout - TRANSIT, timeout / 2) if timeout != NEVER else NEVER, said.get("max", NEVER)

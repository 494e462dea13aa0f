"""Reads the HTTP/1.1 replies of one connection from its bytes; knows of no socket and no clock."""

from __future__ import annotations

from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from batching.errors import UpstreamBroke, UpstreamProtocolError

BROKEN = "the upstream broke the connection before its answer was complete"
#: Bytes of status lines and headers, those of interim (1xx) replies included.
MAX_HEAD_BYTES = 65_536
#: Headers of one reply.
MAX_HEADERS = 100
#: Bytes of framing and trailers for each byte of a body: a chunk of one byte comes in six.
MOST_FRAMING = 8
#: Bytes of a body that is not the one hoped for: an error text, ``/info``.
MAX_TEXT_BYTES = 65_536


class Reply(NamedTuple):
    """A reply whose body is no longer than was allowed. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class ReplyReader:
    """Takes the bytes of a connection, reply after reply: ``expect`` one, then ``feed`` until it is ``complete``.

    The parser is llhttp, strict: whoever sends two lengths, a length beside chunks or a bare line feed is not believed.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.expect(None)

    def expect(self, max_bytes: int | None) -> None:
        """Begin with the next reply. With ``max_bytes``, the body of a 200 has to be whole, and no longer than that.

        Any other reply says enough by its status: its body is read as far as it can be, and is empty otherwise.
        """
        self._max_bytes = max_bytes
        self._limit = MAX_TEXT_BYTES
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._size = self._fed = self._count = 0
        self._problem = ""
        self._status = 0
        #: Whether the reply is whole, or as much of it as is wanted.
        self.complete = False
        #: Whether the connection may carry another request.
        self.reusable = False

    def feed(self, data: bytes | memoryview) -> None:
        """Take what the connection sent; raises ``UpstreamProtocolError`` for what is not a proper reply."""
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as problem:
            self.reusable = False
            if not self.complete:
                raise UpstreamProtocolError("the upstream's answer is not proper HTTP") from problem
        if self._problem:
            raise UpstreamProtocolError(self._problem)
        self._fed += len(data)
        if not self.complete and self._fed >= MAX_HEAD_BYTES + self._size * (1 + MOST_FRAMING):
            raise UpstreamProtocolError("the upstream's answer has too much beside its body")

    def end(self) -> None:
        """Take the end of the connection; raises ``UpstreamBroke`` if that makes the reply less than it has to be."""
        if not self._status or self._is_exacting:
            raise UpstreamBroke(BROKEN)
        self.complete = True
        if "content-length" in self._headers or "transfer-encoding" in self._headers:
            self._body.clear()

    def close(self) -> None:
        """Let go of the parser, which holds on to this in turn: broken connections are not left to the collector."""
        del self._parser

    def reply(self) -> Reply:
        """Return the complete reply."""
        return Reply(self._status, self._headers, bytes(self._body))

    def reply_in_spite(self) -> Reply | None:
        """Return what a reply that cannot be read to its end says by its status alone; None if that is not enough."""
        if not self._status or self._is_exacting:
            return None
        return Reply(self._status, self._headers, b"")

    @property
    def has_begun(self) -> bool:
        """Whether the head of the reply is here; an interim one (1xx) does not count."""
        return self._status != 0

    @property
    def _is_exacting(self) -> bool:
        return self._status == 200 and self._max_bytes is not None

    # ---- what the parser calls ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        # Nobody has asked for a second one: whatever follows on this connection answers no request of ours.
        self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:  # a trailer, or no longer this reply
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._count += 1
        if self._count > MAX_HEADERS:
            self._problem = "the upstream's answer has too many headers"
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        if self._status:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = {}
            return
        self._status = status
        if self._is_exacting:
            self._limit = self._max_bytes or 0
            self._problem = self._problem or self._distrust()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            return
        self._size += len(data)
        if self._size <= self._limit:
            self._body += data
        elif self._is_exacting:
            self._problem = f"the upstream's answer is longer than {self._limit} bytes"
        else:
            self._body += data[: self._limit - self._size]
            self.complete = True

    def on_message_complete(self) -> None:
        if self._status and not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _distrust(self) -> str:
        """Return why half an answer might look like a whole one, or what else is wrong with the headers."""
        length = self._headers.get("content-length")
        if self._headers.get("content-encoding", "identity") != "identity":
            return "the upstream compressed its answer, though it was asked not to"
        if length is None and self._headers.get("transfer-encoding", "").strip().lower() != "chunked":
            return "the upstream's answer has neither a length nor chunks"
        if length is not None and int(length) > self._limit:
            return f"the upstream's answer of {length} bytes is too long"
        return ""

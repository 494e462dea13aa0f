"""Reads bodies in chunks in time that is linear in their bytes, however small the chunks are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gunicorn.http.body import CHUNK_EXT_RE, ChunkedReader
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, NoMoreData
from httptools import HttpRequestParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gunicorn.http.unreader import Unreader

#: Whole chunks of 1 to 15 bytes, as many as there are, each with a bare number for its size. There is no second way to
#: read those.
_SMALL = re.compile(
    b"(?:0{0,9}(?:%s))++" % b"|".join(b"%x\r\n.{%d}\r\n" % (size, size) for size in range(1, 16)), re.DOTALL
)

#: The head that lets llhttp read chunks.
_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

#: The line before a chunk, but for the last, as gunicorn takes it.
_LINE = re.compile(b"0*([1-9a-fA-F][0-9a-fA-F]*)" + CHUNK_EXT_RE.pattern)

#: The most lines before chunks whose sizes are remembered.
MOST_LINES = 64


class ChunkReader(ChunkedReader):  # type: ignore[misc]
    """gunicorn's reader, which copies all that has come for each chunk, for what two faster ways leave to it.

    llhttp takes small chunks off, once a regular expression has looked at them; `take_chunks` the others that have come
    whole, by gunicorn's own grammar. Nothing is taken for a chunk that gunicorn would not take for it.
    """

    def __init__(self, req: Any, unreader: Unreader) -> None:
        self.sizes: dict[bytes, int] = {}
        super().__init__(req, unreader)

    def parse_chunked(self, unreader: Unreader) -> Iterator[bytes]:
        """Yield the body piece by piece; leave what follows it to ``unreader``."""
        rest = b""
        small = _SmallChunks()
        while True:
            at = 0
            while taken := small.take(rest, at) or take_chunks(rest, at, self._size_of):
                data, at = taken
                yield data
            size, rest = self.parse_chunk_size(unreader, data=self._with_line(unreader, rest[at:]))
            if size == 0:
                return
            while size > len(rest):
                size -= len(rest)
                yield rest
                rest = unreader.read(None, read_ahead=size)
                if not rest:
                    raise NoMoreData
            yield rest[:size]
            rest = rest[size:]
            while len(rest) < len(b"\r\n") and (more := unreader.read()):
                rest += more
            if rest[:2] != b"\r\n":
                raise ChunkMissingTerminator(rest[:2])
            rest = rest[2:]

    def _with_line(self, unreader: Unreader, rest: bytes) -> bytes:
        """Return these bytes with as many more as it takes to have a line, which may be no longer than a header.

        gunicorn sees the length of a line only if the line does not end within what one read takes.
        """
        while rest.find(b"\r\n", 0, self.limit_chunk_size_line + 2) < 0:
            if len(rest) >= self.limit_chunk_size_line + 2:
                raise InvalidChunkSize(b"line over %d bytes" % self.limit_chunk_size_line)
            more = unreader.read()
            if not more:
                raise NoMoreData
            rest += more
        return rest

    def _size_of(self, line: bytes) -> int:
        """Return the size that the line before a chunk tells; 0 for what gunicorn is to look at together with the rest:
        the last chunk, whose trailers follow, and what is malformed.
        """
        size = self.sizes.get(line)
        if size is None:
            understood = _LINE.fullmatch(line) if len(line) <= self.limit_chunk_size_line else None
            size = int(understood[1], 16) if understood else 0
            if len(self.sizes) >= MOST_LINES:
                self.sizes.clear()
            self.sizes[line] = size
        return size


class _SmallChunks:
    """Takes small chunks off by llhttp."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append
        self._parser: HttpRequestParser | None = None

    def take(self, data: bytes, at: int) -> tuple[bytes, int] | None:
        """Return the bytes of the small chunks that ``data`` has from ``at`` on, and where they end; None for none."""
        run = _SMALL.match(data, at)
        if run is None:
            return None
        if self._parser is None:
            self._parser = HttpRequestParser(self)
            self._parser.feed_data(_HEAD)
        self._parser.feed_data(run[0])
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken, run.end()


def take_chunks(data: bytes, at: int, size_of: Callable[[bytes], int]) -> tuple[bytes, int] | None:
    """Return the bytes of the whole chunks that ``data`` has from ``at`` on, and where they end; None for none.

    ``size_of`` tells the size in the line before a chunk; 0 ends the chunks that are taken here.
    """
    pieces = []
    while (end := data.find(b"\r\n", at)) >= 0 and (size := size_of(data[at:end])):
        start = end + 2
        end = start + size
        if data[end : end + 2] != b"\r\n":
            break
        pieces.append(data[start:end])
        at = end + 2
    return (b"".join(pieces), at) if pieces else None

"""Bodies in chunks mean what gunicorn's own reader makes of them, and cost time that is linear in their bytes."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.errors import InvalidChunkSize, NoMoreData, ParseException
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from serving.chunks import MOST_LINES, ChunkReader, take_chunks

HEAD = b"POST /embed HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 8190
MESSAGE = b"line over 8190 bytes"


def seen_by(reader: type[ChunkedReader], pieces: list[bytes], sizes: list[int]) -> list[Any]:
    """Read so many bytes at a time; return each answer, or the error, and what is left for the next request."""
    unreader = IterUnreader(pieces)
    request = next(RequestParser(Config(), [HEAD], ("10.0.0.1", 1)))
    body = Body(reader(request, unreader))
    seen: list[Any] = []
    try:
        seen.extend(body.read(size) for size in [*sizes, 100_000, 10])
    except (ParseException, NoMoreData) as problem:
        seen.append((type(problem), str(problem)))
        return seen
    return [*seen, request.trailers, unreader.buf.getvalue() + b"".join(unreader.iter or ())]


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


LINES = b"0 1 2 a F 01 10 13 00 ffffffffffffffffffff x -1 +1 1_0 ; ;a ;a=b ;=".split()
BLANKS = [b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b" ", b"\t", b'; a = "b;\\"c"']
WHOLE = [
    *(b"1\r\na\r\n", b"2\r\nab\r\n", b"3\r\n1\r\n\r\n", b"01\r\na\r\n", b"1;x\r\na\r\n"),
    *(b"f\r\n123456789012345\r\n", b"10\r\n1234567890123456\r\n"),
    *(b"0\r\n\r\n", b"0\r\nX: 1\r\n\r\n", b"0\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n"),
]
TOKENS = st.sampled_from(LINES + BLANKS + WHOLE)


@given(st.lists(TOKENS, max_size=12).map(b"".join), st.integers(1, 40), st.lists(st.integers(1, 2000), max_size=3))
def test_chunks_mean_what_gunicorn_makes_of_them(data: bytes, size: int, sizes: list[int]) -> None:
    pieces = in_pieces(data, size)
    assert seen_by(ChunkReader, list(pieces), sizes) == seen_by(ChunkedReader, list(pieces), sizes)


@pytest.mark.parametrize("line", [b"1", b"01", b"1;a=b", b'1 ; a = "b"'])
@pytest.mark.parametrize("size", [1, 2, 7, 100, 100_000])
def test_small_chunks_arrive_whole_however_they_are_cut(line: bytes, size: int) -> None:
    data = b"".join(line + b"\r\n%c\r\n" % (65 + number % 26) for number in range(300))
    seen = seen_by(ChunkReader, in_pieces(data + b"0\r\n\r\nGET /", size), [])
    assert seen[0] == bytes(65 + number % 26 for number in range(300))
    assert seen[-1] == b"GET /"


@pytest.mark.parametrize(
    "chunk",
    [
        lambda _: b"1\r\na\r\n",
        lambda _: b"01\r\na\r\n",
        lambda _: b"1;a\r\na\r\n",
        lambda number: b"1;%x\r\na\r\n" % number,
        lambda _: b"1\r\na\r\n01\r\na\r\n",
    ],
    ids=["alike", "with a zero", "with an extension", "each with another extension", "by turns"],
)
def test_two_hundred_thousand_chunks_take_a_moment(chunk: Any) -> None:
    data = b"".join(chunk(number) for number in range(200_000)) + b"0\r\n\r\n"
    request = SimpleNamespace(limit_request_field_size=LIMIT, max_buffer_headers=LIMIT)
    body = Body(ChunkReader(request, IterUnreader(in_pieces(data, 8192))))
    began = time.thread_time()
    assert len(body.read(1_000_000)) >= 200_000
    assert time.thread_time() - began < 1.0


@pytest.mark.parametrize("size", [1000, 8192, 100_000])
@pytest.mark.parametrize(
    ("line", "is_taken"), [(b"1;" + b"a" * (LIMIT - 2), True), (b"1;" + b"a" * (LIMIT - 1), False)]
)
@pytest.mark.parametrize("before", [b"", b"1\r\nx\r\n", b"1;a\r\nx\r\n"])
def test_a_line_is_no_longer_than_a_header_however_it_is_cut(
    line: bytes, is_taken: bool, before: bytes, size: int
) -> None:
    seen = seen_by(ChunkReader, in_pieces(before + line + b"\r\na\r\n0\r\n\r\n", size), [])
    assert seen[0] == (b"x" * bool(before) + b"a" if is_taken else (InvalidChunkSize, str(InvalidChunkSize(MESSAGE))))


def test_only_chunks_that_are_whole_are_taken() -> None:
    def size_of(line: bytes) -> int:
        return int(line, 16)

    assert take_chunks(b"2\r\nab\r\n3\r\nabc\r\n4\r\nab", 0, size_of) == (b"ababc", 15)
    assert take_chunks(b"..2\r\nab\r\n0\r\n\r\n", 2, size_of) == (b"ab", 9)
    for nothing in (b"", b"2", b"2\r\nab", b"2\r\nab\r", b"2\r\nabc\r\n", b"0\r\n\r\n"):
        assert take_chunks(nothing, 0, size_of) is None


def test_lines_that_never_come_again_are_not_kept_without_end() -> None:
    data = b"".join(b"1;%x\r\na\r\n" % number for number in range(10 * MOST_LINES)) + b"0\r\n\r\n"
    request = SimpleNamespace(limit_request_field_size=LIMIT, max_buffer_headers=LIMIT)
    reader = ChunkReader(request, IterUnreader([data]))
    assert len(reader.read(10_000)) == 10 * MOST_LINES
    assert len(reader.sizes) <= MOST_LINES

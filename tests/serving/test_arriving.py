"""What the first bytes of a request tell."""

from __future__ import annotations

import pytest

from serving.arriving import is_unfinished, is_whole, missing
from tests.support.service import chunked, embed_request

LINE = b"POST /embed HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "head", [b"P", b"POST /embed", LINE, LINE + b"Host: a\r\nX: ", LINE + b"Host: a\r\n", b"\r\nPOST"]
)
def test_a_head_that_may_still_be_well_formed_is_waited_for(head: bytes) -> None:
    assert is_unfinished(head, 100, 1000)


@pytest.mark.parametrize(
    "head",
    [
        LINE + b"Host: a\r\n\r\n",
        b"\r\n\r\n",
        b"nonsense\r\n",
        b"POST /embed HTTP/2.0\r\n",
        b"POST  /embed HTTP/1.1\r\n",
        b"POST /embed HTTP/1.1\n",
        LINE + b"Host: a\n",
        b"G" * 101,
        b"GET /" + b"x" * 90 + b" HTTP/1.1\r\n",
        LINE + b"X: " + b"x" * 1000,
    ],
)
def test_what_is_whole_or_refused_already_is_not(head: bytes) -> None:
    assert not is_unfinished(head, 100, 1000)


@pytest.mark.parametrize(
    ("request_bytes", "whole"),
    [
        (embed_request("a"), True),
        (embed_request("a")[:-1], False),
        (embed_request("a") + b"P", False),
        (chunked(b"{}"), False),
        (b"POST / HTTP/1.1\r\nContent-Length: 2", False),
        (b"POST / HTTP/1.1\r\ncontent-length:0\r\n\r\n", True),
    ],
)
def test_a_whole_request_is_known_by_its_length(request_bytes: bytes, whole: bool) -> None:
    assert is_whole(request_bytes) == whole


def test_how_much_of_a_body_is_missing_is_known_by_its_length() -> None:
    request = embed_request("a")
    assert missing(request[:-3]) == 3
    assert missing(request[: request.index(b"{")]) == len(b'{"inputs": "a"}')


@pytest.mark.parametrize(
    "request_bytes",
    [
        embed_request("a"),
        embed_request("a") + b"P",
        embed_request("a")[:40],
        embed_request("a", "Expect: 100-continue\r\n")[:-3],
        chunked(b"{}")[:-3],
        b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_nothing_is_missing_where_all_is_here_or_the_head_does_not_tell(request_bytes: bytes) -> None:
    assert missing(request_bytes) == 0

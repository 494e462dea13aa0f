"""What the first bytes of a request tell: whether more must come before a thread is of use."""

from __future__ import annotations

import re

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)
#: Headers with which a client waits before it sends its body, or does not tell how long that is.
_UNTOLD = re.compile(rb"\r\n(?:expect|transfer-encoding):", re.IGNORECASE)
_REQUEST_LINE = re.compile(rb"[A-Z]{1,20} [!-~]+ HTTP/1\.\d")


def is_unfinished(request: bytes, longest_line: int, most: int) -> bool:
    """Return whether these bytes are the beginning of a head that may be well-formed, and no more.

    Whatever gunicorn refuses before the head is whole is not waited for: a request line that is malformed or longer
    than ``longest_line``, and a line that ends without a carriage return. Neither is a head longer than ``most``.
    """
    if b"\r\n\r\n" in request or len(request) >= most:
        return False
    line, ended, _ = request.removeprefix(b"\r\n").partition(b"\r\n")
    if not ended:
        return b"\n" not in line and len(line) <= longest_line
    if len(line) > longest_line or not _REQUEST_LINE.fullmatch(line):
        return False
    return request.count(b"\n") == request.count(b"\r\n")


def missing(request: bytes) -> int:
    """Return how many bytes of the body of a POST request are still to come, as far as its head tells that."""
    if not request.startswith(b"POST "):
        return 0
    head, found, body = request.partition(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head + b"\r\n") if found else None
    if length is None or int(length[1]) <= len(body) or _UNTOLD.search(head):
        return 0
    return int(length[1]) - len(body)


def is_whole(request: bytes) -> bool:
    """Return whether these bytes are all that the client has to send, so that closing now resets nothing."""
    head, found, body = request.partition(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head + b"\r\n")
    return bool(found) and length is not None and len(body) == int(length[1])

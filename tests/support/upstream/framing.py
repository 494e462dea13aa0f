"""The bytes of HTTP replies: heads, bodies with a length, chunks. Nothing is checked: tests frame wrongly too."""

from __future__ import annotations


def head(status: int = 200, *headers: str) -> bytes:
    """Return a status line and these headers, each ``Name: value``, up to the blank line."""
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode("latin-1")


def framed(body: bytes, status: int = 200, *headers: str) -> bytes:
    """Return a whole reply with a length; it is of JSON unless a header says another type."""
    says_type = any(each.lower().startswith("content-type:") for each in headers)
    kind = [] if says_type else ["Content-Type: application/json"]
    return head(status, *kind, f"Content-Length: {len(body)}", *headers) + body


def chunked(*chunks: bytes) -> bytes:
    """Return a body in these chunks; an empty chunk ends it."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)

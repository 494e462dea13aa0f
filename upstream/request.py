"""One HTTP request to an upstream, before the endpoint adds its own head."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """A path below the endpoint's base address, and the JSON body; without one the request is a GET."""

    path: str
    body: bytes | None = None
    #: Headers of this request alone, each a line that ends with CRLF.
    headers: bytes = b""

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"

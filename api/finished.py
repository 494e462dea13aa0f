"""A finished 200 response, whose body and headers go out as they are given."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask import Response
from werkzeug.datastructures import Headers

from api.own_headers import OwnHeaders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class FinishedResponse(Response):
    """A finished 200 answer: its body and headers go out as they are given, without being parsed and rebuilt."""

    def __init__(self, body: bytes, header_pairs: list[tuple[str, str]]) -> None:
        # Not super().__init__(): what it prepares is what this class is there to avoid.
        self._status, self._status_code = "200 OK", 200
        self.response = self._body = [body]
        self._pairs = OwnHeaders(header_pairs, len(body))

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add headers that this service made itself."""
        self._pairs[-1:-1] = pairs  # Content-Length stays at the end

    @cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        """The headers as an object, for a hook that changes them."""
        return Headers(self._pairs)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:  # noqa: ARG002
        changed: Headers | None = self.__dict__.get("headers")
        start_response(self._status, self._pairs if changed is None else changed.to_wsgi_list())
        return self._body

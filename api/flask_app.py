"""Flask, without the work that this service's requests never need. Each change is one of Flask's own hooks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from flask import Flask, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.datastructures import Headers
from werkzeug.routing import MapAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Request
    from flask.sessions import SessionMixin


class _NoSessions(SessionInterface):
    """One null session for everybody: there are no cookies here."""

    _nothing = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        return self._nothing

    def is_null_session(self, obj: object) -> bool:  # noqa: ARG002
        return True

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """There is nothing to save."""


class App(Flask):
    """A Flask app whose views are plain functions, whose routes look at no host name and which has no sessions.

    Together with ``Answer`` this halves the CPU time of a request inside Flask (``benchmarks/README.md``).
    """

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the view as it is: none is a coroutine, and looking costs something each time."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match path and method only; Flask would work out and check the server's name first."""
        if request is None:
            return None
        environ = request.environ
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        if path.startswith("//"):  # of which Werkzeug would make one, and serve what a rule in front may forbid
            path = f"/.{path}"
        return MapAdapter(self.url_map, "", "/", None, "http", path, environ["REQUEST_METHOD"])


class Answer(Response):
    """A finished 200 answer: its body and headers go out as they are given, without being parsed and rebuilt."""

    def __init__(self, body: bytes, header_pairs: list[tuple[str, str]]) -> None:
        # Not super().__init__(): what it prepares is what this class is there to avoid.
        self._status, self._status_code = "200 OK", 200
        self.response = self._body = [body]
        self._pairs = [*header_pairs, ("Content-Length", str(len(body)))]

    @cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        """The headers as an object, for whoever wants to change them."""
        return Headers(self._pairs)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:  # noqa: ARG002
        changed: Headers | None = self.__dict__.get("headers")
        start_response(self._status, self._pairs if changed is None else changed.to_wsgi_list())
        return self._body

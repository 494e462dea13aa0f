"""Flask, without the work that this service's requests never need. Each change is one of Flask's own hooks."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, request, request_finished, request_tearing_down
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from api.finished import FinishedResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.sessions import SessionMixin
    from werkzeug.routing import Rule


#: Returns the request that this thread serves: one call, where each attribute of Flask's ``request`` takes three.
current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]  # noqa: SLF001


class _NoSessions(SessionInterface):
    """One null session for all requests: there are no cookies here."""

    _nothing = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        return self._nothing

    def is_null_session(self, obj: object) -> bool:  # noqa: ARG002
        return True

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """There is nothing to save."""


class _Request(Request):
    """Initialises Werkzeug's request on first use of anything but environment and method, which the views read."""

    def __init__(self, environ: dict[str, Any], populate_request: bool = True, shallow: bool = False) -> None:  # noqa: ARG002
        self.environ = environ
        self.method = environ["REQUEST_METHOD"].upper()
        self.shallow = shallow

    def __getattr__(self, name: str) -> Any:
        if "headers" in self.__dict__:  # it has been worked out, and there is no such thing
            raise AttributeError(name)
        super().__init__(self.environ)
        return getattr(self, name)


class _Matched(MapAdapter):
    """What a method and a path without parameters lead to, which is always the same."""

    rule: Rule

    def match(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return self.rule, {}


class App(Flask):
    """A Flask app whose views are plain functions, whose routes look at no host name and which has no sessions.

    What this and ``FinishedResponse`` buy a request is in ``docs/design.md``, "Serving".
    """

    request_class = _Request
    session_interface = _NoSessions()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._matched: dict[tuple[str, str], _Matched] = {}

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the view as it is: none is a coroutine, and looking costs something each time."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match path and method only; Flask would work out and check the server's name first."""
        if request is None:
            return None
        environ = request.environ
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        return self._matched.get((method, path)) or self._match(method, path)

    def _match(self, method: str, path: str) -> MapAdapter:
        decoded = path.encode("latin-1").decode("utf-8", "replace")
        if decoded.startswith("//"):  # of which Werkzeug would make one, and serve what a rule in front may forbid
            decoded = f"/.{decoded}"
        where = (self.url_map, "", "/", None, "http", decoded, method)
        adapter = MapAdapter(*where)
        with suppress(HTTPException):
            rule, _ = adapter.match(return_rule=True)
            # Bounded by the number of rules, so clients cannot grow the cache. Flask asks that of OPTIONS more.
            if rule.rule == path and method != "OPTIONS":
                matched = self._matched[method, path] = _Matched(*where)
                matched.rule = rule
        return adapter

    def dispatch_request(self) -> Any:
        """Call the view; Flask asks the context for the request by a proxy, and the rule for an answer to OPTIONS."""
        current: Any = current_request()
        if current.routing_exception is not None or current.method == "OPTIONS":
            return super().dispatch_request()
        return self.view_functions[current.url_rule.endpoint](**current.view_args)

    def finalize_request(self, rv: Any, from_error_handler: bool = False) -> Response:
        """Run the hooks after a request; a finished answer needs nothing made of it."""
        if type(rv) is not FinishedResponse or from_error_handler or request_finished.receivers:
            return super().finalize_request(rv, from_error_handler)
        return self.process_response(rv)

    # Flask looks for hooks of blueprints as well, three times a request. There are none, as a rule.

    def preprocess_request(self) -> Any:
        if self.before_request_funcs.keys() != {None} or self.url_value_preprocessors:
            return super().preprocess_request()
        for before in self.before_request_funcs[None]:
            if (answer := before()) is not None:
                return answer
        return None

    def process_response(self, response: Response) -> Response:
        context = request_ctx._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        if self.after_request_funcs.keys() != {None} or context._after_request_functions:  # noqa: SLF001
            return super().process_response(response)
        for after in reversed(self.after_request_funcs[None]):
            response = after(response)
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        if self.teardown_request_funcs:
            super().do_teardown_request(exc)
        elif request_tearing_down.receivers:
            request_tearing_down.send(self, _async_wrapper=self.ensure_sync, exc=exc)

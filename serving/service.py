"""What the worker asks of the application that it serves, and of the service behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from api.cors_headers import EXTENSION as CORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from api.cors_headers import CorsHeaders


class Service(Protocol):
    """The service behind the application: the part of it that the worker's signals and refusals concern."""

    def drain(self) -> None:
        """Be no longer ready, and send what waits without batching delay. Called in a signal handler."""

    def hurry(self) -> None:
        """Let the coming stop wait for hardly anything. Called in a signal handler."""

    def count_unread(self, status: int) -> None:
        """Count a request that the main loop answered with ``status`` before the application saw it."""


class Application(Protocol):
    """A WSGI application that names its service in ``extensions`` and can keep one context for many requests."""

    extensions: Mapping[str, Any]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""

    def app_context(self) -> AbstractContextManager[Any]:
        """Return the context that a request would otherwise enter and leave by itself."""


class Liveness(Protocol):
    """What the application says to who asks whether the process lives, for answers that are made without it."""

    @property
    def path(self) -> str:
        """Where it is asked for."""

    @property
    def body(self) -> bytes:
        """The JSON that it says. It never changes."""

    def count(self, seconds: float) -> None:
        """Count an answer that took so long. Any thread."""


def liveness_of(application: Application | None) -> Liveness | None:
    """Return what the application says of the process; None before it is loaded, and where it says nothing."""
    liveness: Liveness | None = getattr(application, "extensions", {}).get("liveness")
    return liveness


def cors_headers(
    application: Application | None, origin: str | None, *, is_read: bool = True
) -> Iterable[tuple[str, str]]:
    """Return what an answer that the application did not make carries for pages of other origins.

    ``origin``: the request's. ``is_read``: whether it is known; the head may have been refused before it came.
    """
    cors: CorsHeaders | None = getattr(application, "extensions", {}).get(CORS)
    if cors is None:
        return ()
    return cors.of(origin) if is_read else cors.unread


def service_of(application: Application | None) -> Service | None:
    """Return the application's service; None before the application is loaded."""
    service: Service | None = getattr(application, "extensions", {}).get("service")
    return service

"""What the worker asks of the application that it serves, and of the service behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager


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


def service_of(application: Application | None) -> Service | None:
    """Return the application's service; None before the application is loaded."""
    service: Service | None = getattr(application, "extensions", {}).get("service")
    return service

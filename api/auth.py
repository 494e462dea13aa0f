"""Asks for an API key, where keys are set, on everything but health, metrics and documents (as TEI does)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from api.environ import CLIENT
from api.error_forms import RequestError
from api.ranks import Client
from batching.rank import Flow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from config.keys import ClientKey

#: What may be asked by GET and HEAD without the key, and where all such paths begin.
OPEN_ENDPOINTS = frozenset(
    {"/", "/docs", "/health", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/ping"}
)
OPEN_FOLDER = "/docs/"

#: The scheme's name, whose case does not matter (RFC 9110, 11.1).
_BEARER = "bearer "
#: Stands for the client of a key that does not open.
_WRONG = Client(Flow(""))


class Keys:
    """All keys that open, each known by its SHA-256. Any thread.

    One look into a table finds a digest among any number of them. Its time does not tell how much of a guess is right:
    the table compares two digests only where their hashes are equal, by a hash whose own key Python draws at its start.
    """

    def __init__(self, api_key: str | None, client_keys: Iterable[ClientKey] = ()) -> None:
        """``api_key``: opens without a name. A client's key opens with its name, also where it is the same."""
        self._clients: dict[bytes, Client | None] = {}
        if api_key is not None:
            self._clients[_digest(api_key)] = None
        for each in client_keys:
            flow = Flow(each.name, weight=each.weight, most_calls=each.max_requests)
            self._clients[each.digest] = Client(flow, each.is_bulk)

    def __repr__(self) -> str:
        return f"<Keys: {len(self._clients)}>"

    def open_for(self, environ: dict[str, Any]) -> bool:
        """Whether the request carries a right key; its client, if it has a name, stands in the environment then.

        The key stands in ``Authorization: Bearer KEY``, ``api-key: KEY`` or ``x-api-key: KEY``; one of them is enough,
        and the first that is right counts.
        """
        bearer = environ.get("HTTP_AUTHORIZATION")
        is_bearer = bearer is not None and bearer[: len(_BEARER)].lower() == _BEARER
        if bearer is not None and is_bearer and self._opens(bearer[len(_BEARER) :], environ):
            return True
        for name in ("HTTP_API_KEY", "HTTP_X_API_KEY"):
            alone = environ.get(name)
            if alone is not None and self._opens(alone, environ):
                return True
        return False

    def _opens(self, key: str, environ: dict[str, Any]) -> bool:
        client = self._clients.get(_digest(key), _WRONG)
        if client is _WRONG:
            return False
        if client is not None:
            environ[CLIENT] = client
        return True


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def register(app: Flask, api_key: str | None, client_keys: Iterable[ClientKey] = ()) -> None:
    """Refuse requests without a right key with 401; do nothing if no key is set."""
    client_keys = tuple(client_keys)
    if api_key is not None or client_keys:
        app.before_request(_guard(Keys(api_key, client_keys)))


def _guard(keys: Keys) -> Callable[[], None]:
    def check() -> None:
        environ = request.environ
        if keys.open_for(environ) or (_is_open(environ["PATH_INFO"]) and request.method in {"GET", "HEAD"}):
            return
        raise RequestError(
            401, "the API key is missing or wrong: send Authorization: Bearer KEY, api-key: KEY or x-api-key: KEY"
        )

    return check


def _is_open(path: str) -> bool:
    return path in OPEN_ENDPOINTS or path.startswith(OPEN_FOLDER)

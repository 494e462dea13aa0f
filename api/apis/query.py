"""What an API is: routes that turn bodies into queries, queries that turn results into bodies, and an error form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from marshmallow import Schema

    from batching.call import Call, Item
    from batching.errors import ProxyError
    from batching.key import BatchKey


#: A JSON object as it was read from a body.
Body = dict[str, Any]


class Query(NamedTuple):
    """A valid request: what the engine is asked for, and how the results become this API's body."""

    key: BatchKey
    items: list[Item]
    #: Takes the call once it has its results.
    answer: Callable[[Call], bytes]


class Bounds(NamedTuple):
    """What one request may ask for."""

    #: Items of one request.
    items: int


class Route(NamedTuple):
    """One batched route, asked by POST with a JSON object."""

    #: In Werkzeug's syntax.
    path: str
    #: Takes the body, the bounds and the path's arguments; raises ``RequestError``.
    read: Callable[..., Query]
    #: The body's shape, for documents.
    schema: type[Schema]
    #: Takes the names of a body in which one stands twice; returns the status of the refusal.
    duplicate_status: Callable[[Container[str]], int] = lambda _: 400
    #: Members that may be as long as the body.
    long_members: frozenset[str] = frozenset({"input", "inputs"})


class Api(Protocol):
    """One API as its clients speak it."""

    #: Its errors are told to requests whose path begins with one of these.
    prefixes: tuple[str, ...]

    def error(self, error: ProxyError, identity: str) -> bytes:
        """Return the JSON body of an error; ``identity`` is the request's."""
        ...

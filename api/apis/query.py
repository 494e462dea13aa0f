"""What an API is: routes that turn bodies into queries, queries that turn results into bodies, and an error form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from batching.key import Task

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
    #: Whether some of the inputs are token ids, which only the client's own vocabulary gives a meaning.
    has_token_ids: bool = False
    #: Whether the body says that the request may wait for cheaper capacity.
    asks_for_bulk: bool = False


class Forward(NamedTuple):
    """A valid request that is not batched: it goes to an upstream of the same family as it is."""

    #: The path at the upstream.
    path: str
    #: One body, whose answer is passed on as it comes; or several, whose answers are joined.
    bodies: list[bytes]
    #: Makes one body of the answers' bodies, in order; raises ``UpstreamProtocolError``. Used where there are several.
    join: Callable[[list[bytes]], bytes] | None = None
    #: Inputs, for reports.
    items: int = 1


class Finished(NamedTuple):
    """The answer to a valid request that asks for nothing: no upstream is needed."""

    body: bytes


class Bounds(NamedTuple):
    """What one request may ask for, and what is known of the upstream that matters to a body's meaning."""

    #: Items of one request.
    items: int
    #: What a route that serves several tasks stands for: ``EMBED``, or ``CLASSIFY`` where the model classifies.
    task: Task = Task.EMBED
    #: The model that the upstream says it serves.
    model: str | None = None
    #: Items of one upstream call, for what is split outside of the engine.
    upstream_items: int = 32


class Route(NamedTuple):
    """One route, asked by POST with a JSON object."""

    #: In Werkzeug's syntax.
    path: str
    #: Takes the body, the bounds and the path's arguments; raises ``RequestError``.
    read: Callable[..., Query | Forward | Finished]
    #: The body's shape, for documents.
    schema: type[Schema]
    #: Takes the names of a body in which one stands twice; returns the status of the refusal.
    duplicate_status: Callable[[Container[str]], int] = lambda _: 400
    #: Members that may be as long as the body.
    long_members: frozenset[str] = frozenset({"input", "inputs"})
    #: Headers, as WSGI names them, in which this API's clients tell how long they wait, with the seconds of one unit.
    #: What is no number in them is ignored.
    deadline_headers: tuple[tuple[str, float], ...] = ()
    #: Whether ``Query.answer`` takes vectors that are base64; else they are made numbers before.
    takes_base64: bool = False
    #: The status of the refusal of JSON that is no object.
    no_object_status: int = 400
    #: Whether the body is read whatever ``Content-Type`` says: clients of this API leave it out, curl's above all.
    any_type: bool = False


class Api(Protocol):
    """One API as its clients speak it."""

    #: Its errors are told to requests whose path begins with one of these.
    prefixes: tuple[str, ...]
    #: And to those whose path ends with one of these, whatever it begins with.
    suffixes: tuple[str, ...]

    def status(self, error: ProxyError) -> int:
        """Return the status that this API has for an error."""
        ...

    def error(self, error: ProxyError, identity: str) -> bytes:
        """Return the JSON body of an error; ``identity`` is the request's."""
        ...

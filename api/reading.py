"""Makes a query of a request's body; of large bodies, one at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from api.body import DuplicateNameError, NotAnObjectError, overview, parse_object
from api.error_forms import RequestError, quoted

if TYPE_CHECKING:
    from api.apis.query import Bounds, Finished, Forward, Query, Route

#: Bytes from which a body is large. Its values take up to thirty times as much while it is read.
LARGE = 32_768

#: Members of a large body, and bytes of all but those that may be long: far more than any route takes of either.
MOST_MEMBERS, MOST_BESIDE = 1024, 65_536

#: Held while a large body is read. The interpreter lock lets one thread at a time do that anyway, but each would keep
#: its half-read values while it waits for its next turn: 24 bodies of 2 MB took 500 MB.
_large_bodies = threading.Lock()


def read_query(route: Route, bounds: Bounds, data: bytes, arguments: dict[str, str]) -> Query | Forward | Finished:
    """Return what the body asks for; raises ``RequestError``. ``arguments``: those of the route's path."""
    try:
        body = parse_object(data)
    except DuplicateNameError as problem:
        raise RequestError(route.duplicate_status(problem.names), problem.message) from problem
    except NotAnObjectError as problem:
        raise RequestError(route.no_object_status, problem.message) from problem
    return route.read(body, bounds, **arguments)


def read_large_query(
    route: Route, bounds: Bounds, data: bytes, arguments: dict[str, str]
) -> Query | Forward | Finished:
    """Do the same for a body of ``LARGE`` bytes or more, when it is its turn."""
    with _large_bodies:
        try:
            _look_over(data, route.long_members)
            return read_query(route, bounds, data, arguments)
        except RequestError as problem:
            refusal = problem.bare()  # its traceback holds the values
    try:
        raise refusal
    finally:
        del refusal  # else this frame and its exception hold one another, and the body, until a garbage collection


def _look_over(data: bytes, long_members: frozenset[str]) -> None:
    """Refuse what no route takes before its values are made, which may take the interpreter a third of a second."""
    sizes = overview(data)
    if len(sizes) > MOST_MEMBERS:
        raise RequestError(422, f"the JSON has {len(sizes)} members, more than {MOST_MEMBERS}")
    beside = 0
    for name, size in sizes.items():
        beside += 0 if name in long_members else len(name) + size
        if beside > MOST_BESIDE:
            raise RequestError(422, f"{quoted(name)}: with it, the options take more than {MOST_BESIDE} bytes")

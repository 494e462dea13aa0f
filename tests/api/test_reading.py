"""Large bodies are read one at a time; small ones wait for none of them."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from api.apis.embed import EmbedSchema
from api.apis.query import Bounds, Query, Route
from api.error_forms import RequestError
from api.reading import LARGE, MOST_BESIDE, MOST_MEMBERS, read_large_query, read_query
from batching import BatchKey, Task
from tests.support.concurrency import Nursery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Edge

READERS = pytest.mark.parametrize("ask", [read_query, read_large_query])
QUERY = Query(BatchKey(Task.EMBED), [b"1"], lambda call: b"")


def route(read: Callable[..., Query]) -> Route:
    return Route("/x", read, EmbedSchema, lambda names: 422 if "inputs" in names else 400, frozenset({"n"}))


def body_of(size: int) -> bytes:
    frame = b'{"n":""}'
    return b'{"n":"%b"}' % (b"x" * (size - len(frame)))


def test_a_route_reads_the_object_with_the_bounds_and_the_paths_arguments() -> None:
    seen: list[object] = []

    def read(*given: object, **arguments: object) -> Query:
        seen.extend((*given, arguments))
        return QUERY

    for ask in (read_query, read_large_query):
        assert ask(route(read), Bounds(7), b'{"a":1}', {"name": "m"}) is QUERY
    assert seen == [{"a": 1}, Bounds(7), {"name": "m"}] * 2


def test_one_large_body_at_a_time_is_read_whatever_its_route() -> None:
    reading, most = [], []

    def read(body: dict[str, Any], bounds: Bounds) -> Query:
        reading.append(body)
        for _ in range(20):
            most.append(len(reading))
            time.sleep(0)  # lets another thread run
        reading.remove(body)
        return QUERY

    with Nursery() as threads:
        for number in range(6):
            threads.start(read_large_query, route(read), Bounds(1), body_of(LARGE + number), {})
    assert (len(most), max(most)) == (120, 1)


def test_a_small_body_waits_for_no_large_one() -> None:
    meeting = threading.Barrier(2)

    def read(body: dict[str, Any], bounds: Bounds) -> Query:
        meeting.wait(10)
        return QUERY

    with Nursery() as threads:
        threads.start(read_large_query, route(read), Bounds(1), body_of(LARGE), {})
        threads.start(read_query, route(read), Bounds(1), body_of(LARGE - 1), {})


@READERS
def test_a_refusal_is_raised_as_it_is_and_lets_the_next_body_in(ask: Callable[..., Query]) -> None:
    def refuse(body: dict[str, Any], bounds: Bounds) -> Query:
        raise RequestError(422, "n: is wrong")

    for _ in range(2):
        with pytest.raises(RequestError, match="n: is wrong") as caught:
            ask(route(refuse), Bounds(1), body_of(LARGE), {})
        assert caught.value.status == 422


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@READERS
def test_a_refusal_keeps_the_body_no_longer_than_it_lives_itself(ask: Callable[..., Query]) -> None:
    class Values(dict[str, Any]):
        """The values of a body, of which a test can see whether they are still there."""

    values: list[weakref.ref[Values]] = []

    def refuse(body: dict[str, Any], bounds: Bounds) -> Query:
        kept = Values(body)
        values.append(weakref.ref(kept))
        raise RequestError(422, "wrong") from KeyError(kept)

    data = body_of(LARGE)
    before = sys.getrefcount(data)
    try:
        ask(route(refuse), Bounds(1), data, {})
    except RequestError:
        if ask is read_large_query:  # the next large body is read before this refusal has been told
            assert values[0]() is None
    assert values[0]() is None
    assert sys.getrefcount(data) == before


@READERS
@pytest.mark.parametrize(("name", "status"), [("inputs", 422), ("input", 400)])
def test_a_name_that_stands_twice_has_the_routes_status(ask: Callable[..., Query], name: str, status: int) -> None:
    body = f'{{"{name}":1,"{name}":1}}'.encode()
    with pytest.raises(RequestError, match="stands twice") as caught:
        ask(route(lambda body, bounds: QUERY), Bounds(1), body, {})
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({str(number): 0 for number in range(MOST_MEMBERS + 1)}, "the JSON has 1025 members, more than 1024"),
        ({"n": "a", "x": "y" * MOST_BESIDE}, '"x": with it, the options take more than 65536 bytes'),
        ({"y" * MOST_BESIDE: 1}, f'"{"y" * 80}": with it, the options take more than 65536 bytes'),
        ({"n": "a", "x": [{}] * 30_000, "n2": 1}, '"x": with it, the options take more than 65536 bytes'),
    ],
)
def test_what_no_route_takes_is_refused_before_its_values_are_made(body: dict[str, object], message: str) -> None:
    def read(body: dict[str, Any], bounds: Bounds) -> Query:
        raise AssertionError("read")

    with pytest.raises(RequestError) as caught:
        read_large_query(route(read), Bounds(1), json.dumps(body).encode(), {})
    assert (caught.value.status, caught.value.message) == (422, message)


@pytest.mark.parametrize(
    "body",
    [
        {str(number): 0 for number in range(MOST_MEMBERS)},
        {"n": "y" * 5 * MOST_BESIDE, "x": "y" * (MOST_BESIDE - 3)},
        {"n": ["\ud800"] * LARGE, "x": "y" * 2 * MOST_BESIDE},  # which only the strict parser can judge
    ],
)
def test_what_a_route_may_take_is_left_to_it(body: dict[str, object]) -> None:
    seen: list[object] = []

    def read(body: dict[str, Any], bounds: Bounds) -> Query:
        seen.append(body)
        return QUERY

    assert read_large_query(route(read), Bounds(1), json.dumps(body).encode(), {}) is QUERY
    assert seen == [body]


@pytest.mark.parametrize("size", [LARGE - 1, LARGE])
def test_a_client_gets_its_answer_whatever_the_size(edge: Edge, size: int) -> None:
    response = edge.post(b'{"input":"%b"}' % (b"x" * (size - len(b'{"input":""}'))))
    assert (response.status_code, len(edge.sent[0])) == (200, size - len(b'{"input":}'))

"""The bound that the proxy is measured against gives each client its own vector too."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.floor import Floor
from tests.support.fakes import items_of, vector_of
from tests.support.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def vectors_of(floor: Floor, items: Sequence[bytes]) -> dict[bytes, bytes]:
    """Ask for all at once, each in a thread of its own."""
    vectors: dict[bytes, bytes] = {}
    threads = [threading.Thread(target=lambda item=item: vectors.update({item: floor.embed(item)})) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return vectors


@contextmanager
def running(floor: Floor) -> Iterator[Floor]:
    thread = threading.Thread(target=floor.run, daemon=True)
    thread.start()
    yield floor
    floor.close()
    thread.join(10)


def test_a_crowd_that_is_complete_travels_at_once_and_each_client_gets_its_own() -> None:
    with ScriptedUpstream() as upstream, running(Floor(upstream.url, crowd=4)) as floor:
        for number in range(3):
            items = items_of(*(f"{number}, {each}" for each in range(4)))
            assert vectors_of(floor, items) == {item: b"[" + vector_of(item) + b"]" for item in items}
        assert upstream.sizes == [4, 4, 4]


def test_a_crowd_that_is_not_waits_only_for_a_while() -> None:
    with ScriptedUpstream() as upstream, running(Floor(upstream.url, crowd=4)) as floor:
        (item,) = items_of("alone")
        assert vectors_of(floor, [item]) == {item: b"[" + vector_of(item) + b"]"}

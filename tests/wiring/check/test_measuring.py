"""Calls of growing size and crowds are measured with real threads, against endpoints that answer from memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import pytest

from batching import Answer, Batch, BatchKey, Item
from batching.errors import UpstreamRejected
from wiring.check import measuring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.endpoint import Endpoint


class Memory:
    """An endpoint that answers at once, and refuses calls of more than ``most`` texts."""

    def __init__(self, most: int = 1000) -> None:
        self.sizes: list[int] = []
        self.texts: list[Item] = []
        self._most = most

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        return key

    def send(self, batch: Batch) -> Answer:
        if len(batch.items) > self._most:
            raise UpstreamRejected("too many", status=413)
        self.sizes.append(len(batch.items))
        self.texts += batch.items
        return Answer([b"[1,2]"] * len(batch.items), 2)


def endpoint(most: int = 1000) -> tuple[Memory, Endpoint]:
    memory = Memory(most)
    return memory, cast("Endpoint", memory)


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (2, [1, 2]), (32, [1, 2, 4, 8, 16, 32]), (20, [1, 2, 4, 8, 16, 20])]
)
def test_sizes_double_up_to_the_largest(most: int, expected: list[int]) -> None:
    assert measuring.sizes(most) == expected


def test_each_size_is_measured_several_times_with_texts_that_were_not_sent_before() -> None:
    memory, upstream = endpoint()
    sizes: list[int] = []
    found = measuring.ladder(upstream, 4, sizes.append)
    assert sizes == list(found.times) == [1, 2, 4]
    assert found.stopped_by == ""
    assert all(memory.sizes.count(size) > measuring.LEAST_CALLS for size in sizes)
    assert len(set(memory.texts)) == len(memory.texts)
    assert all(json.loads(each) for each in memory.texts)


def test_measuring_ends_with_the_first_size_that_is_refused() -> None:
    _, upstream = endpoint(most=3)
    found = measuring.ladder(upstream, 32, lambda size: None)
    assert list(found.times) == [1, 2]
    assert found.stopped_by == "calls of 4 texts are refused: too many"


def test_a_window_is_long_enough_for_slow_calls_and_never_endless() -> None:
    assert measuring.window_of(0.01) == measuring.WINDOW
    assert measuring.window_of(1.0) == measuring.CALLS_IN_WINDOW
    assert measuring.window_of(60.0) == measuring.LONGEST_WINDOW


def test_a_crowd_sends_single_texts_to_all_upstreams() -> None:
    first, one = endpoint()
    second, other = endpoint()
    crowd = measuring.direct([one, other], 4, 0.05)
    assert crowd.rate > 0
    assert crowd.batch_size == pytest.approx(1.0)
    assert set(first.sizes) == set(second.sizes) == {1}


def test_a_crowd_ends_with_the_first_error_and_tells_it() -> None:
    _, upstream = endpoint(most=0)
    assert measuring.direct([upstream], 2, 60.0).error == "too many"

"""The capacity stays within what the upstreams say of themselves, and within what the settings say."""

from __future__ import annotations

import pytest

from batching.capacity import Outage, Slots
from batching.clock import NEVER, NOW
from batching.errors import NoUpstream
from tests.support.fakes import capacity_of
from upstream.clamp import UNLIMITED_ITEMS, Clamp, clamped
from upstream.dialects.dialect import UpstreamInfo

NOTHING_TOLD = UpstreamInfo(None, None, None)


def told(size: int | None, permits: int | None) -> UpstreamInfo:
    return UpstreamInfo("model", size, permits)


@pytest.mark.parametrize(
    ("infos", "batch_size", "items"),
    [
        ([], 32, UNLIMITED_ITEMS),
        ([NOTHING_TOLD], 32, UNLIMITED_ITEMS),
        ([told(8, 20)], 8, 20),
        ([told(31, 512)], 31, 512),
        ([told(32, 512)], 32, 512),
        ([told(33, 512)], 32, 512),
        ([told(64, None)], 32, UNLIMITED_ITEMS),
        ([told(None, 5)], 5, 5),  # a batch has to fit into the permits
        ([told(8, 5)], 5, 5),
        ([told(None, 2 * UNLIMITED_ITEMS)], 32, UNLIMITED_ITEMS),
        # A batch must suit each upstream, and permits add up.
        ([told(16, 100), told(8, 50)], 8, 150),
        ([told(16, 100), told(32, 4)], 4, 104),
        ([told(16, 100), NOTHING_TOLD], 16, UNLIMITED_ITEMS),
        ([told(None, UNLIMITED_ITEMS - 1), told(None, 70)], 32, UNLIMITED_ITEMS),
    ],
)
def test_what_suits_all_upstreams(infos: list[UpstreamInfo], batch_size: int, items: int) -> None:
    assert clamped(32, infos) == (batch_size, items)
    assert clamped(32, reversed(infos)) == (batch_size, items)


def test_an_upstream_that_comes_back_with_more_room_gets_what_the_settings_say_again() -> None:
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=4)
    for info, batch_size, items in [
        (told(8, 20), 8, 20),
        (told(16, 512), 16, 512),
        (told(64, None), 32, UNLIMITED_ITEMS),
        (told(None, 5), 5, 5),
        (NOTHING_TOLD, 32, UNLIMITED_ITEMS),
    ]:
        clamp.told("http://0", info)
        assert (capacity.batch_size, capacity.items) == (batch_size, items)


def test_each_upstream_counts_with_what_it_said_last() -> None:
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=8)
    said = []
    for url, info in [("a", told(16, 100)), ("b", told(8, 50)), ("a", told(32, 10)), ("b", told(None, 10))]:
        clamp.told(url, info)
        said.append((capacity.batch_size, capacity.items))
    assert said == [(16, 100), (8, 150), (8, 60), (10, 20)]


def test_what_is_told_during_an_outage_counts_after_it() -> None:
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=4)
    capacity.change(slots=[], outage=Outage(NEVER, NoUpstream("none")))
    assert clamp.told("a", told(8, None)) == ["max_batch_size 32 -> 8"]
    assert clamp.told("a", told(8, None)) == []
    assert capacity.batch_size == 1
    capacity.change(slots=[Slots(NOW, 4)])
    assert capacity.batch_size == 8


def test_how_many_batches_may_be_in_flight_is_left_alone() -> None:
    capacity = capacity_of(max_inflight_batches=3)
    Clamp(capacity, batch_size=32, batches=8).told("a", told(8, 20))
    assert capacity.batches(0.0) == 3


def test_what_was_clamped_is_said_once() -> None:
    clamp = Clamp(capacity_of(), batch_size=32, batches=4)
    assert clamp.told("a", told(8, 20)) == ["max_batch_size 32 -> 8", "items in flight at most 20"]
    assert clamp.told("a", told(8, 20)) == []
    assert clamp.told("a", NOTHING_TOLD) == ["max_batch_size 8 -> 32"]


@pytest.mark.parametrize(("beyond_all_batches", "said"), [(-1, True), (0, False), (1, False)])
def test_only_permits_that_bound_something_are_worth_a_word(beyond_all_batches: int, said: bool) -> None:
    permits = 4 * 32 + beyond_all_batches
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=4)
    assert clamp.told("a", told(None, permits)) == ([f"items in flight at most {permits}"] if said else [])
    assert capacity.items == permits


def test_the_queue_is_told_of_a_change() -> None:
    capacity = capacity_of()
    changes: list[tuple[int, int]] = []
    capacity.on_change(lambda: changes.append((capacity.batch_size, capacity.items)))
    clamp = Clamp(capacity, batch_size=32, batches=4)
    for info in (told(8, 20), told(8, 20), NOTHING_TOLD):
        clamp.told("a", info)
    assert changes == [(8, 20), (32, UNLIMITED_ITEMS)]

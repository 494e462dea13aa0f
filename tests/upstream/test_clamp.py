"""The capacity stays within what the upstreams say of themselves, and within what the settings say."""

from __future__ import annotations

from typing import Any

import pytest

from batching import Batch
from batching.capacity import UNLIMITED_BYTES, Outage, Slots
from batching.clock import NEVER, NOW
from batching.errors import NoUpstream, UpstreamError, UpstreamRejected
from tests.support.fakes import KEY, capacity_of, items_of
from upstream.clamp import MOST_LOGGED, UNLIMITED_ITEMS, Clamp, clamped
from upstream.dialects.dialect import SizeLimit, UpstreamInfo

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


# Tokens, and what refusals show


@pytest.mark.parametrize(
    ("setting", "said", "most"),
    [
        (0, [], UNLIMITED_BYTES),
        (0, [None, 0], UNLIMITED_BYTES),
        (100, [], 400),
        (100, [50, None], 200),
        (100, [200], 400),
        (0, [300, 200], 800),
    ],
)
def test_tokens_bound_the_bytes_of_a_batch(setting: int, said: list[int | None], most: int) -> None:
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=4, batch_tokens=setting)
    for number, tokens in enumerate(said):
        clamp.told(f"http://{number}", NOTHING_TOLD._replace(max_batch_tokens=tokens))
    assert capacity.batch_bytes == most


def test_a_clamp_that_has_heard_nothing_leaves_the_items_in_flight_alone() -> None:
    capacity = capacity_of(max_inflight_items=64)
    Clamp(capacity, batch_size=32, batches=4)
    assert (capacity.batch_size, capacity.items) == (32, 64)


def refused(*texts: str, **said: Any) -> tuple[Batch, UpstreamRejected]:
    """Return a call of these texts and its refusal, by default for more than two items."""
    batch = Batch(KEY, "full", 0.0)
    batch.items = items_of(*texts)
    said.setdefault("size", SizeLimit(of_items=True, most_items=2))
    return batch, UpstreamRejected("no", status=400, words="too many inputs", concerns_size=True, **said)


def test_a_refusal_lowers_the_capacity_at_once_and_says_so() -> None:
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=4)
    batch, error = refused("a", "b", "c")
    clamp.learn("http://0", batch, error, 0.0)
    assert (capacity.batch_size, error.is_cut) == (2, True)
    clamp.learn("http://0", batch, UpstreamError("500"), 0.0)
    clamp.learn("http://0", batch, None, 1e9)
    assert capacity.batch_size == 2


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a"], {}),  # its own refusal
        (["a", "b"], {"size": SizeLimit(of_items=True, most_items=3)}),
        (["a", "b"], {"size": SizeLimit(of_items=False, most_tokens=9, had_tokens=8)}),
        (["a", "too many inputs"], {}),
        (["a", "b"], {"size": None}),
    ],
)
def test_a_refusal_that_says_nothing_believable_of_a_size_cuts_nothing(texts: list[str], said: dict[str, Any]) -> None:
    capacity = capacity_of()
    before = repr(capacity)
    batch, error = refused(*texts, **said)
    Clamp(capacity, batch_size=32, batches=4).learn("http://0", batch, error, 0.0)
    assert (repr(capacity), error.is_cut) == (before, False)


@pytest.mark.parametrize(("text", "believed"), [("b", True), ("an input that is too long", False)])
def test_words_about_a_length_are_believed_where_no_client_wrote_them(text: str, believed: bool) -> None:
    batch = Batch(KEY, "full", 0.0)
    batch.items = items_of("a", text)
    error = UpstreamRejected("no", status=400, words="cannot embed an input that is too long", concerns_length=True)
    Clamp(capacity_of(), batch_size=32, batches=4).learn("http://0", batch, error, 0.0)
    assert (error.concerns_length, error.is_cut) == (believed, False)


def test_an_upstream_of_which_nothing_was_learned_may_go_away() -> None:
    capacity = capacity_of()
    before = repr(capacity)
    Clamp(capacity, batch_size=32, batches=4).went_away("http://0")
    assert repr(capacity) == before


def test_caps_that_come_and_go_for_ever_take_bounded_memory_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clamp = Clamp(capacity_of(), batch_size=32, batches=4)
    batch, error = refused("a", "b", "c")
    for number in range(MOST_LOGGED + 2):
        url = f"http://{number % (MOST_LOGGED + 1)}"
        clamp.learn(url, batch, error, 0.0)
        clamp.went_away(url)
    assert len(caplog.records) == MOST_LOGGED + 2


def test_tokens_that_are_left_bound_a_batch_until_they_do_not() -> None:
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=4)
    clamp.pace("http://0", 1000)
    clamp.pace("http://1", 1 << 20)
    assert 900 < capacity.batch_bytes <= 1000
    clamp.pace("http://0", UNLIMITED_BYTES)
    assert capacity.batch_bytes == 1 << 20


def test_a_small_change_of_what_tokens_allow_changes_no_batch() -> None:
    capacity = capacity_of()
    clamp = Clamp(capacity, batch_size=32, batches=4)
    changes: list[int] = []
    capacity.on_change(lambda: changes.append(capacity.batch_bytes))
    for most in (100_000, 100_001, 99_999):
        clamp.pace("http://0", most)
    assert len(changes) == 1

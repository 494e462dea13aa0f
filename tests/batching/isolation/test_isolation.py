"""A refused batch costs only the bad inputs their answer, within a bounded number of extra calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching import BatchKey, Call, Options, Task
from batching.errors import (
    ProxyError,
    Unresolved,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from batching.isolation.bisection import most_calls
from batching.isolation.isolation import ISOLATION_FLOOR
from batching.isolation.verdicts import VERDICT_TTL
from tests.batching.isolation.bench import BatcherBench, PickyUpstream, texts_of, verdict_on
from tests.support.fakes import KEY, FakeClock, items_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize("bad", range(32))
def test_one_bad_text_among_31_good_ones_is_refused_by_itself(clock: FakeClock, bad: int) -> None:
    texts = texts_of(32)
    bench = BatcherBench(clock, PickyUpstream(clock, bad=[texts[bad]]))
    calls = bench.submit_each(texts)
    bench.run()
    verdicts = [verdict_on(call) for call in calls]
    assert [number for number, verdict in enumerate(verdicts) if verdict] == [bad]
    verdict = verdicts[bad]
    assert isinstance(verdict, UpstreamRejected)
    assert (verdict.status, verdict.message, verdict.error_type) == (422, "too long", "Tokenizer")
    assert len(bench.upstream.batches) <= 14


@settings(derandomize=True, max_examples=300, deadline=None)
@given(bad=st.sets(st.integers(0, 31)))
def test_whichever_texts_are_bad_each_client_is_told_of_its_own(bad: set[int]) -> None:
    """Be it all of them. Each search stays within its bound, and soon there are none, for batches become smaller."""
    clock = FakeClock()
    texts = texts_of(32)
    bench = BatcherBench(clock, PickyUpstream(clock, bad=[texts[position] for position in bad]))
    calls = bench.submit_each(texts)
    bench.run()
    assert {position for position, call in enumerate(calls) if verdict_on(call)} == bad
    assert all(isinstance(calls[position].error, UpstreamRejected) for position in bad)
    assert max(bench.searches(), default=0) <= most_calls(32)
    assert sum(bench.searches()) <= 2 * len(bad) + 16


@settings(derandomize=True, max_examples=100, deadline=None)
@given(bad=st.sets(st.integers(0, 31), max_size=6), size=st.integers(1, 7))
def test_a_call_of_several_texts_is_refused_for_its_own_texts_only(bad: set[int], size: int) -> None:
    """Some of these lie in two batches: their items cannot return, and are asked about.

    With several such calls a search may reach its bound. A call that it did not come to is told to come again.
    """
    clock = FakeClock()
    texts = texts_of(32)
    bench = BatcherBench(clock, PickyUpstream(clock, bad=[texts[position] for position in bad]), max_batch_size=16)
    calls = {first: bench.submit(*texts[first : first + size]) for first in range(0, 32, size)}
    bench.run()
    to_be_refused = {position - position % size for position in bad}
    in_doubt = {first for first, call in calls.items() if isinstance(call.error, Unresolved)}
    refused = {first for first, call in calls.items() if verdict_on(call)} - in_doubt
    assert refused == to_be_refused - in_doubt
    assert all(isinstance(calls[first].error, UpstreamRejected) for first in refused)
    if max(bench.searches()) < most_calls(16):
        assert not in_doubt
    assert {first for first in in_doubt if error_of(bench, calls[first].items)} == to_be_refused & in_doubt


def error_of(bench: BatcherBench, items: Sequence[bytes]) -> ProxyError | None:
    """Send these items as a call once more, and return what its client is told."""
    call = Call(items, KEY, 1e9)
    try:
        bench.batcher.submit(call)
    except UpstreamRejected as refusal:
        return refusal
    bench.run()
    assert not isinstance(call.error, Unresolved)
    return verdict_on(call)


def test_untested_items_are_in_front_next_time_and_their_clients_hear_nothing_of_it(clock: FakeClock) -> None:
    texts = texts_of(8)
    bench = BatcherBench(clock, PickyUpstream(clock, bad=[texts[0]]), max_batch_size=8)
    calls = bench.submit_each(texts)
    clock.time += 0.001
    calls.append(bench.submit("came later"))
    bench.step()
    assert [bench.upstream.batches[at].items for at in (1, 2, 3)] == [items_of(*texts[:size]) for size in (4, 2, 1)]
    assert [call.done for call in calls] == [True] + [False] * 8
    assert not any(call.event.is_set() for call in calls[1:])
    bench.step()
    assert bench.upstream.batches[4].items[0] == items_of(texts[1])[0]
    bench.run()
    assert not any(verdict_on(call) for call in calls[1:])


def test_a_verdict_holds_for_a_while_without_asking_again(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock, bad=["bad"]))
    calls = bench.submit_each(["bad", "good"])
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [UpstreamRejected, type(None)]
    asked = len(bench.upstream.batches)
    for texts in (["bad"], ["fine", "bad"]):
        with pytest.raises(UpstreamRejected, match="too long"):
            bench.submit(*texts)
    assert bench.queue.calls == 0
    bench.submit("bad", key=BatchKey(Task.EMBED, Options(truncate=True)))
    clock.time += VERDICT_TTL
    bench.submit("bad")
    bench.run()
    assert len(bench.upstream.batches) == asked + 2


def test_a_client_alone_in_its_batch_gets_the_upstreams_words_and_costs_no_search(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock, bad=["bad"]))
    call = bench.submit("good", "bad", "fine")
    bench.run()
    verdict = verdict_on(call)
    assert verdict is not None
    assert (verdict.status, verdict.message) == (422, "quotes another client")
    assert bench.upstream.sizes == [3]


def test_words_that_may_quote_another_client_are_never_passed_on(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock, bad=["bad", "worse"]))
    calls = [bench.submit("good", "bad"), bench.submit("fine"), bench.submit("worse")]
    bench.run()
    messages = [None if (error := verdict_on(call)) is None else error.message for call in calls]
    assert messages == ["too long", None, "too long"]


@pytest.mark.parametrize("most", [4, 8, 16])
def test_an_upstream_that_takes_less_than_it_says_soon_gets_less(clock: FakeClock, most: int) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock, most=most), max_calls=10_000, max_queued_items=10_000)
    for number in range(50):
        calls = bench.submit_each(texts_of(32, f"{number},"))
        bench.run()
        assert not any(verdict_on(call) for call in calls)
    assert len(bench.upstream.batches) < 50 * (32 / most) * 1.5


def test_a_batch_that_was_only_too_large_is_halved_until_it_fits(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock, most=16))
    calls = bench.submit_each(texts_of(32))
    bench.run()
    assert not any(verdict_on(call) for call in calls)
    assert bench.upstream.sizes == [32, 16, 16]


@pytest.mark.parametrize("accident", [UpstreamUnavailable("not ready", retry_after=1), UpstreamTimeout("too late")])
def test_a_search_ends_when_the_upstream_fails(clock: FakeClock, accident: ProxyError) -> None:
    texts = texts_of(32)
    bench = BatcherBench(clock, PickyUpstream(clock, bad=[texts[31]]))
    bench.upstream.accidents = {3: accident}
    calls = bench.submit_each(texts)
    bench.run()
    assert bench.upstream.sizes == [32, 16, 8]
    verdicts = [verdict_on(call) for call in calls]
    assert verdicts[:16] == [None] * 16
    assert {type(verdict) for verdict in verdicts[16:24]} == {type(accident)}
    assert {type(verdict) for verdict in verdicts[24:]} == {Unresolved}


@pytest.mark.parametrize(
    "error", [UpstreamUnavailable("no", retry_after=1), UpstreamTimeout("late"), ProxyError("bug")], ids=repr
)
def test_a_failure_that_the_inputs_did_not_cause_is_never_searched(clock: FakeClock, error: ProxyError) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock))
    bench.upstream.accidents = {1: error}
    calls = bench.submit_each(texts_of(8))
    bench.run()
    assert bench.upstream.sizes == [8]
    assert [verdict_on(call) for call in calls] == [error] * 8


def test_a_call_that_is_cleared_does_not_wait_for_the_search_to_end(clock: FakeClock) -> None:
    texts = texts_of(32)
    bench = BatcherBench(clock, PickyUpstream(clock, bad=[texts[31]], latency=1.0))
    calls = bench.submit_each(texts)
    bench.run()
    assert {call.inference_time for call in calls[:16]} == {2.0}
    assert {call.inference_time for call in calls[16:24]} == {3.0}
    assert calls[31].inference_time == clock.time > 5.0


def test_a_client_of_several_texts_gets_all_of_them_when_the_search_is_over(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock, bad=["bad"]))
    several = bench.submit(*texts_of(20))
    others = bench.submit_each(["bad", "good"])
    bench.run()
    assert [type(verdict_on(call)) for call in (several, *others)] == [type(None), UpstreamRejected, type(None)]


def test_a_flood_of_bad_inputs_takes_no_more_than_half_of_the_calls(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock), max_batch_size=8, max_calls=10_000, max_queued_items=10_000)
    for number in range(200):
        texts = texts_of(8, f"{number},")
        bench.upstream.bad |= set(items_of(*texts))
        bench.submit_each(texts)
        bench.run()
    ordinary = len(bench.ordinary())
    assert len(bench.upstream.batches) - ordinary <= ISOLATION_FLOOR
    for number in range(200):  # clean traffic earns the next searches
        bench.submit(f"clean {number}")
        bench.run()
    bench.upstream.batches.clear()
    calls = bench.submit_each(["0, 9", "poison"])
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [type(None), UpstreamRejected]

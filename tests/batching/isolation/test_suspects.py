"""An input that a search could not clear travels by itself, at the budget's expense; the rest of its call does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.errors import Unresolved, UpstreamError, UpstreamRejected, UpstreamUnavailable
from batching.isolation.isolation import ISOLATION_FLOOR
from batching.isolation.search import KEPT_FOR_SUSPECTS
from batching.outcomes import Outcomes
from tests.batching.isolation.bench import (
    POISON,
    BatcherBench,
    IsolationBench,
    PickyUpstream,
    errors,
    kinds,
    texts_of,
    verdict_on,
)
from tests.support.fakes import KEY, FakeClock, items_of, results_of

if TYPE_CHECKING:
    from batching import Batch

LARGE = texts_of(1000)
#: Upstream calls of a call of 1000 good texts, none of them suspected.
FULL_BATCHES = 32


def bench_of(clock: FakeClock) -> BatcherBench:
    return BatcherBench(clock, PickyUpstream(clock), max_queued_items=5000)


def suspects_of(calls: list[Batch]) -> list[bytes]:
    """Return the inputs that travelled as suspects."""
    assert all(len(batch.items) == 1 and batch.reason == "suspect" for batch in calls if batch.is_suspect)
    return [batch.items[0] for batch in calls if batch.is_suspect]


# A large call after a search that could not clear some of its items


@pytest.mark.parametrize("suspects", [1, 2, 8, 16])
def test_a_large_call_sent_again_costs_a_call_for_each_suspect_and_otherwise_full_batches(
    clock: FakeClock, suspects: int
) -> None:
    """Its first items shared a batch with a bad input, and the search met an upstream that was not ready."""
    bench = bench_of(clock)
    bench.upstream.accidents = {2: UpstreamUnavailable("busy", retry_after=1)}
    bench.submit_each([POISON, *texts_of(31 - suspects, "another client's")])
    large = bench.submit(*LARGE)
    bench.run()
    assert isinstance(verdict_on(large), Unresolved)
    assert bench.upstream.sizes == [32, 16]

    clock.sleep(1.0)
    calls = bench.serve(*LARGE)
    assert suspects_of(calls) == items_of(*LARGE[:suspects])
    # A few batches more, for they are smaller after a refusal.
    assert len(calls) <= FULL_BATCHES + suspects + 7
    assert sum(len(batch.items) for batch in calls) == len(LARGE)

    calls = bench.serve(*LARGE)
    assert (suspects_of(calls), len(calls)) == ([], FULL_BATCHES)


def test_a_large_call_with_one_suspect_costs_at_most_40_calls_wherever_the_suspect_is(clock: FakeClock) -> None:
    bench = bench_of(clock)
    for position in (0, 1, 31, 32, 500, 998, 999):
        bench.suspect(LARGE[position])
        calls = bench.serve(*LARGE)
        assert suspects_of(calls) == items_of(LARGE[position])
        assert len(calls) <= FULL_BATCHES + 2 <= 40


def test_all_items_of_a_first_batch_may_be_suspects(clock: FakeClock) -> None:
    bench = bench_of(clock)
    bench.suspect(*LARGE[:32])
    calls = bench.serve(*LARGE)
    assert suspects_of(calls) == items_of(*LARGE[:32])
    assert [len(batch.items) for batch in calls] == [1] * 32 + [32] * 30 + [8]


@settings(derandomize=True, max_examples=30, deadline=None)
@given(positions=st.sets(st.integers(0, len(LARGE) - 1), max_size=100))
def test_a_large_call_costs_a_call_for_each_suspect_and_one_for_each_batch_that_is_cut(positions: set[int]) -> None:
    """More suspects than the budget has tokens are no matter while the upstream takes them."""
    clock = FakeClock()
    bench = bench_of(clock)
    bench.suspect(*(LARGE[position] for position in positions))
    calls = bench.serve(*LARGE)
    assert sorted(suspects_of(calls)) == sorted(items_of(*(LARGE[position] for position in positions)))
    assert len(calls) <= FULL_BATCHES + 2 * len(positions)
    assert len(bench.serve(*LARGE)) == FULL_BATCHES


def test_a_suspect_that_is_bad_after_all_ends_its_call_and_no_other(clock: FakeClock) -> None:
    bench = bench_of(clock)
    bench.suspect("doubtful")
    bench.upstream.bad |= set(items_of("doubtful"))
    calls = [bench.submit("a", "doubtful", "b"), bench.submit("c")]
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [UpstreamRejected, type(None)]
    assert bench.searches() == [0] * len(bench.upstream.batches)
    with pytest.raises(UpstreamRejected):
        bench.submit("d", "doubtful")


def test_texts_that_could_not_be_asked_about_travel_by_themselves_and_are_then_cleared(clock: FakeClock) -> None:
    texts = texts_of(8)
    bench = BatcherBench(clock, PickyUpstream(clock, most=4, bad=texts), max_batch_size=8)
    calls = bench.submit_each(texts)
    bench.run()  # it may only have been too large: no item returns
    doubted = [text for text, call in zip(texts, calls, strict=True) if isinstance(call.error, Unresolved)]
    assert len(doubted) == 4
    bench.upstream.bad = set(items_of(doubted[0]))
    bench.upstream.batches.clear()
    again = bench.submit_each(doubted)
    bench.run()
    assert bench.upstream.sizes == [1] * len(doubted)
    assert suspects_of(bench.upstream.batches) == items_of(*doubted)
    assert isinstance(verdict_on(again[0]), UpstreamRejected)
    assert not any(verdict_on(call) for call in again[1:])
    calls = bench.submit_each(doubted[1:])
    assert [call.suspects for call in calls] == [frozenset()] * 3
    bench.run()


def test_when_bad_suspects_have_used_up_the_budget_a_call_with_another_is_told_to_come_again_without_asking(
    clock: FakeClock,
) -> None:
    bench = bench_of(clock)
    bad = texts_of(int(ISOLATION_FLOOR), "bad")
    bench.upstream.bad |= set(items_of(*bad))
    bench.suspect(*bad, "doubtful")
    bench.submit_each(bad)
    bench.run()
    assert len(bench.upstream.batches) == ISOLATION_FLOOR
    call = bench.submit("doubtful", *texts_of(10))
    bench.run()
    assert isinstance(verdict_on(call), Unresolved)
    assert len(bench.upstream.batches) == ISOLATION_FLOOR
    bench.serve("an ordinary call earns the next one")
    assert len(bench.serve("doubtful")) == 1


# What a suspect spends


@pytest.mark.parametrize("tokens", [0, 1, int(KEPT_FOR_SUSPECTS), int(ISOLATION_FLOOR)])
def test_a_suspect_is_asked_about_only_if_there_is_a_token_left(tokens: int) -> None:
    bench = IsolationBench()
    bench.suspect("doubtful")
    bench.leave(tokens)
    batch = bench.suspect_batch("doubtful")
    outcomes = bench.send(batch)
    if tokens:
        assert outcomes == Outcomes.results(results_of(batch))
        assert (bench.upstream.sizes, bench.known("doubtful")) == ([1], [""])
    else:
        assert kinds(outcomes) == ["Unresolved"]
        assert [error.retry_after for error in errors(outcomes)] == [1]
        assert outcomes.error is outcomes.of[0]
        assert (outcomes.rejected, outcomes.judged) == (0, 0)
        assert (bench.upstream.sizes, bench.known("doubtful")) == ([], ["suspect"])


def test_a_suspect_that_is_taken_gives_its_token_back_when_the_upstream_has_answered() -> None:
    bench = IsolationBench()
    bench.leave(10)
    during: list[float] = []
    bench.upstream.on_send = lambda: during.append(bench.budget)
    for _ in range(20):
        bench.send(bench.suspect_batch("good"))
        assert bench.budget == 10
    assert during == [9] * 20


def test_a_suspect_that_is_refused_spends_its_token_and_is_remembered() -> None:
    bench = IsolationBench("bad")
    bench.leave(10)
    outcomes = bench.send(bench.suspect_batch("bad"))
    assert (kinds(outcomes), bench.budget) == (["UpstreamRejected"], 9)
    assert [str(error) for error in errors(outcomes)] == ["quotes another client"]
    assert (outcomes.rejected, outcomes.judged) == (1, 1)
    bench.witness()
    assert bench.known("bad") == ["refused"]


def test_a_suspect_whose_call_fails_spends_its_token_and_stays_suspected() -> None:
    bench = IsolationBench()
    bench.suspect("doubtful")
    bench.leave(10)
    bench.upstream.accidents = {1: UpstreamError("502")}
    with pytest.raises(UpstreamError):
        bench.send(bench.suspect_batch("doubtful"))
    assert (bench.budget, bench.known("doubtful")) == (9, ["suspect"])


def test_only_a_suspect_is_cleared_by_being_taken() -> None:
    bench = IsolationBench()
    bench.suspect("a", "b")
    bench.send(bench.batch("a"))
    assert bench.known("a", "b") == ["suspect", "suspect"]
    bench.send(bench.suspect_batch("a"))
    assert bench.known("a", "b") == ["", "suspect"]


# What others spend and earn


def test_searches_leave_tokens_to_suspects() -> None:
    bench = IsolationBench("bad", "worse")
    bench.leave(int(KEPT_FOR_SUSPECTS) - 1)
    outcomes = bench.send(bench.batch("bad", "good"))  # which earns one
    assert kinds(outcomes) == ["Unresolved", "Unresolved"]
    assert (bench.upstream.sizes, bench.budget) == ([2], KEPT_FOR_SUSPECTS)
    for _ in range(int(KEPT_FOR_SUSPECTS)):
        assert kinds(bench.send(bench.suspect_batch("worse"))) == ["UpstreamRejected"]
    assert kinds(bench.send(bench.suspect_batch("worse"))) == ["Unresolved"]


@pytest.mark.parametrize(
    ("texts", "earned"),
    [(["good"], 1), (["good", "fine"], 1), (["bad"], 1), (["good", "bad"], 1 - 2), (["bad", "good"], 1 - 1)],
    ids=str,
)
def test_each_ordinary_batch_that_is_taken_or_refused_pays_for_one_call_of_a_search(
    texts: list[str], earned: int
) -> None:
    bench = IsolationBench("bad")
    bench.leave(20)
    bench.send(bench.batch(*texts))
    assert bench.budget == 20 + earned
    assert earned == 1 - (len(bench.upstream.batches) - 1)


def test_a_batch_that_fails_earns_nothing() -> None:
    bench = IsolationBench()
    bench.leave(20)
    bench.upstream.accidents = {1: UpstreamError("502")}
    with pytest.raises(UpstreamError):
        bench.send(bench.batch("a", "b"))
    assert bench.budget == 20


def test_ordinary_batches_earn_no_more_than_there_is_at_the_start() -> None:
    bench = IsolationBench()
    for _ in range(10):
        bench.send(bench.batch("good"))
    assert bench.budget == ISOLATION_FLOOR


def test_a_verdict_is_forgotten_when_its_input_is_taken_and_all_are_when_the_dialect_changes() -> None:
    bench = IsolationBench()
    verdicts = bench.isolation.verdicts
    for item in items_of("a", "b"):
        verdicts.refused(KEY, item, UpstreamRejected("no", status=422))
    bench.suspect("c")
    bench.send(bench.batch("a"))
    assert verdicts.look_up(KEY, items_of("a")) == (None, frozenset())
    assert verdicts.look_up(KEY, items_of("b"))[0] is not None
    bench.isolation.on_dialect("http://upstream")
    assert verdicts.look_up(KEY, items_of("b", "c")) == (None, frozenset())

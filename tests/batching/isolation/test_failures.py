"""The exact steps of a search after a failure (500, 424), which ends where the upstream is rather to blame."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.errors import (
    Unresolved,
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamUnavailable,
)
from batching.isolation.bisection import most_calls
from batching.isolation.isolation import FEW, ISOLATION_FLOOR
from batching.isolation.search import KEPT_FOR_SUSPECTS, MOST_FAILURES
from batching.outcomes import Again
from tests.batching.isolation.bench import (
    BatcherBench,
    IsolationBench,
    PickyUpstream,
    Sign,
    errors,
    kinds,
    texts_of,
    verdict_on,
)
from tests.support.fakes import FakeClock, items_of, results_of

EIGHT = "abcdefgh"
RESULT, FAILED, AGAIN = "result", "UpstreamFailed", "Again"


def bench_of(*bad: str) -> IsolationBench:
    return IsolationBench(*bad, sign=Sign.FAILURE)


def a_batcher(clock: FakeClock, *bad: str) -> BatcherBench:
    upstream = PickyUpstream(clock, bad=bad, sign=Sign.FAILURE)
    return BatcherBench(clock, upstream, max_calls=10_000, max_queued_items=10_000)


# What a search finds


@pytest.mark.parametrize(
    ("bad", "told", "asked", "delivered"),
    [
        ("a", [FAILED, *[AGAIN] * 7], [4, 2, 1], []),
        ("c", [RESULT, RESULT, FAILED, *[AGAIN] * 5], [4, 2, 1], [(0, 2)]),
        ("d", [RESULT, RESULT, RESULT, FAILED, *[AGAIN] * 4], [4, 2, 1, 1], [(0, 2), (2, 3)]),
        ("e", [*[RESULT] * 4, FAILED, AGAIN, AGAIN, AGAIN], [4, 2, 1], [(0, 4)]),
        ("h", [*[RESULT] * 7, FAILED], [4, 2, 1, 1], [(0, 4), (4, 6), (6, 7)]),
        ("ah", [FAILED, *[AGAIN] * 7], [4, 2, 1], []),
    ],
)
def test_an_input_that_fails_is_found_like_one_that_is_refused(
    bad: str, told: list[str], asked: list[int], delivered: list[tuple[int, int]]
) -> None:
    bench = bench_of(*bad)
    batch = bench.batch(*EIGHT)
    outcomes = bench.send(batch)
    vectors = results_of(batch)
    assert kinds(outcomes) == told
    assert [each for each in outcomes.of if isinstance(each, bytes)] == vectors[: told.count(RESULT)]
    failures = [str(each) for each in outcomes.of if isinstance(each, UpstreamFailed)]
    assert failures == ["the upstream failed on 1 inputs"]
    assert isinstance(outcomes.error, UpstreamFailed)
    assert (outcomes.rejected, outcomes.judged) == (1, 8 - told.count(AGAIN))
    assert bench.upstream.sizes == [8, *asked]
    assert bench.delivered == [(start, vectors[start:stop]) for start, stop in delivered]
    bench.witness()
    assert bench.known(*EIGHT) == ["refused" if each is FAILED else "" for each in told]


def test_what_went_back_behind_a_bad_input_rides_with_others_and_was_not_judged() -> None:
    bench = bench_of("a")
    outcomes = bench.send(bench.batch(*EIGHT))
    goes_back = [each for each in outcomes.of if isinstance(each, Again)]
    assert {(each.retry_reason, each.alone, type(each.error)) for each in goes_back} == {(None, False, Unresolved)}


@pytest.mark.parametrize("size", range(2, FEW + 1))
def test_a_batch_of_few_is_not_searched_each_item_goes_by_itself(size: int) -> None:
    bench = bench_of("text 1")
    budget = bench.budget
    outcomes = bench.send(bench.batch(*texts_of(size)))
    assert outcomes.of == [Again(outcomes.error, "failed", alone=True)] * size  # type: ignore[arg-type]
    assert (bench.upstream.sizes, bench.budget) == ([size], budget)


def test_a_batch_of_few_whose_items_went_again_before_is_searched() -> None:
    bench = bench_of("b")
    batch = bench.batch(*"abcd")
    batch.retry_reason = "overloaded"
    assert kinds(bench.send(batch)) == [RESULT, FAILED, AGAIN, AGAIN]
    assert bench.upstream.sizes == [4, 2, 1, 1]


@pytest.mark.parametrize(("texts", "remembered"), [("c", ["refused"]), ("bc", ["", ""])])
def test_a_client_alone_gets_the_upstreams_words_without_a_search(texts: str, remembered: list[str]) -> None:
    bench = bench_of("c")
    batch = bench.batch(texts[0])
    for text in texts[1:]:
        batch.items += items_of(text)
        batch.parts[0] = batch.parts[0]._replace(stop=len(batch.items))
    outcomes = bench.send(batch)
    assert {str(error) for error in errors(outcomes)} == {"quotes another client"}
    assert bench.upstream.sizes == [len(texts)]
    bench.witness()
    assert bench.known(*texts) == remembered


def test_words_that_may_quote_another_client_are_told_to_none_that_shared_the_batch() -> None:
    bench = bench_of("c")
    told = {str(error) for error in errors(bench.send(bench.batch(*"abcdefgh")))}
    assert not any("quotes" in each for each in told)


# Failures in a row


def test_a_search_of_an_upstream_that_fails_everything_ends_after_a_few_calls() -> None:
    bench = bench_of()
    bench.upstream.is_broken = True
    outcomes = bench.send(bench.batch(*texts_of(32)))
    assert bench.upstream.sizes == [32, 16, 8, 4, 2]
    assert len(bench.upstream.batches) == MOST_FAILURES
    assert kinds(outcomes) == [AGAIN] * 32
    alone = [each.alone for each in outcomes.of if isinstance(each, Again)]
    assert alone == [True] * 2 + [False] * 30
    assert [type(error) for error in errors(outcomes)] == [UpstreamFailed] * 2 + [Unresolved] * 30


def test_the_next_failed_batch_is_not_searched_and_its_items_travel_by_themselves_once() -> None:
    bench = bench_of()
    bench.upstream.is_broken = True
    bench.send(bench.batch(*texts_of(32)))
    bench.upstream.batches.clear()
    budget = bench.budget
    outcomes = bench.send(bench.batch(*texts_of(8, "other")))
    assert bench.upstream.sizes == [8]
    assert outcomes.of == [Again(outcomes.error, "failed", alone=True)] * 8  # type: ignore[arg-type]
    assert (bench.budget, outcomes.judged) == (budget, 0)
    assert bench.known(*texts_of(8, "other")) == [""] * 8


def test_a_success_between_lets_the_next_be_searched() -> None:
    bench = bench_of("text 7")
    bench.upstream.is_broken = True
    bench.send(bench.batch(*texts_of(32, "other")))
    bench.upstream.is_broken = False
    bench.send(bench.batch("fine"))
    bench.upstream.batches.clear()
    outcomes = bench.send(bench.batch(*texts_of(8)))
    assert bench.upstream.sizes == [8, 4, 2, 1, 1]
    assert kinds(outcomes) == [*[RESULT] * 7, FAILED]


def test_successes_of_a_search_let_the_next_batch_be_searched() -> None:
    bench = bench_of("text 15", "other 15")
    for prefix in ("text", "other"):
        bench.upstream.batches.clear()
        outcomes = bench.send(bench.batch(*texts_of(32, prefix)))
        assert bench.upstream.sizes == [32, 16, 8, 4, 2, 1, 1]
        assert kinds(outcomes) == [RESULT] * 15 + [FAILED] + [AGAIN] * 16


def test_refusals_are_no_failures_in_a_row() -> None:
    """An upstream that refuses works: a search goes to its end however often it was refused."""
    bench = IsolationBench("text 0")
    outcomes = bench.send(bench.batch(*texts_of(32)))
    assert bench.upstream.sizes == [32, 16, 8, 4, 2, 1]
    assert kinds(outcomes)[0] == "UpstreamRejected"


@pytest.mark.parametrize(
    "error", [UpstreamUnavailable("503"), UpstreamGateway("502"), UpstreamBroke("reset")], ids=repr
)
def test_a_failure_that_is_no_inputs_ends_the_search_for_the_group_and_the_rest_travels_alone(
    error: UpstreamError,
) -> None:
    bench = bench_of("h")
    bench.upstream.accidents = {3: error}
    outcomes = bench.send(bench.batch(*EIGHT))
    assert bench.upstream.sizes == [8, 4, 2]
    assert kinds(outcomes) == [RESULT] * 4 + [type(error).__name__] * 2 + [AGAIN] * 2
    assert outcomes.of[6:] == [Again(outcomes.error, "failed", alone=True)] * 2  # type: ignore[arg-type]


# Bounds


def test_a_search_leaves_tokens_to_what_travels_alone() -> None:
    bench = bench_of("a")
    bench.leave(int(KEPT_FOR_SUSPECTS))
    outcomes = bench.send(bench.batch(*EIGHT))
    assert bench.upstream.sizes == [8]
    assert outcomes.of == [Again(outcomes.error, "failed", alone=True)] * 8  # type: ignore[arg-type]
    assert bench.budget == KEPT_FOR_SUSPECTS


def test_a_search_ends_when_the_deadline_of_the_batch_has_passed() -> None:
    bench = bench_of("a")
    bench.upstream.on_send = lambda: bench.clock.sleep(1.0)
    outcomes = bench.send(bench.batch(*texts_of(31), "a", deadline=2.5))
    assert bench.clock.now() == 3.0
    assert bench.upstream.sizes == [32, 16, 8]
    assert kinds(outcomes) == [RESULT] * 24 + [AGAIN] * 8


def test_no_search_begins_where_the_deadline_passed_while_others_were_searched() -> None:
    bench = bench_of("a")
    bench.upstream.on_send = lambda: bench.clock.sleep(5.0)
    bench.send(bench.batch(*EIGHT, deadline=2.5))
    assert bench.upstream.sizes == [8]


def test_a_search_stays_within_its_bound_however_many_inputs_fail() -> None:
    texts = texts_of(32)
    for step in range(2, 9):
        bench = bench_of(*texts[::step])
        bench.send(bench.batch(*texts))
        assert len(bench.upstream.batches) <= 1 + most_calls(32)
        assert bench.budget >= ISOLATION_FLOOR - most_calls(32)


# Through the queue


@pytest.mark.parametrize("bad", range(32))
def test_one_text_that_fails_among_31_good_ones_fails_by_itself(clock: FakeClock, bad: int) -> None:
    texts = texts_of(32)
    bench = a_batcher(clock, texts[bad])
    calls = bench.submit_each(texts)
    bench.run()
    verdicts = [verdict_on(call) for call in calls]
    assert [number for number, verdict in enumerate(verdicts) if verdict] == [bad]
    assert isinstance(verdicts[bad], UpstreamFailed)
    assert len(bench.upstream.batches) <= 14


@settings(derandomize=True, max_examples=100, deadline=None)
@given(bad=st.sets(st.integers(0, 31), max_size=16))
def test_whichever_texts_fail_each_client_is_told_of_its_own(bad: set[int]) -> None:
    clock = FakeClock()
    texts = texts_of(32)
    bench = a_batcher(clock, *[texts[position] for position in bad])
    calls = bench.submit_each(texts)
    bench.run()
    assert {position for position, call in enumerate(calls) if verdict_on(call)} == bad
    assert all(isinstance(calls[position].error, UpstreamFailed) for position in bad)
    assert max(bench.searches(), default=0) <= most_calls(32)
    assert len(bench.upstream.batches) <= 4 * len(bad) + 16


@settings(derandomize=True, max_examples=100, deadline=None)
@given(bad=st.sets(st.integers(0, 31), max_size=6), size=st.integers(1, 7))
def test_a_call_of_several_texts_fails_for_its_own_texts_only(bad: set[int], size: int) -> None:
    clock = FakeClock()
    texts = texts_of(32)
    bench = a_batcher(clock, *[texts[position] for position in bad])
    calls = {first: bench.submit(*texts[first : first + size]) for first in range(0, 32, size)}
    bench.run()
    expected = {position - position % size for position in bad}
    assert {first for first, call in calls.items() if verdict_on(call)} == expected


@pytest.mark.parametrize("clients", [2, 8, 32, 100])
def test_an_upstream_that_fails_everything_is_asked_about_each_input_at_most_once_more(
    clock: FakeClock, clients: int
) -> None:
    """Here no breaker stops it. With one the upstream is ejected long before."""
    bench = a_batcher(clock)
    bench.upstream.is_broken = True
    calls = bench.submit_each(texts_of(clients))
    bench.run()
    # Without a token left an input is not asked about again.
    assert {type(verdict_on(call)) for call in calls} <= {UpstreamFailed, Unresolved}
    by_itself = [batch.items[0] for batch in bench.upstream.batches if batch.is_suspect]
    assert len(by_itself) == len(set(by_itself)) <= ISOLATION_FLOOR
    ordinary = [batch for batch in bench.ordinary() if not batch.is_suspect]
    assert len(ordinary) + sum(bench.searches()) <= clients / 2 + MOST_FAILURES


def test_a_text_that_failed_is_not_sent_again_for_a_moment_and_then_it_is(clock: FakeClock) -> None:
    bench = a_batcher(clock, "bad")
    calls = bench.submit_each(["bad", "good"])
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [UpstreamFailed, type(None)]
    before = len(bench.upstream.batches)
    with pytest.raises(UpstreamFailed):
        bench.submit("bad")
    assert len(bench.upstream.batches) == before
    bench.upstream.bad.clear()
    clock.sleep(5.0)
    assert len(bench.serve("bad")) == 1

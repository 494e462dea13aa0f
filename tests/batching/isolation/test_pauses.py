"""Where the upstream has asked for a pause, items go back to the queue instead of waiting on a batcher thread."""

from __future__ import annotations

import pytest

from batching.errors import Unresolved, UpstreamOverloaded, UpstreamPaused, UpstreamRejected
from batching.outcomes import Again, Outcomes
from tests.batching.isolation.bench import BatcherBench, IsolationBench, PickyUpstream, kinds, texts_of, verdict_on
from tests.support.fakes import FakeClock, results_of

ANSWER = UpstreamOverloaded("too many requests", retry_after=2, pause=2.0)
HELD = UpstreamPaused(ANSWER)
TO_RETRY = UpstreamPaused(ANSWER, "overloaded")


# One batch


@pytest.mark.parametrize("retry_reason", [None, "overloaded"])
@pytest.mark.parametrize("size", [1, 4])
def test_all_items_of_a_batch_that_met_a_pause_go_back_to_the_queue(size: int, retry_reason: str | None) -> None:
    bench = IsolationBench()
    bench.leave(20)
    bench.upstream.accidents = {1: UpstreamPaused(ANSWER, retry_reason)}
    texts = texts_of(size)
    outcomes = bench.send(bench.batch(*texts))
    assert all(each.error is ANSWER for each in outcomes.of)  # type: ignore[union-attr]
    assert outcomes == Outcomes([Again(ANSWER, retry_reason)] * size, ANSWER, rejected=0, judged=0)
    assert (bench.upstream.sizes, bench.delivered, bench.known(*texts)) == ([size], [], [""] * size)
    assert bench.budget == 20


@pytest.mark.parametrize("retry_reason", [None, "overloaded"])
def test_a_suspect_that_met_a_pause_goes_back_with_its_token_and_stays_suspected(retry_reason: str | None) -> None:
    bench = IsolationBench()
    bench.suspect("doubtful")
    bench.leave(1)
    bench.upstream.accidents = {1: UpstreamPaused(ANSWER, retry_reason)}
    outcomes = bench.send(bench.suspect_batch("doubtful"))
    assert outcomes.of == [Again(ANSWER, retry_reason)]
    assert (bench.budget, bench.known("doubtful")) == (1, ["suspect"])
    batch = bench.suspect_batch("doubtful")
    assert bench.send(batch).of == results_of(batch)


@pytest.mark.parametrize("retry_reason", [None, "overloaded"])
def test_a_pause_ends_a_search_and_the_group_that_was_asked_about_goes_back(retry_reason: str | None) -> None:
    bench = IsolationBench("d")
    bench.upstream.accidents = {3: UpstreamPaused(ANSWER, retry_reason)}
    batch = bench.batch(*"abcd")
    outcomes = bench.send(batch)
    assert bench.upstream.sizes == [4, 2, 1]
    assert kinds(outcomes) == ["result", "result", "Again", "Unresolved"]
    assert outcomes.of[:2] == results_of(batch)[:2]
    assert outcomes.of[2] == Again(ANSWER, retry_reason)
    assert bench.known(*"abcd") == ["", "", "", "suspect"]
    assert isinstance(outcomes.error, UpstreamRejected)


def test_a_pause_ends_a_search_that_has_other_groups_to_ask_about() -> None:
    bench = IsolationBench("a")
    bench.upstream.accidents = {1: UpstreamRejected("too much", status=413), 3: HELD}
    outcomes = bench.send(bench.batch(*"abcd"))
    assert bench.upstream.sizes == [4, 2, 2]
    assert kinds(outcomes) == ["Unresolved", "Unresolved", "Again", "Again"]


def test_items_left_in_doubt_by_a_pause_do_not_count_as_refused() -> None:
    bench = IsolationBench("d")
    bench.upstream.accidents = {2: HELD}
    outcomes = bench.send(bench.batch(*"abcdefgh"))
    assert kinds(outcomes) == ["Again"] * 4 + ["Unresolved"] * 4
    assert (outcomes.rejected, outcomes.judged) == (1, 4)  # one is, or the batch would not have been refused


# Through the queue


def bench_of(clock: FakeClock, *accidents: UpstreamPaused | None, bad: tuple[str, ...] = ()) -> BatcherBench:
    """Return a bench whose upstream calls meet these pauses, the first call the first of them, and so on."""
    bench = BatcherBench(clock, PickyUpstream(clock, bad=bad))
    bench.upstream.accidents = {number: each for number, each in enumerate(accidents, start=1) if each is not None}
    return bench


@pytest.mark.parametrize(
    ("accidents", "is_answered"),
    [
        ([TO_RETRY], True),
        ([TO_RETRY, TO_RETRY], False),
        ([HELD] * 20, True),
        ([HELD, TO_RETRY, HELD, HELD], True),
        ([HELD, TO_RETRY, HELD, TO_RETRY], False),
    ],
    ids=["retried", "retried twice", "held", "retried and held", "retried twice and held"],
)
def test_a_call_goes_back_once_to_be_retried_and_as_often_as_it_is_held(
    clock: FakeClock, accidents: list[UpstreamPaused], is_answered: bool
) -> None:
    bench = bench_of(clock, *accidents)
    calls = [bench.submit("a", "b"), bench.submit("c")]
    bench.run()
    assert [verdict_on(call) for call in calls] == [None if is_answered else ANSWER] * 2
    assert bench.upstream.sizes == [3] * (len(accidents) + is_answered)


def test_a_batch_tells_why_it_is_sent_again(clock: FakeClock) -> None:
    bench = bench_of(clock, HELD, TO_RETRY, HELD)
    bench.submit("a")
    bench.run()
    assert [batch.retry_reason for batch in bench.upstream.batches] == [None, None, "overloaded", "overloaded"]


def test_a_call_goes_back_as_often_as_searches_leave_it_untested(clock: FakeClock) -> None:
    bad = ["bad 0", "bad 1", "bad 2"]
    bench = bench_of(clock, bad=tuple(bad))
    calls = bench.submit_each([*bad, "good"])
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [UpstreamRejected] * 3 + [type(None)]
    assert sum(calls[3].items[0] in batch.items for batch in bench.ordinary()) == 4


def test_a_call_that_was_untested_may_still_be_retried_and_one_that_was_retried_go_untested(clock: FakeClock) -> None:
    # The first batch is searched in two calls, the second is sent again, the third is searched.
    bench = bench_of(clock, None, None, None, TO_RETRY, bad=("bad 0", "bad 1"))
    calls = bench.submit_each(["bad 0", "good 0", "bad 1", "good 1"])
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [UpstreamRejected, type(None)] * 2


@pytest.mark.parametrize("pause", [HELD, TO_RETRY], ids=["held", "retried"])
def test_the_clients_of_a_search_that_met_a_pause_are_served_by_a_later_batch_or_told_to_come_again(
    clock: FakeClock, pause: UpstreamPaused
) -> None:
    bench = bench_of(clock, None, pause, bad=("text 7",))
    calls = bench.submit_each(texts_of(8))
    bench.run()
    assert [type(verdict_on(call)) for call in calls] == [type(None)] * 4 + [Unresolved] * 4
    again = [bench.submit(*texts_of(7)), bench.submit("text 7")]
    bench.run()
    assert [type(verdict_on(call)) for call in again] == [type(None), UpstreamRejected]


def test_a_suspect_is_held_as_often_as_need_be(clock: FakeClock) -> None:
    bench = bench_of(clock, *[HELD] * 100)
    bench.suspect("doubtful")
    call = bench.submit("doubtful")
    bench.run()
    assert verdict_on(call) is None
    assert bench.upstream.sizes == [1] * 101

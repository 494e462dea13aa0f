"""An answer in which some rows are no vectors: mates get theirs at once, each bad row is asked for by itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.errors import UpstreamFailed, UpstreamOverloaded, UpstreamPaused, UpstreamRejected, UpstreamUnavailable
from batching.isolation.isolation import ISOLATION_FLOOR
from batching.isolation.search import KEPT_FOR_SUSPECTS, MOST_FAILURES
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

RESULT, FAILED, AGAIN = "result", "UpstreamFailed", "Again"


def bench_of(*bad: str) -> IsolationBench:
    return IsolationBench(*bad, sign=Sign.NO_VECTOR)


@pytest.mark.parametrize(
    ("bad", "delivered"),
    [
        ("a", [(1, 3)]),
        ("b", [(0, 1), (2, 2)]),
        ("d", [(0, 3)]),
        ("ac", [(1, 1), (3, 1)]),
        ("bc", [(0, 1), (3, 1)]),
        ("abc", [(3, 1)]),
    ],
)
def test_the_others_get_their_vectors_and_a_row_that_is_bad_twice_is_the_inputs(
    bad: str, delivered: list[tuple[int, int]]
) -> None:
    bench = bench_of(*bad)
    batch = bench.batch(*"abcd")
    outcomes = bench.send(batch)
    vectors = results_of(batch)
    assert kinds(outcomes) == [FAILED if each in bad else RESULT for each in "abcd"]
    assert bench.upstream.sizes == [4] + [1] * len(bad)
    assert [batch.items for batch in bench.upstream.batches[1:]] == [items_of(each) for each in bad]
    assert bench.delivered == [(first, vectors[first : first + count]) for first, count in delivered]
    assert (outcomes.rejected, outcomes.judged) == (len(bad), 4)
    assert bench.known(*"abcd") == ["refused" if each in bad else "" for each in "abcd"]


def test_the_others_have_their_vectors_before_any_row_is_asked_for() -> None:
    bench = bench_of("b")
    seen: list[int] = []
    bench.upstream.on_send = lambda: seen.append(len(bench.delivered))
    bench.send(bench.batch(*"abcd"))
    assert seen == [0, 2]


def test_an_input_that_has_a_vector_by_itself_gets_it_and_nothing_is_held_against_it() -> None:
    bench = bench_of()
    bench.upstream.bad_beside_others = set(items_of("b"))
    batch = bench.batch(*"abcd")
    outcomes = bench.send(batch)
    assert outcomes.of == results_of(batch)
    assert bench.upstream.sizes == [4, 1]
    assert bench.delivered[-1] == (1, results_of(batch)[1:2])
    assert bench.known(*"abcd") == [""] * 4


def test_an_input_that_is_refused_by_itself_is_told_so() -> None:
    bench = bench_of()
    bench.upstream.bad_beside_others = set(items_of("b"))
    bench.upstream.accidents = {2: UpstreamRejected("too long", status=422)}
    outcomes = bench.send(bench.batch(*"abcd"))
    assert [str(error) for error in errors(outcomes)] == ["too long"]
    assert bench.known(*"abcd") == ["", "refused", "", ""]


def test_without_a_token_no_row_is_asked_for_and_its_client_is_told_that_there_is_no_vector() -> None:
    bench = bench_of("b", "c")
    bench.leave(int(KEPT_FOR_SUSPECTS))
    outcomes = bench.send(bench.batch(*"abcd"))  # which earns one
    assert bench.upstream.sizes == [4, 1]
    assert kinds(outcomes) == [RESULT, FAILED, FAILED, RESULT]
    assert [str(error) for error in errors(outcomes)][1].startswith("the upstream gave no vector for this input")
    assert bench.budget == KEPT_FOR_SUSPECTS
    assert bench.known(*"abcd") == ["", "refused", "", ""]


def test_more_bad_rows_than_a_search_may_ask_for_cost_no_more_calls() -> None:
    texts = texts_of(32)
    bench = bench_of(*texts[:31])
    outcomes = bench.send(bench.batch(*texts))
    assert kinds(outcomes) == [FAILED] * 31 + [RESULT]
    assert len(bench.upstream.batches) <= 1 + 14
    assert bench.budget >= ISOLATION_FLOOR - 14


def test_no_row_is_asked_for_when_the_deadline_of_the_batch_has_passed() -> None:
    bench = bench_of("b")
    bench.upstream.on_send = lambda: bench.clock.sleep(1.0)
    outcomes = bench.send(bench.batch(*"abcd", deadline=0.5))
    assert (kinds(outcomes), bench.upstream.sizes) == ([RESULT, FAILED, RESULT, RESULT], [4])


@pytest.mark.parametrize(
    ("accident", "told"),
    [
        (UpstreamUnavailable("503"), "UpstreamUnavailable"),
        (UpstreamPaused(UpstreamOverloaded("busy", pause=2.0)), AGAIN),
    ],
    ids=["unavailable", "paused"],
)
def test_trouble_of_the_upstream_ends_the_asking(accident: UpstreamUnavailable | UpstreamPaused, told: str) -> None:
    bench = bench_of("b", "c")
    bench.upstream.accidents = {2: accident}
    outcomes = bench.send(bench.batch(*"abcd"))
    assert kinds(outcomes) == [RESULT, told, FAILED, RESULT]
    assert bench.upstream.sizes == [4, 1]


def test_rows_of_one_client_are_asked_for_too(clock: FakeClock) -> None:
    bench = BatcherBench(clock, PickyUpstream(clock, sign=Sign.NO_VECTOR))
    bench.upstream.bad_beside_others = set(items_of("b"))
    call = bench.submit("a", "b", "c")
    bench.run()
    assert verdict_on(call) is None
    assert bench.upstream.sizes == [3, 1]


def test_a_batch_of_which_no_row_is_a_vector_is_searched_like_one_that_failed() -> None:
    bench = bench_of(*"abcdefgh")
    outcomes = bench.send(bench.batch(*"abcdefgh"))
    assert bench.upstream.sizes == [8, 4, 2, 1]
    assert kinds(outcomes) == [FAILED] + [AGAIN] * 7


def test_a_group_of_a_search_may_have_bad_rows_too() -> None:
    bench = bench_of("b", "c", "d")
    bench.upstream.accidents = {1: UpstreamFailed("all of it")}
    batch = bench.batch(*"abcdefgh")
    outcomes = bench.send(batch)
    vectors = results_of(batch)
    assert kinds(outcomes) == [RESULT, FAILED, FAILED, FAILED] + [RESULT] * 4
    assert [each for each in outcomes.of if isinstance(each, bytes)] == [vectors[0], *vectors[4:]]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    bad=st.sets(st.integers(0, 31), max_size=12),
    beside=st.sets(st.integers(0, 31), max_size=12),
    size=st.integers(1, 5),
)
def test_each_client_gets_its_vectors_or_is_told_of_its_own_input(bad: set[int], beside: set[int], size: int) -> None:
    clock = FakeClock()
    texts = texts_of(32)
    upstream = PickyUpstream(clock, bad=[texts[position] for position in bad], sign=Sign.NO_VECTOR)
    upstream.bad_beside_others = set(items_of(*(texts[position] for position in beside)))
    bench = BatcherBench(clock, upstream)
    calls = {first: bench.submit(*texts[first : first + size]) for first in range(0, 32, size)}
    bench.run()
    told = {first for first, call in calls.items() if verdict_on(call)}
    certain, possible = ({position - position % size for position in each} for each in (bad, bad | beside))
    assert certain <= told <= possible
    if len(bad) < MOST_FAILURES:  # else the upstream might be to blame, and the rest is not asked for
        assert told == certain

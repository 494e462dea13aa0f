"""The exact steps of one search: which group is asked about, what each client is told, and what is remembered."""

from __future__ import annotations

import pytest

from batching import Batch
from batching.call import Part
from batching.errors import Unresolved, UpstreamError, UpstreamProtocolError, UpstreamRejected
from batching.isolation.bisection import most_calls
from batching.isolation.isolation import ISOLATION_FLOOR
from batching.isolation.search import KEPT_FOR_SUSPECTS
from batching.outcomes import Outcomes
from tests.batching.isolation.bench import IsolationBench, errors, kinds, texts_of
from tests.support.fakes import KEY, call_of, results_of

TOO_LARGE = UpstreamRejected("too much", status=413)
TROUBLE = UpstreamError("500")
RESULT, REFUSED, AGAIN, IN_DOUBT = "result", "UpstreamRejected", "Again", "Unresolved"


def one_call(*texts: str) -> Batch:
    """Return a batch in which all texts are one client's."""
    batch = Batch(KEY, "full", 0.0)
    batch.add(Part(call_of(*texts), 0, len(texts)))
    return batch


# Batches that are not searched


def test_a_batch_that_is_taken_has_a_result_for_each_item() -> None:
    bench = IsolationBench()
    batch = bench.batch("a", "b")
    outcomes = bench.send(batch)
    assert outcomes == Outcomes.results(results_of(batch))
    assert (bench.upstream.sizes, bench.delivered) == ([2], [])


def test_a_client_alone_is_not_searched_for_where_its_items_came_back_in_two_parts() -> None:
    bench = IsolationBench("c")
    call = call_of("a", "b", "c", "d")
    batch = Batch(KEY, "full", 0.0)
    batch.add(Part(call, 0, 1))
    batch.add(Part(call, 2, 4))
    assert kinds(bench.send(batch)) == [REFUSED] * 3
    assert bench.upstream.sizes == [3]


@pytest.mark.parametrize(("texts", "remembered"), [("c", ["refused"]), ("bc", ["", ""]), ("abc", ["", "", ""])])
def test_a_client_alone_gets_the_upstreams_words_and_only_a_text_by_itself_is_remembered(
    texts: str, remembered: list[str]
) -> None:
    bench = IsolationBench("c")
    outcomes = bench.send(one_call(*texts))
    assert kinds(outcomes) == [REFUSED] * len(texts)
    assert {str(error) for error in errors(outcomes)} == {"quotes another client"}
    assert (outcomes.rejected, outcomes.judged) == (1, len(texts))
    bench.witness()
    assert bench.known(*texts) == remembered
    assert bench.upstream.sizes == [len(texts)]


@pytest.mark.parametrize("size", [1, 2])
def test_a_failure_of_the_whole_batch_is_raised_and_nothing_is_remembered(size: int) -> None:
    bench = IsolationBench()
    bench.upstream.accidents = {1: TROUBLE}
    texts = texts_of(size)
    with pytest.raises(UpstreamError) as raised:
        bench.send(bench.batch(*texts))
    assert raised.value is TROUBLE
    assert (bench.known(*texts), bench.upstream.sizes) == ([""] * size, [size])


@pytest.mark.parametrize("missing", [1, 2])
def test_too_few_results_for_a_batch_give_no_client_a_vector(missing: int) -> None:
    bench = IsolationBench()
    bench.upstream.missing = missing
    with pytest.raises(UpstreamProtocolError, match=f"{2 - missing} results came for 2 inputs"):
        bench.send(bench.batch("a", "b"))


# What a search finds


@pytest.mark.parametrize(
    ("bad", "told", "asked", "delivered"),
    [
        ("a", [REFUSED, AGAIN, AGAIN, AGAIN], [2, 1], []),
        ("b", [RESULT, REFUSED, AGAIN, AGAIN], [2, 1, 1], [(0, 1)]),
        ("c", [RESULT, RESULT, REFUSED, AGAIN], [2, 1], [(0, 2)]),
        # Found by elimination, an input is asked about for its own verdict.
        ("d", [RESULT, RESULT, RESULT, REFUSED], [2, 1, 1], [(0, 2), (2, 3)]),
        # The input behind the first bad one was not tested.
        ("ad", [REFUSED, AGAIN, AGAIN, AGAIN], [2, 1], []),
    ],
)
def test_bad_inputs_get_their_verdict_and_good_ones_their_vectors_early(
    bad: str, told: list[str], asked: list[int], delivered: list[tuple[int, int]]
) -> None:
    bench = IsolationBench(*bad)
    batch = bench.batch(*"abcd")
    outcomes = bench.send(batch)
    vectors = results_of(batch)
    assert kinds(outcomes) == told
    assert [each for each in outcomes.of if isinstance(each, bytes)] == vectors[: told.count(RESULT)]
    assert {str(each) for each in outcomes.of if isinstance(each, UpstreamRejected)} == {"too long"}
    assert isinstance(outcomes.error, UpstreamRejected)
    assert str(outcomes.error) == "the upstream refused this batch of 4 inputs"
    assert (outcomes.rejected, outcomes.judged) == (1, 4 - told.count(AGAIN))
    assert bench.upstream.sizes == [4, *asked]
    assert bench.delivered == [(start, vectors[start:stop]) for start, stop in delivered]
    bench.witness()
    assert bench.known(*"abcd") == ["refused" if each is REFUSED else "" for each in told]


def test_untested_items_are_returned_and_their_clients_would_be_told_to_come_again() -> None:
    bench = IsolationBench("a")
    outcomes = bench.send(bench.batch("a", "b", "c", "d"))
    told = list(errors(outcomes))[1:]
    assert [type(error) for error in told] == [Unresolved] * 3
    assert {error.retry_after for error in told} == {1}
    assert {each.retry_reason for each in outcomes.of[1:]} == {None}  # type: ignore[union-attr]


def test_the_items_of_a_call_whose_rest_is_in_a_later_batch_are_asked_about() -> None:
    bench = IsolationBench("a")
    batch = bench.batch("a", "b")
    batch.add(Part(call_of("c", "d", "in the next batch"), 0, 2))
    outcomes = bench.send(batch)
    assert kinds(outcomes) == [REFUSED, AGAIN, RESULT, RESULT]
    assert outcomes.of[2:] == results_of(batch)[2:]
    assert bench.upstream.sizes == [4, 2, 2, 1]


def test_the_last_items_of_a_call_are_returned() -> None:
    bench = IsolationBench("a")
    batch = bench.batch("a", "b")
    batch.add(Part(call_of("in the batch before", "c", "d"), 1, 3))
    assert kinds(bench.send(batch)) == [REFUSED, AGAIN, AGAIN, AGAIN]
    assert bench.upstream.sizes == [4, 2, 1]


def test_no_item_returns_from_a_batch_that_may_only_have_been_too_large() -> None:
    bench = IsolationBench("a")
    batch = bench.batch("a", "b", "c", "d")
    bench.upstream.accidents = {1: TOO_LARGE}
    outcomes = bench.send(batch)
    assert kinds(outcomes) == [REFUSED, RESULT, RESULT, RESULT]
    assert outcomes.of[1:] == results_of(batch)[1:]


def test_a_batch_that_was_only_too_large_counts_as_one_refusal_so_that_batches_become_smaller() -> None:
    bench = IsolationBench(most=2)
    batch = bench.batch("a", "b", "c", "d")
    outcomes = bench.send(batch)
    assert outcomes.of == results_of(batch)
    assert (str(outcomes.error), outcomes.rejected, outcomes.judged) == ("too much at once", 1, 4)


# Searches that end early


@pytest.mark.parametrize(
    ("bad", "calls", "told"),
    [
        ("a", 0, [IN_DOUBT, IN_DOUBT, IN_DOUBT, IN_DOUBT]),
        ("a", 1, [IN_DOUBT, IN_DOUBT, AGAIN, AGAIN]),
        ("a", 2, [REFUSED, AGAIN, AGAIN, AGAIN]),
        ("c", 1, [RESULT, RESULT, IN_DOUBT, IN_DOUBT]),
        ("d", 2, [RESULT, RESULT, RESULT, IN_DOUBT]),
        ("d", 3, [RESULT, RESULT, RESULT, REFUSED]),
    ],
)
def test_a_search_whose_budget_ends_keeps_what_it_found_and_the_rest_is_suspected(
    bad: str, calls: int, told: list[str]
) -> None:
    bench = IsolationBench(bad)
    bench.leave(int(KEPT_FOR_SUSPECTS) + calls - 1)  # the refused batch itself earns one
    batch = bench.batch(*"abcd")
    outcomes = bench.send(batch)
    assert kinds(outcomes) == told
    assert [each for each in outcomes.of if isinstance(each, bytes)] == results_of(batch)[: told.count(RESULT)]
    assert {error.retry_after for error in errors(outcomes) if isinstance(error, Unresolved)} <= {1}
    bench.witness()
    assert bench.known(*"abcd") == [{IN_DOUBT: "suspect", REFUSED: "refused"}.get(each, "") for each in told]
    assert len(bench.upstream.batches) == 1 + calls
    assert bench.budget == KEPT_FOR_SUSPECTS


@pytest.mark.parametrize(
    ("bad", "told", "asked"),
    [
        ("d", [RESULT, RESULT, "UpstreamError", IN_DOUBT], [2, 1]),
        ("a", ["UpstreamError", IN_DOUBT, AGAIN, AGAIN], [2, 1]),
    ],
)
def test_a_failure_ends_the_search_and_is_told_to_the_clients_of_the_group_that_was_asked_about(
    bad: str, told: list[str], asked: list[int]
) -> None:
    bench = IsolationBench(bad)
    bench.upstream.accidents = {3: TROUBLE}
    batch = bench.batch(*"abcd")
    outcomes = bench.send(batch)
    assert kinds(outcomes) == told
    assert outcomes.of[told.index("UpstreamError")] is TROUBLE
    assert [each for each in outcomes.of if isinstance(each, bytes)] == results_of(batch)[: told.count(RESULT)]
    assert (outcomes.rejected, outcomes.judged) == (1, 4 - told.count(AGAIN))
    assert bench.known(*"abcd") == ["suspect" if each is IN_DOUBT else "" for each in told]
    assert bench.upstream.sizes == [4, *asked]


def test_a_failure_ends_a_search_that_has_other_groups_to_ask_about() -> None:
    bench = IsolationBench("a")
    bench.upstream.accidents = {1: TOO_LARGE, 3: TROUBLE}
    outcomes = bench.send(bench.batch("a", "b", "c", "d"))
    assert bench.upstream.sizes == [4, 2, 2]
    assert kinds(outcomes) == [IN_DOUBT, IN_DOUBT, "UpstreamError", "UpstreamError"]


def test_a_search_ends_at_its_bound_though_the_budget_would_allow_more() -> None:
    texts = texts_of(32)
    bench = IsolationBench(*texts)
    bench.upstream.accidents = {1: TOO_LARGE}  # no item may return
    outcomes = bench.send(bench.batch(*texts))
    assert len(bench.upstream.batches) == 1 + most_calls(32)
    assert bench.budget == ISOLATION_FLOOR - most_calls(32)
    assert bench.known(*texts) == ["suspect"] * 32
    assert (outcomes.rejected, outcomes.judged) == (32, 32)


def test_too_few_results_for_a_group_give_no_client_a_vector() -> None:
    bench = IsolationBench("d")
    bench.upstream.missing = 1
    with pytest.raises(UpstreamProtocolError, match="1 results came for 2 inputs"):
        bench.send(bench.batch("a", "b", "c", "d"))


# Calls before they are queued


def test_a_call_with_a_refused_text_is_refused_and_one_with_suspects_is_told_which_they_are() -> None:
    bench = IsolationBench("bad")
    bench.send(bench.batch("bad"))
    bench.witness()
    bench.suspect("suspect")
    refusals = []
    for texts in (["bad"], ["suspect", "a", "bad"]):
        with pytest.raises(UpstreamRejected, match="too long") as raised:
            bench.isolation.admit(call_of(*texts))
        refusals.append(raised.value)
    assert refusals[0] is not refusals[1]  # each thread raises its own
    for texts, suspects in ((["a", "suspect", "b", "suspect"], {1, 3}), (["suspect"], {0}), (["a"], set())):
        call = call_of(*texts)
        bench.isolation.admit(call)
        assert (call.suspects, call.key) == (suspects, KEY)

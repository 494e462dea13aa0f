"""What became of a batch is said of each of its items, in order."""

from __future__ import annotations

import pytest

from batching import Answer, Outcomes
from batching.errors import UpstreamOverloaded
from batching.outcomes import UNKNOWN, Again, Source

ERROR = UpstreamOverloaded("busy")


def test_a_batch_that_was_taken_has_its_results_and_all_its_items_were_judged() -> None:
    results = [b"[1]", b"[2]"]
    outcomes = Outcomes.results(results)
    assert outcomes.of is results  # on every batch's path: not copied
    assert (outcomes.error, outcomes.rejected, outcomes.judged) == (None, 0, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_that_failed_says_nothing_about_its_items(count: int) -> None:
    assert Outcomes.failed(ERROR, count) == Outcomes([ERROR] * count, ERROR, rejected=0, judged=0)


@pytest.mark.parametrize("retry_reason", [None, "overloaded"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_that_goes_back_says_nothing_about_its_items(count: int, retry_reason: str | None) -> None:
    again = Again(ERROR, retry_reason, alone=False)
    assert Outcomes.again(ERROR, count, retry_reason) == Outcomes([again] * count, ERROR, rejected=0, judged=0)


def test_outcomes_of_which_no_more_is_said_judge_no_item() -> None:
    outcomes = Outcomes([b"[1]"])
    assert (outcomes.error, outcomes.rejected, outcomes.judged, outcomes.source) == (None, 0, 0, UNKNOWN)


def test_an_item_that_was_not_judged_goes_again_for_no_reason_of_a_retry() -> None:
    assert Again(ERROR).retry_reason is None


def test_an_item_that_goes_again_rides_with_others_unless_it_is_said_to_travel_by_itself() -> None:
    assert not Again(ERROR).alone
    assert Again(ERROR, alone=True).alone


def test_an_answer_need_not_be_vectors() -> None:
    assert Answer([b"0.9"]).dimension is None


def test_an_answer_of_which_no_more_is_said_has_no_bad_row_and_comes_from_an_unknown_model() -> None:
    answer = Answer([b"[1]"])
    assert not answer.bad
    assert answer.source == UNKNOWN


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (UNKNOWN, UNKNOWN, False),
        (Source("a"), UNKNOWN, False),
        (Source("a"), Source("a"), False),
        (Source("a"), Source("b"), True),
        (Source(None, 4), Source(None, 8), True),
        (Source("a", 4), Source("a", 8), True),
        (Source("a", 4), Source("b", 4), True),
        (Source("a", 4), Source("a", 4), False),
        # What one of them does not tell decides nothing.
        (Source("a", None), Source(None, 8), False),
        (Source("a", 4), Source("a", None), False),
        (Source(None, 0), Source(None, 4), True),
    ],
    ids=str,
)
def test_two_models_differ_where_something_that_both_tell_does(one: Source, other: Source, differ: bool) -> None:
    assert one.differs_from(other) is differ
    assert other.differs_from(one) is differ

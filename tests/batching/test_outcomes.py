"""What became of a batch is said of each of its items, in order."""

from __future__ import annotations

import pytest

from batching import Answer, Outcomes
from batching.errors import UpstreamOverloaded
from batching.outcomes import Again

ERROR = UpstreamOverloaded("busy")


def test_a_batch_that_was_taken_has_its_results_and_all_its_items_were_judged() -> None:
    results = [b"[1]", b"[2]"]
    outcomes = Outcomes.results(results)
    assert outcomes.of is results  # on every batch's path: not copied
    assert (outcomes.error, outcomes.rejected, outcomes.judged) == (None, 0, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_that_failed_says_nothing_about_its_items(count: int) -> None:
    assert Outcomes.failed(ERROR, count) == ([ERROR] * count, ERROR, 0, 0)


@pytest.mark.parametrize("retry_reason", [None, "overloaded"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_that_goes_back_says_nothing_about_its_items(count: int, retry_reason: str | None) -> None:
    assert Outcomes.again(ERROR, count, retry_reason) == ([Again(ERROR, retry_reason)] * count, ERROR, 0, 0)


def test_outcomes_of_which_no_more_is_said_judge_no_item() -> None:
    assert Outcomes([b"[1]"]) == ([b"[1]"], None, 0, 0)


def test_an_item_that_was_not_judged_goes_again_for_no_reason_of_a_retry() -> None:
    assert Again(ERROR).retry_reason is None


def test_an_answer_need_not_be_vectors() -> None:
    assert Answer([b"0.9"]).dimension is None

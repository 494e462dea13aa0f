"""Each failure says where it may be repeated and what its batch ends with; repeats stay within their budgets."""

from __future__ import annotations

import pytest

from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamPaused,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from upstream.retries import RETRY_FLOOR, RETRY_SHARE, Retries, Where

BROKE = UpstreamBroke("reset")
GATEWAY = UpstreamGateway("502")
DOWN = UpstreamUnavailable("refused")
BUSY = UpstreamOverloaded("429", pause=0.0)
THREW = UpstreamFailed("500")
LATE = UpstreamTimeout("late")
WRONG_KEY = UpstreamMisconfigured("401")
REFUSAL = UpstreamRejected("422", status=422)
NONSENSE = UpstreamProtocolError("nonsense")

NOWHERE, ELSEWHERE, ANYWHERE = Where.NOWHERE, Where.ELSEWHERE, Where.ANYWHERE


@pytest.mark.parametrize(
    ("error", "first", "again", "first_where_it_waits"),
    [
        (BROKE, ANYWHERE, NOWHERE, ANYWHERE),
        (GATEWAY, ANYWHERE, NOWHERE, ANYWHERE),
        (BUSY, ANYWHERE, NOWHERE, ANYWHERE),
        (DOWN, ANYWHERE, NOWHERE, ELSEWHERE),
        # The same upstream would answer the same: another is asked, also for what was sent again before.
        (THREW, ELSEWHERE, ELSEWHERE, ELSEWHERE),
        (LATE, ELSEWHERE, ELSEWHERE, ELSEWHERE),
        (WRONG_KEY, ELSEWHERE, ELSEWHERE, ELSEWHERE),
        (REFUSAL, NOWHERE, NOWHERE, NOWHERE),
        (NONSENSE, NOWHERE, NOWHERE, NOWHERE),
        (UpstreamError("599"), NOWHERE, NOWHERE, NOWHERE),
    ],
    ids=repr,
)
def test_a_call_that_failed_may_be_repeated_there(
    error: UpstreamError, first: Where, again: Where, first_where_it_waits: Where
) -> None:
    assert Retries(waits=False).where(error, is_retry=False) is first
    assert Retries(waits=False).where(error, is_retry=True) is again
    assert Retries(waits=True).where(error, is_retry=False) is first_where_it_waits


@pytest.mark.parametrize("error", [BROKE, GATEWAY, BUSY, DOWN, THREW, LATE, WRONG_KEY], ids=repr)
def test_repeats_are_a_tenth_of_the_calls_once_the_first_are_used_up(error: UpstreamError) -> None:
    retries, made = Retries(waits=False), 0
    for _ in range(1000):
        retries.earn()
        made += retries.where(error, is_retry=False) is not NOWHERE
    assert RETRY_SHARE * 1000 <= made <= RETRY_SHARE * 1000 + RETRY_FLOOR


def test_what_inputs_may_have_caused_uses_up_no_repeat_of_an_outage_and_the_other_way_round() -> None:
    for first, second in ((THREW, BROKE), (BROKE, THREW)):
        retries = Retries(waits=False)
        while retries.where(first, is_retry=False) is not NOWHERE:
            pass
        assert retries.where(second, is_retry=False) is not NOWHERE


@pytest.mark.parametrize("error", [REFUSAL, NONSENSE, UpstreamError("599")], ids=repr)
def test_what_may_not_be_repeated_spends_nothing(error: UpstreamError) -> None:
    retries = Retries(waits=False)
    before = repr(retries)
    retries.where(error, is_retry=False)
    assert repr(retries) == before


# What a batch ends with: its own error, or the queue, once or as often as it takes.

ITSELF, ONCE, OFTEN = "itself", "once", "often"


@pytest.mark.parametrize(
    ("error", "first", "again", "no_inputs_fault"),
    [
        (DOWN, OFTEN, OFTEN, OFTEN),
        (BROKE, ONCE, ITSELF, OFTEN),
        (GATEWAY, ONCE, ITSELF, OFTEN),
        *[(error, ITSELF, ITSELF, ITSELF) for error in (BUSY, THREW, LATE, WRONG_KEY, REFUSAL, NONSENSE)],
    ],
    ids=repr,
)
def test_where_batches_wait_for_an_upstream_it_ends_like_this(
    error: UpstreamError, first: str, again: str, no_inputs_fault: str
) -> None:
    def end(*, is_retry: bool, is_no_inputs_fault: bool) -> str:
        ends_with = Retries(waits=True).ends_with(error, is_retry=is_retry, is_no_inputs_fault=is_no_inputs_fault)
        if not isinstance(ends_with, UpstreamPaused):
            assert ends_with is error
            return ITSELF
        assert ends_with.answer is error
        assert ends_with.retry_of in {None, error.retry_reason}
        return OFTEN if ends_with.retry_of is None else ONCE

    assert end(is_retry=False, is_no_inputs_fault=False) == first
    assert end(is_retry=True, is_no_inputs_fault=False) == again
    assert end(is_retry=True, is_no_inputs_fault=True) == no_inputs_fault


@pytest.mark.parametrize("error", [DOWN, BROKE, GATEWAY, THREW], ids=repr)
def test_where_they_do_not_it_ends_with_its_error(error: UpstreamError) -> None:
    for flag in (False, True):
        assert Retries(waits=False).ends_with(error, is_retry=flag, is_no_inputs_fault=True) is error

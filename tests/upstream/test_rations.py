"""What an account lets its calls do, as calls end: what was not answered costs nothing."""

from __future__ import annotations

import pytest

from batching import Batch
from batching.capacity import Slots
from batching.clock import NOW
from batching.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tests.support.fakes import KEY
from upstream.busy import Busy, QuotaExhausted, RateLimited
from upstream.governor import Governor
from upstream.rations import Rations


def sent(rations: Rations, now: float) -> Batch:
    batch = Batch(KEY, "full", now)
    batch.items = [b'"a"']
    rations.leaves(batch, now)
    return batch


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (UpstreamUnavailable("connection refused", retry_after=1), 0.0),
        (UpstreamTimeout("no answer"), 1.0),
        (UpstreamUnavailable("503", retry_after=1, pause=0.0), 1.0),
        (None, 1.0),
    ],
    ids=["not reached", "timed out", "answered 503", "answered"],
)
def test_a_call_that_was_not_answered_at_all_costs_the_account_nothing(
    error: UpstreamError | None, wait: float
) -> None:
    """Where the upstream is down the next one may try at once, and the outage is noticed as soon as without limits."""
    rations = Rations()
    rations.govern(Governor(0.0, calls_per_minute=60))
    batch = sent(rations, 1.0)
    rations.ended(batch, error, 1.0, 1.0, tokens=None)
    assert rations.opens_at(1.0) - 1.0 == pytest.approx(wait, abs=0.1)


def out_of_quota(until: float) -> Rations:
    """Return what is known of an account whose quota is used up until that moment."""
    rations = Rations()
    quota = QuotaExhausted("you exceeded your current quota", pause=until)
    rations.ended(sent(rations, 0.0), quota, 0.0, 0.0, tokens=None)
    return rations


def test_a_used_up_quota_lets_one_call_try_once_its_time_has_come() -> None:
    rations = out_of_quota(2.0)
    assert not rations.may_leave(1.9, 0)
    assert rations.may_leave(2.0, 0)
    assert not rations.may_leave(2.0, 1)
    assert list(rations.slots(NOW, 4, 0, 1.0)) == [Slots(2.0, 1)]


def test_a_rate_limit_that_the_trying_call_meets_is_waited_for_like_any_other() -> None:
    rations = out_of_quota(2.0)
    batch = sent(rations, 2.0)
    rations.ended(batch, RateLimited(Busy.CALLS, retry_after=5, pause=5.0), 2.0, 2.0, tokens=None)
    assert rations.quota is None
    assert not rations.may_leave(6.9, 0)
    assert rations.opens_at(2.0) == 7.0
    assert [each.start for each in rations.slots(NOW, 4, 0, 2.0)] == [7.0]


def test_a_rate_limit_of_a_call_from_before_leaves_the_quota_used_up() -> None:
    rations = out_of_quota(2.0)
    rations.ended(sent(rations, -1.0), RateLimited(Busy.CALLS, retry_after=1, pause=1.0), -1.0, 0.5, tokens=None)
    assert rations.quota is not None
    assert rations.opens_at(0.5) == 2.0

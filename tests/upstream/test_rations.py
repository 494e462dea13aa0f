"""What an account lets its calls do, as calls end: what was not answered costs nothing."""

from __future__ import annotations

import pytest

from batching import Batch
from batching.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tests.support.fakes import KEY
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

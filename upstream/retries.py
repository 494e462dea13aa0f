"""Whether a failed call is made again, where, and what its batch ends with otherwise: decisions and their budgets."""

from __future__ import annotations

from enum import Enum

from batching.budget import Budget
from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamPaused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from upstream.busy import RateLimited

#: Retries that each ordinary call allows, and those allowed at the start.
RETRY_SHARE, RETRY_FLOOR = 0.1, 10.0


class Where(Enum):
    """Where a call may be made once more."""

    NOWHERE = "nowhere"
    #: At another upstream only, at once.
    ELSEWHERE = "elsewhere"
    #: At another upstream, or at the same after a moment.
    ANYWHERE = "anywhere"


class Retries:
    """Decides on retries, which spend from budgets of a tenth of the calls. Thread-safe."""

    def __init__(self, *, waits: bool) -> None:
        """``waits``: whether batches wait in the queue while no upstream can be reached."""
        self._waits = waits
        self._budget = Budget(RETRY_SHARE, RETRY_FLOOR)
        # Of their own: inputs on which every upstream fails must not use up the retries of an outage.
        self._doubts = Budget(RETRY_SHARE, RETRY_FLOOR)

    def __repr__(self) -> str:
        return f"<Retries {self._budget}, where inputs may be the cause {self._doubts}>"

    def earn(self) -> None:
        """Count an ordinary call."""
        self._budget.earn()
        self._doubts.earn()

    def where(self, error: UpstreamError, *, is_retry: bool, has_others: bool = True) -> Where:
        """Say where a call that failed like this may be made again, and spend from the budget.

        ``is_retry``: all of the batch has been sent again before. ``has_others``: there is another upstream.
        """
        if isinstance(error, UpstreamFailed | UpstreamMisconfigured | UpstreamTimeout):
            # The same upstream would answer the same.
            return Where.ELSEWHERE if has_others and self._doubts.spend() else Where.NOWHERE
        if isinstance(error, RateLimited):
            return Where.NOWHERE
        if error.retry_reason is None or is_retry or not self._budget.spend():
            return Where.NOWHERE
        # Where the queue holds what waits it knows when to go on.
        holds = self._waits and isinstance(error, UpstreamUnavailable)
        return Where.ELSEWHERE if holds else Where.ANYWHERE

    def ends_with(self, error: UpstreamError, *, is_retry: bool, is_no_inputs_fault: bool) -> UpstreamError:
        """Return what the batch ends with: it waits in the queue where no upstream can be reached.

        Where the upstream may have looked at the inputs it goes back once, for they may be the cause.
        ``is_no_inputs_fault``: different inputs have met the same, or it was a probe: it goes back as often as the
        queue allows.
        """
        if isinstance(error, RateLimited):
            return UpstreamPaused(error.bare())  # no input was judged, and the queue knows when to go on
        if not self._waits:
            return error
        if isinstance(error, UpstreamUnavailable):
            return UpstreamPaused(error.bare())
        if isinstance(error, UpstreamGateway | UpstreamBroke):
            if is_no_inputs_fault:
                return UpstreamPaused(error.bare())
            if not is_retry:
                return UpstreamPaused(error.bare(), error.retry_reason)
        return error

"""Tells the operator in the log how the upstreams fare: a line for each change, and a summary of what failed."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING

from batching.errors import UpstreamError, UpstreamRejected
from batching.observer import CallReport, Observer

if TYPE_CHECKING:
    from batching.clock import Clock

log = logging.getLogger(__name__)

#: Seconds between the summaries of calls that failed, and for which one kind of failure is not told again.
PERIOD = 60.0
#: Refusals in a row that hint at a mistake of configuration: clients seldom send so many bad inputs and no good one.
MANY_REFUSALS = 20
#: Kinds of failure, and changes of state, that are told of one upstream in that time; more are counted only.
MOST_KINDS, MOST_CHANGES = 10, 4
#: What to look at, by what the reason says; the first that fits.
_ADVICE = (
    (r"status 40[13]\b|status 407", "check INFERENCE_API_KEY"),
    (r"leads to", "give that address as inference_url"),
    (r"status 40[45]\b", "check the path of inference_url and which API the server speaks"),
    (r"TLS|SSL|certificate", "check whether inference_url is to begin with http or https, and the certificate"),
    (r"name .*resolved|Name or service|getaddrinfo", "check the host name in inference_url"),
    (r"serves|vectors have", "give upstreams that serve one model"),
    (r"refused|unreachable|no answer|reached|in time", "check that the server runs and listens at that address"),
)


def advice(reason: str) -> str:
    """Return what an operator is to look at who reads this reason."""
    fitting = (text for pattern, text in _ADVICE if re.search(pattern, reason, re.IGNORECASE))
    return next(fitting, "see the log of the upstream")


class UpstreamLog(Observer):
    """One line where an upstream's state or its reason changes, one for each new kind of failure, a summary a minute.

    Never a line for each request. Any thread; the lock is held for a moment.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: When each kind of failure was told last, by upstream and kind.
        self._told: dict[tuple[str, str], float] = {}
        #: Calls of each upstream since the last summary, and those that failed, by kind.
        self._calls: Counter[str] = Counter()
        self._failed: dict[str, Counter[str]] = {}
        #: Refusals in a row.
        self._refused: Counter[str] = Counter()
        #: The state of each upstream and the state that was told last, each with its reason.
        self._states: dict[str, tuple[bool, str]] = {}
        self._told_states: dict[str, tuple[bool, str]] = {}
        #: Changes of state since the last summary.
        self._changes: Counter[str] = Counter()
        self._since = clock.now()

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:
        self._states[upstream] = ready, reason
        if not ready and not self._is_new(upstream, f"state {reason}"):
            return
        with self._lock:
            self._changes[upstream] += 1
            may_tell = self._changes[upstream] <= MOST_CHANGES
        if may_tell:
            self._tell_state(upstream)

    def _tell_state(self, upstream: str) -> None:
        ready, reason = self._told_states[upstream] = self._states[upstream]
        if ready:
            log.info("upstream %s is ready", upstream)
        else:
            log.warning("upstream %s is not ready: %s; %s", upstream, reason, advice(reason))

    def on_ejection(self, upstream: str) -> None:
        if self._is_new(upstream, "ejection"):
            log.warning("upstream %s fails call after call and is left out for a while", upstream)

    def on_call(self, report: CallReport) -> None:
        error = report.error
        self._calls[report.upstream] += 1
        if error is None:
            if self._refused:
                self._refused.pop(report.upstream, None)
            return
        if isinstance(error, UpstreamRejected):
            self._refused[report.upstream] += 1
            if self._refused[report.upstream] >= MANY_REFUSALS and self._is_new(report.upstream, "refusals"):
                text = "upstream %s refused the last %d calls, the latest with status %d; check model and API"
                log.warning(text, report.upstream, self._refused[report.upstream], error.status)
            return
        kind = kind_of(error)
        with self._lock:
            kinds = self._failed.setdefault(report.upstream, Counter())
            kind = kind if kind in kinds or len(kinds) < MOST_KINDS else "another failure"
            kinds[kind] += 1
        if self._is_new(report.upstream, kind):
            log.warning("a call to upstream %s failed: %s; %s", report.upstream, kind, advice(kind))

    def on_look(self, upstream: str) -> None:  # noqa: ARG002
        now = self._clock.now()
        with self._lock:
            if now - self._since < PERIOD:
                return
            seconds, self._since = now - self._since, now
            failed, self._failed = self._failed, {}
            calls, self._calls = self._calls, Counter()
            changes, self._changes = self._changes, Counter()
        for url, kinds in failed.items():
            told = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common())
            text = "in %.0f s %d of %d calls to upstream %s failed: %s"
            log.warning(text, seconds, kinds.total(), calls[url], url, told)

        for url, count in changes.items():
            if count > MOST_CHANGES:
                log.warning("in %.0f s upstream %s changed its state or the reason %d times", seconds, url, count)

        for url, (ready, _) in self._states.items():
            if ready != self._told_states.get(url, (None, ""))[0]:  # the latest line of a state has to be true
                self._tell_state(url)

    def _is_new(self, upstream: str, kind: str) -> bool:
        """Whether this was not told in the last ``PERIOD``; note that it is told now."""
        now = self._clock.now()
        with self._lock:
            if now - self._told.get((upstream, kind), -PERIOD) < PERIOD:
                return False
            self._told = {key: moment for key, moment in self._told.items() if now - moment < PERIOD}
            self._told[upstream, kind] = now
            return True


def kind_of(error: Exception) -> str:
    """Return how a call failed, in words that name no input: of the upstream's own words only the status."""
    if isinstance(error, UpstreamError) and error.reason:
        return error.reason
    return str(error)

"""The metrics of upstreams' limits: what is left of them, and what that has cost in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import CollectorRegistry

#: What can be missing.
REASONS = ("calls", "tokens", "quota")


class LimitState(Protocol):
    """What is known of one upstream's limits."""

    @property
    def upstream(self) -> str:
        """Its address."""

    @property
    def calls_left(self) -> float | None:
        """Calls that its account has left; None where it does not tell."""

    @property
    def tokens_left(self) -> float | None:
        """Tokens that its account has left; None where it does not tell."""

    @property
    def paused(self) -> Mapping[str, float]:
        """Seconds for which calls were held back since the beginning, by what was missing."""

    @property
    def tokens(self) -> int:
        """Tokens that it has counted since the beginning."""


class LimitMetrics:
    """Gauges and counters that are read off the upstreams now and then, so that no request pays for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._left = Gauge(
            "autobatch_upstream_limit_left",
            "What the upstream's account has left of its limit, as it tells it.",
            ["upstream", "of"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._paused = Counter(
            "autobatch_upstream_paused_seconds_total",
            "Time for which requests waited for the upstream's limit, by what was missing.",
            ["upstream", "reason"],
            registry=registry,
        )
        self._tokens = Counter(
            "autobatch_upstream_tokens_total", "Tokens that the upstream has counted.", ["upstream"], registry=registry
        )
        self._read: Callable[[], Iterable[LimitState]] | None = None
        #: What the counters have been brought to.
        self._told: dict[tuple[str, str], float] = {}

    def read_from(self, read: Callable[[], Iterable[LimitState]]) -> None:
        """Read the states from this function."""
        self._read = read

    def expect(self, upstream: str) -> None:
        """Let the counters of an upstream exist from the start, at 0."""
        self._tokens.labels(upstream)
        for reason in REASONS:
            self._paused.labels(upstream, reason)

    def refresh(self) -> None:
        """Bring all of them up to date."""
        if self._read is None:
            return
        for state in self._read():
            url = state.upstream
            for of, left in (("calls", state.calls_left), ("tokens", state.tokens_left)):
                if left is not None:
                    self._left.labels(url, of).set(max(0.0, left))
            for reason, seconds in state.paused.items():
                self._raise(self._paused.labels(url, reason), (url, reason), seconds)
            self._raise(self._tokens.labels(url), (url, ""), state.tokens)

    def _raise(self, counter: Counter, key: tuple[str, str], total: float) -> None:
        more = total - self._told.get(key, 0.0)
        if more > 0:
            self._told[key] = total
            counter.inc(more)

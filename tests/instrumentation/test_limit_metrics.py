"""What is known of the upstreams' limits is read off now and then; counters never fall."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from instrumentation.limit_metrics import LimitMetrics

if TYPE_CHECKING:
    from instrumentation.limit_metrics import LimitState

URL = "http://upstream"


def state(*, calls: float | None = None, tokens: float | None = None, paused: float = 0.0, counted: int = 0):
    return SimpleNamespace(upstream=URL, calls_left=calls, tokens_left=tokens, paused={"calls": paused}, tokens=counted)


def metrics_of(states: list[LimitState]) -> tuple[LimitMetrics, CollectorRegistry]:
    registry = CollectorRegistry()
    metrics = LimitMetrics(registry)
    metrics.read_from(lambda: states)
    return metrics, registry


def test_what_is_left_is_a_gauge_that_is_not_below_nothing() -> None:
    states = [state(calls=12.5, tokens=-3.0)]
    metrics, registry = metrics_of(states)
    metrics.refresh()
    left = [
        registry.get_sample_value("autobatch_upstream_limit_left", {"upstream": URL, "of": of})
        for of in ("calls", "tokens")
    ]
    assert left == [12.5, 0.0]


def test_what_an_upstream_does_not_tell_has_no_series() -> None:
    metrics, registry = metrics_of([state()])
    metrics.refresh()
    assert registry.get_sample_value("autobatch_upstream_limit_left", {"upstream": URL, "of": "calls"}) is None


def test_paused_seconds_and_tokens_are_counted_once() -> None:
    states = [state(paused=2.0, counted=10)]
    metrics, registry = metrics_of(states)
    metrics.refresh()
    metrics.refresh()
    states[0] = state(paused=3.5, counted=15)
    metrics.refresh()
    labels = {"upstream": URL, "reason": "calls"}
    assert registry.get_sample_value("autobatch_upstream_paused_seconds_total", labels) == 3.5
    assert registry.get_sample_value("autobatch_upstream_tokens_total", {"upstream": URL}) == 15


def test_the_counters_exist_from_the_start() -> None:
    metrics, registry = metrics_of([])
    metrics.expect(URL)
    for reason in ("calls", "tokens", "quota"):
        labels = {"upstream": URL, "reason": reason}
        assert registry.get_sample_value("autobatch_upstream_paused_seconds_total", labels) == 0


def test_without_upstreams_nothing_is_read() -> None:
    LimitMetrics(CollectorRegistry()).refresh()

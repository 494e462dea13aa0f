"""Metrics count each event exactly once, under labels whose number is bounded."""

from __future__ import annotations

import json
import math
import random
import re
import string
from functools import partial
from typing import TYPE_CHECKING

import pytest

from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.conftest import Edge


def items(edge: Edge) -> dict[str, float]:
    """Return the items counted so far by outcome."""
    counted = {}
    for name, value in edge.scrape().items():
        if found := re.fullmatch(r'autobatch_items_total\{outcome="(.*)"\}', name):
            counted[found[1]] = value
    return {outcome: count for outcome, count in counted.items() if count}


def test_known_traffic_gives_exactly_these_series(edge: Edge) -> None:
    edge.post({"input": "a"})
    edge.post({"inputs": ["a", "b", "c"]})
    edge.upstream.failures = [UpstreamTimeout("slow")]
    edge.post({"input": "a"})
    edge.post({"input": ""})
    edge.client.get("/nowhere")

    eventually(lambda: edge.scrape()["autobatch_batch_size_items_count"] == 3)
    seen = edge.scrape()
    assert seen["autobatch_batch_size_items_sum"] == 5
    assert seen['autobatch_batch_size_items_bucket{le="1.0"}'] == 2
    assert seen['autobatch_batch_size_items_bucket{le="4.0"}'] == 3
    assert seen['autobatch_batches_total{reason="max_wait"}'] == 3
    assert seen['autobatch_batches_total{reason="full"}'] == 0
    assert seen["autobatch_queue_delay_seconds_count"] == 3
    assert seen["autobatch_upstream_latency_seconds_count"] == 3
    assert seen['autobatch_upstream_calls_total{result="ok",upstream="http://upstream"}'] == 2
    assert seen['autobatch_upstream_calls_total{result="Timeout",upstream="http://upstream"}'] == 1
    assert seen['autobatch_http_request_duration_seconds_count{route="/embed",status="200"}'] == 2
    assert seen['autobatch_http_request_duration_seconds_count{route="/embed",status="504"}'] == 1
    assert seen['autobatch_http_request_duration_seconds_count{route="/embed",status="422"}'] == 1
    assert seen['autobatch_http_request_duration_seconds_count{route="unmatched",status="404"}'] == 1
    assert seen["autobatch_batcher_thread_deaths_total"] == 0
    assert items(edge) == {"ok": 4, "timeout": 1}


def test_gauges_show_what_waits_and_what_is_upstream(edge: Edge) -> None:
    edge.upstream.gate.clear()
    answers = []
    for number in range(3):
        answers.append(edge.in_background({"inputs": ["a", "b"]}))
        eventually(partial(lambda so_far: edge.service.queue.calls == so_far, number + 1))
        eventually(lambda: edge.service.queue.in_flight == min(edge.service.queue.calls, 2))
    seen = edge.scrape()
    assert seen["autobatch_calls_in_progress"] == 3
    assert seen["autobatch_in_flight_batches"] == 2
    assert seen["autobatch_queue_depth_items"] == 2
    edge.upstream.gate.set()
    assert [answer().status_code for answer in answers] == [200] * 3
    seen = edge.scrape()
    assert seen["autobatch_calls_in_progress"] == seen["autobatch_queue_depth_items"] == 0
    assert eventually(lambda: edge.scrape()["autobatch_in_flight_batches"] == 0)


def test_every_item_is_counted_once_under_its_outcome(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(max_queued_items=10) as edge:
        edge.post({"inputs": ["a", "b"]})
        edge.upstream.failures = [UpstreamError("failed")]
        edge.post({"inputs": ["a"] * 3})
        edge.upstream.failures = [UpstreamRejected("no", status=422)]
        edge.post({"inputs": ["a"] * 4})
        edge.post({"inputs": ["a"] * 11})
        edge.upstream.gate.clear()
        edge.post({"inputs": ["a"] * 6}, {"X-Request-Timeout-Ms": "20"})
        edge.upstream.gate.set()
        edge.service.batcher.stop(5)
        edge.post({"inputs": ["a"] * 7})
        assert items(edge) == {"ok": 2, "error": 3, "rejected": 4, "shed": 11, "timeout": 6, "shutdown": 7}


def test_a_request_that_never_entered_counts_no_items(edge: Edge) -> None:
    edge.post({"input": ""})
    edge.post(b"nonsense")
    assert items(edge) == {}


def test_every_series_that_failures_and_routes_have_is_there_from_the_start_at_zero(edge: Edge) -> None:
    seen = edge.scrape()
    for result in ("ok", "Rejected", "Backend", "Unhealthy", "Timeout", "Overloaded"):
        assert seen[f'autobatch_upstream_calls_total{{result="{result}",upstream="http://upstream"}}'] == 0
    for reason in ("stale", "broken", "gateway", "failed", "misconfigured", "overloaded", "timeout", "unavailable"):
        assert seen[f'autobatch_retries_total{{reason="{reason}"}}'] == 0
    for outcome in ("ok", "error", "failed", "rejected", "timeout", "shed", "shutdown", "hopeless", "abandoned"):
        assert seen[f'autobatch_items_total{{outcome="{outcome}"}}'] == 0
    for route, status in [("/embed", 200), ("/embed", 502), ("/embed", 429)]:
        name = f'autobatch_http_request_duration_seconds_count{{route="{route}",status="{status}"}}'
        assert seen[name] == 0
    assert seen['autobatch_upstream_ejections_total{upstream="http://upstream"}'] == 0
    assert seen['autobatch_upstream_up{upstream="http://upstream"}'] == 0


def test_no_failure_of_a_call_makes_a_series_that_was_not_there(edge: Edge) -> None:
    edge.scrape()
    before = set(edge.scrape())
    failures = [
        UpstreamFailed("500"),
        UpstreamFailed("424", status=424),
        UpstreamGateway("504", status=504),
        UpstreamMisconfigured("401"),
        UpstreamUnavailable("refused"),
        UpstreamBroke("reset"),
        UpstreamOverloaded("429", pause=0.0),
    ]
    for number, failure in enumerate(failures):
        edge.upstream.failures = [failure] * 2
        edge.post({"input": f"text {number}"})
        edge.upstream.failures = []
    eventually(lambda: edge.service.queue.in_flight == 0)
    assert set(edge.scrape()) - before == set()


def test_clients_cannot_make_new_series(edge: Edge) -> None:
    dice = random.Random(1)

    def invent(case: str) -> str:
        return "".join(dice.choices(case, k=8))

    def one_of_each() -> None:
        method, path = invent(string.ascii_uppercase), f"/{invent(string.ascii_lowercase)}"
        edge.client.open(path, method=method)
        edge.client.open("/embed", method=method)
        edge.client.get(path)
        edge.client.get(f"/embed/{path}")
        edge.client.get(f"/health?{path}")
        edge.post({"input": path, path: method}, {"X-Request-Id": invent(string.digits), "User-Agent": path})
        edge.post({"input": path, "model": path})

    one_of_each()
    eventually(lambda: edge.scrape()["autobatch_batch_size_items_count"] == 2)
    before = edge.scrape().keys()
    for _ in range(30):
        one_of_each()
    assert edge.scrape().keys() == before


def test_an_upstream_cannot_make_new_series_by_inventing_error_types(edge: Edge) -> None:
    def series() -> set[str]:
        return {name for name in edge.scrape() if name.startswith("autobatch_upstream_calls_total")}

    before = series()
    for number in range(20):
        edge.upstream.failures = [UpstreamRejected("no", status=422, error_type=f"Kind{number}")]
        error = json.loads(edge.post({"input": f"text {number}"}).data)
        assert error["error_type"] == f"Kind{number}"
    eventually(lambda: edge.scrape()["autobatch_batch_size_items_count"] == 20)
    assert series() == before


def test_errors_of_one_status_are_told_apart_by_their_type(edge: Edge) -> None:
    edge.upstream.failures = [UpstreamProtocolError("nonsense")]
    edge.post({"input": "a"})
    assert eventually(
        lambda: edge.scrape().get('autobatch_upstream_calls_total{result="Backend",upstream="http://upstream"}')
    )


def test_the_scrape_is_prometheus_text_with_finite_values(edge: Edge) -> None:
    edge.post({"input": "a"})
    response = edge.client.get("/metrics")
    assert response.mimetype == "text/plain"
    text = response.get_data(as_text=True)
    assert "# HELP autobatch_batch_size_items Items per upstream call." in text
    assert all(math.isfinite(value) for value in edge.scrape().values())


@pytest.mark.parametrize("name", ["autobatch_calls_in_progress", "nothing"])
def test_a_scrape_may_ask_for_single_names(edge: Edge, name: str) -> None:
    lines = edge.client.get(f"/metrics?name[]={name}").get_data(as_text=True).splitlines()
    assert all(name in line for line in lines)

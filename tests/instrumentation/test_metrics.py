"""Metrics count each event exactly once, under labels whose number is bounded."""

from __future__ import annotations

import json
import math
import random
import re
import string
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from batching import BatchReport, Task
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
from config.keys import ClientKey
from instrumentation.metrics import Metrics
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.conftest import Edge


DELAYS = "autobatch_queue_delay_seconds_sum"


def items(edge: Edge) -> dict[str, float]:
    """Return the items of interactive requests counted so far by outcome."""
    counted = {}
    for name, value in edge.scrape().items():
        if found := re.fullmatch(r'autobatch_items_total\{class="interactive",outcome="(.*)"\}', name):
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
    assert seen['autobatch_queue_delay_seconds_count{class="interactive"}'] == 3
    assert seen['autobatch_queue_delay_seconds_count{class="bulk"}'] == 0
    assert seen["autobatch_upstream_latency_seconds_count"] == 3
    assert seen['autobatch_upstream_calls_total{result="ok",upstream="http://upstream"}'] == 2
    assert seen['autobatch_upstream_calls_total{result="Timeout",upstream="http://upstream"}'] == 1
    assert seen['autobatch_http_request_duration_seconds_count{route="/embed",status="200"}'] == 2
    assert seen['autobatch_http_request_duration_seconds_count{route="/embed",status="504"}'] == 1
    assert seen['autobatch_http_request_duration_seconds_count{route="/embed",status="422"}'] == 1
    assert seen['autobatch_http_request_duration_seconds_count{route="unmatched",status="404"}'] == 1
    assert seen["autobatch_batcher_thread_deaths_total"] == 0
    assert items(edge) == {"ok": 4, "timeout": 1}


def test_items_and_their_delays_are_counted_by_class(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(bulk_from_items=2) as edge:
        edge.post({"input": "a"})
        edge.post({"inputs": ["a", "b", "c"]})
        edge.post({"inputs": ["d", "e"]}, {"X-Priority": "bulk"})
        edge.upstream.failures = [UpstreamTimeout("slow")]
        edge.post({"input": "f"}, {"X-Priority": "bulk"})
        eventually(lambda: edge.scrape()["autobatch_batch_size_items_count"] == 4)
        seen = edge.scrape()
        assert seen['autobatch_items_total{class="interactive",outcome="ok"}'] == 1
        assert seen['autobatch_items_total{class="bulk",outcome="ok"}'] == 5
        assert seen['autobatch_items_total{class="bulk",outcome="timeout"}'] == 1
        assert seen['autobatch_queue_delay_seconds_count{class="interactive"}'] == 1
        assert seen['autobatch_queue_delay_seconds_count{class="bulk"}'] == 3


def test_the_delays_of_a_batch_of_both_classes_are_told_apart() -> None:
    metrics = Metrics()
    delays = [(0.004, 1), (3.0, 20), (0.04, 2)]
    metrics.on_batch(BatchReport(Task.EMBED, 23, "full", "ok", delays, 0.1, None, [False, True, False]))
    seen = {name: metrics.registry.get_sample_value(DELAYS, {"class": name}) for name in ("interactive", "bulk")}
    assert seen == {"interactive": pytest.approx(0.044), "bulk": 3.0}


def series_of_flows(edge: Edge) -> dict[str, float]:
    return {name: value for name, value in edge.scrape().items() if name.startswith("autobatch_flow_items_total")}


def test_items_are_counted_by_the_names_of_the_file_and_all_others_together(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    keys = (ClientKey("search", sha256(b"one").digest()), ClientKey("import", sha256(b"two").digest(), is_bulk=True))
    with edge_with(api_key="any", client_keys=keys, trust_fairness_header="on") as edge:
        before = series_of_flows(edge)
        assert set(before.values()) == {0}
        edge.post({"inputs": ["a", "b"]}, {"x-api-key": "one"})
        edge.post({"inputs": ["c", "d", "e"]}, {"x-api-key": "two"})
        edge.post({"input": "f"}, {"x-api-key": "any"})
        edge.post({"input": "g"}, {"x-api-key": "any", "X-Fairness-Id": "search"})
        seen = series_of_flows(edge)
        assert seen.keys() == before.keys()
        assert {name: value for name, value in seen.items() if value} == {
            'autobatch_flow_items_total{flow="search",outcome="ok"}': 2,
            'autobatch_flow_items_total{flow="import",outcome="ok"}': 3,
            'autobatch_flow_items_total{flow="other",outcome="ok"}': 2,
        }


def test_without_clients_of_their_own_keys_no_series_names_a_flow(edge: Edge) -> None:
    edge.post({"input": "a"})
    assert series_of_flows(edge) == {}


def test_gauges_show_what_waits_and_what_is_upstream(edge: Edge) -> None:
    edge.upstream.gate.clear()
    answers = []
    for number in range(3):
        answers.append(edge.in_background({"inputs": [f"a{number}", f"b{number}"]}))
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


def texts(count: int) -> list[str]:
    """Return so many texts, which no other request has."""
    return [f"text {each} of {count}" for each in range(count)]


def test_every_item_is_counted_once_under_its_outcome(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(max_queued_items=10) as edge:
        edge.post({"inputs": ["a", "b"]})
        edge.upstream.failures = [UpstreamError("failed")]
        edge.post({"inputs": texts(3)})
        edge.upstream.failures = [UpstreamRejected("no", status=422)]
        edge.post({"inputs": texts(4)})
        edge.post({"inputs": texts(11)})
        edge.upstream.gate.clear()
        edge.post({"inputs": texts(6)}, {"X-Request-Timeout-Ms": "20"})
        edge.upstream.gate.set()
        edge.service.batcher.stop(5)
        edge.post({"inputs": texts(7)})
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
        for each in ("interactive", "bulk"):
            assert seen[f'autobatch_items_total{{class="{each}",outcome="{outcome}"}}'] == 0
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


@pytest.fixture
def trusting(edge_with: Callable[..., AbstractContextManager[Edge]]) -> Iterator[Edge]:
    with edge_with(trust_fairness_header="on") as edge:
        yield edge


def test_clients_cannot_make_new_series(trusting: Edge) -> None:
    edge = trusting
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
        edge.post({"input": f"{path}/b"}, {"X-Priority": method, "X-Fairness-Id": path})
        edge.post({"input": f"{path}/b"}, {"X-Priority": "bulk", "X-Fairness-Id": path, "x-api-key": path})

    one_of_each()
    eventually(lambda: edge.scrape()["autobatch_batch_size_items_count"] == 3)
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

"""Liveness and readiness answer different questions; the metrics are made seldom, however often they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from api.errors import register
from api.operations import METRICS_BURST, health_blueprint, register_metrics
from instrumentation.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Edge


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_ready_while_the_upstream_answers(edge: Edge, path: str) -> None:
    response = edge.client.get(path)
    assert (response.status_code, response.json) == (
        200,
        {"status": "ready", "upstreams": [{"url": "http://upstream", "ready": True}]},
    )


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_not_ready_while_the_upstream_does_not_answer(edge: Edge, path: str) -> None:
    edge.upstream.healthy = False
    response = edge.client.get(path)
    assert response.status_code == 503
    assert response.json == {
        "status": "not ready",
        "reason": "no upstream answers",
        "upstreams": [{"url": "http://upstream", "ready": False, "reason": "down"}],
    }


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_not_ready_while_draining(edge: Edge, path: str) -> None:
    edge.service.drain()
    response = edge.client.get(path)
    assert response.status_code == 503
    assert response.json == {"status": "not ready", "reason": "the service is shutting down"}


def test_alive_whatever_the_upstream_does(edge: Edge) -> None:
    edge.upstream.healthy = False
    edge.service.drain()
    response = edge.client.get("/health/live")
    assert (response.status_code, response.json) == (200, {"status": "alive"})


def test_health_answers_head_requests(edge: Edge) -> None:
    response = edge.client.head("/health")
    assert (response.status_code, response.data) == (200, b"")


def test_only_upstreams_that_do_not_answer_have_a_reason() -> None:
    class Upstreams:
        def check(self, max_age: float) -> dict[str, bool]:
            assert max_age <= 1.0
            return {"http://a": True, "http://b": False, "http://c": False}

        def reasons(self) -> dict[str, str]:
            return {"http://a": "too late to matter", "http://b": "connection refused"}

    app = Flask("health")
    app.register_blueprint(health_blueprint(Upstreams(), lambda: False))
    answer = app.test_client().get("/health")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ready",
        "upstreams": [
            {"url": "http://a", "ready": True},
            {"url": "http://b", "ready": False, "reason": "connection refused"},
            {"url": "http://c", "ready": False},
        ],
    }


OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_metrics_are_told_in_the_format_that_is_asked_for(edge: Edge) -> None:
    plain, open_ = edge.client.get("/metrics"), edge.client.get("/metrics", headers={"Accept": OPENMETRICS})
    odd = edge.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=x"})
    for text in (plain, odd):
        assert text.content_type.startswith("text/plain")
        assert not text.get_data(as_text=True).endswith("# EOF\n")
    assert open_.content_type.startswith("application/openmetrics-text")
    assert open_.get_data(as_text=True).endswith("# EOF\n")


def test_single_metrics_can_be_asked_for(edge: Edge) -> None:
    text = edge.client.get("/metrics?name[]=autobatch_retries_total").get_data(as_text=True)
    assert "autobatch_retries_total" in text
    assert "autobatch_batch_size" not in text


def test_metrics_that_are_asked_for_without_end_are_made_seldom() -> None:
    now, made = [100.0], []

    class Counted(Metrics):
        def refresh(self) -> None:
            made.append(now[0])
            super().refresh()

    app = Flask("metrics")
    register_metrics(app, Counted(CollectorRegistry()), clock=lambda: now[0])
    client = app.test_client()
    for _ in range(1000):
        now[0] += 0.01
        assert client.get("/metrics").status_code == 200
    assert len(made) <= METRICS_BURST + 11


class Spoilt(Collector):
    """What is left of the metrics where their files are spoilt."""

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        raise ValueError("spoilt")


def test_metrics_that_cannot_be_read_are_503_and_logged_as_seldom_as_they_are_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = CollectorRegistry()
    registry.register(Spoilt())
    now = [100.0]
    app = Flask("metrics")
    register(app)
    register_metrics(app, Metrics(registry), clock=lambda: now[0])
    for _ in range(METRICS_BURST + 50):
        now[0] += 0.001
        answer = app.test_client().get("/metrics")
        assert answer.status_code == 503
        assert "spoilt" not in answer.get_data(as_text=True)
    assert caplog.text.count("the metrics cannot be read") == METRICS_BURST
    assert "ValueError: spoilt" in caplog.text

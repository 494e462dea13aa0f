"""Liveness and readiness answer different questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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
        "upstreams": [{"url": "http://upstream", "ready": False}],
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

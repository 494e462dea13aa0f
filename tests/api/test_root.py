"""``GET /`` and ``GET /ping`` say in their status alone whether the service is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import refused

if TYPE_CHECKING:
    from tests.conftest import Edge

PATHS = pytest.mark.parametrize("path", ["/", "/ping"])


@PATHS
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ready_is_200_without_a_body(edge: Edge, path: str, method: str) -> None:
    response = edge.client.open(path, method=method)
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == "0"
    assert "Content-Type" not in response.headers


@PATHS
def test_not_ready_is_503_while_the_upstream_does_not_answer(edge: Edge, path: str) -> None:
    edge.upstream.healthy = False
    assert refused(edge.client.get(path), 503, "Unhealthy") == "not ready: no upstream answers"
    assert edge.client.head(path).data == b""


@PATHS
def test_not_ready_is_503_while_draining(edge: Edge, path: str) -> None:
    edge.service.drain()
    assert "shutting down" in refused(edge.client.get(path), 503, "Unhealthy")


def test_nothing_is_posted_to_ping(edge: Edge) -> None:
    refused(edge.post({"inputs": "a"}, path="/ping"), 405, "MethodNotAllowed")

"""Fixtures that several modules share: the HTTP edge round a real engine and an upstream that answers from memory."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from batching import Answer
from config import Settings
from tests.support.fakes import FakeUpstream
from wiring.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from werkzeug.test import TestResponse

    from batching import Batch, Options


class GatedUpstream(FakeUpstream):
    """Answers while its gate is open; ``digits`` replaces the vector of an item by exact bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)
        self.digits: dict[bytes, bytes] = {}

    def send(self, batch: Batch) -> Answer:
        self.arrived.release()
        self.gate.wait(10)
        vectors = super().send(batch).results
        return Answer([self.digits.get(item, vector) for item, vector in zip(batch.items, vectors, strict=True)])


class Edge:
    """The service with its HTTP edge, and an upstream within reach. Batches wait ``wait`` seconds; 0: none waits."""

    def __init__(self, wait: float, **settings: Any) -> None:
        self.settings = Settings(batch_timing="fixed", max_wait_time_ms=wait * 1000, max_inflight_batches=2, **settings)  # type: ignore[arg-type]
        self.upstream = GatedUpstream()
        self.service = Service(self.settings, endpoints=[self.upstream])
        self.app = self.service.app
        self.client = self.app.test_client()

    def post(self, body: object, headers: dict[str, str] | None = None, path: str = "/embed") -> TestResponse:
        """Post JSON; bytes go as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, data=data, content_type="application/json", headers=headers)

    def in_background(self, body: object, headers: dict[str, str] | None = None) -> Callable[[], TestResponse]:
        """Post from another thread; the function returned waits for the answer."""
        answers: list[TestResponse] = []
        thread = threading.Thread(target=lambda: answers.append(self.post(body, headers)), daemon=True)
        thread.start()

        def answer() -> TestResponse:
            thread.join(10)
            return answers[0]

        return answer

    @property
    def options(self) -> Options:
        """The options of the latest batch."""
        return self.upstream.batches[-1].key.options

    @property
    def sent(self) -> list[bytes]:
        """The items of the latest batch, as the upstream got them."""
        return self.upstream.batches[-1].items

    def scrape(self) -> dict[str, float]:
        """Return every sample of ``/metrics`` by its name and labels."""
        lines = self.client.get("/metrics").get_data(as_text=True).splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextmanager
def running_edge(wait: float = 0.0, **settings: Any) -> Iterator[Edge]:
    edge = Edge(wait, **settings)
    edge.service.batcher.start()
    try:
        yield edge
    finally:
        edge.upstream.gate.set()
        edge.service.batcher.stop(5)


@pytest.fixture
def edge() -> Iterator[Edge]:
    with running_edge() as edge:
        yield edge


@pytest.fixture
def edge_with() -> Callable[..., AbstractContextManager[Edge]]:
    return running_edge


def refused(response: TestResponse, status: int, error_type: str) -> str:
    """Check that this is our error in our form; return its message."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/json"
    error = json.loads(response.get_data())
    assert set(error) == {"error", "error_type", "request_id"}
    assert error["error_type"] == error_type
    assert error["request_id"] == response.headers["X-Request-Id"]
    message: str = error["error"]
    assert message
    return message

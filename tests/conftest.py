"""Fixtures that several modules share: the HTTP edge round a real engine and an upstream that answers from memory."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from api.routes import register
from batching import Batcher, BatchQueue, FixedTiming, Limits, SystemClock
from config import Settings
from instrumentation.metrics import Metrics
from tests.support.fakes import FakeUpstream
from upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from werkzeug.test import TestResponse

    from batching import Batch


class GatedUpstream(FakeUpstream):
    """Answers while its gate is open; ``digits`` replaces the vector of an item by exact bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)
        self.digits: dict[bytes, bytes] = {}

    def send(self, batch: Batch) -> list[bytes]:
        self.arrived.release()
        self.gate.wait(10)
        vectors = super().send(batch)
        return [self.digits.get(item, vector) for item, vector in zip(batch.items, vectors, strict=True)]


class FakeHealth:
    """Stands in for the monitor."""

    def __init__(self) -> None:
        self.ready = True

    def check(self, max_age: float) -> dict[str, bool]:
        return {"http://upstream": self.ready}


class Edge:
    """The HTTP edge, its collaborators within reach. Batches wait ``wait`` seconds; 0 sends each call at once."""

    def __init__(self, wait: float, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.upstream = GatedUpstream()
        self.health = FakeHealth()
        self.draining = False
        self.metrics = Metrics()
        clock = SystemClock()
        limits = Limits(
            max_batch_size=self.settings.max_batch_size,
            max_batch_bytes=self.settings.max_batch_bytes,
            max_calls=self.settings.max_concurrent_requests,
            max_queued_items=self.settings.max_queued_items,
            max_inflight_batches=2,
        )
        self.queue = BatchQueue(limits, lambda: FixedTiming(wait), clock)
        self.metrics.watch(self.queue)
        pool = UpstreamPool([self.upstream], limits, 2, clock, observers=[self.metrics])
        self.batcher = Batcher(self.queue, pool, clock, threads=2, observers=[self.metrics])
        self.app = Flask("edge", static_folder=None)
        register(
            self.app,
            settings=self.settings,
            batcher=self.batcher,
            upstream=self.health,
            metrics=self.metrics,
            is_draining=lambda: self.draining,
        )
        self.client = self.app.test_client()

    def post(self, body: object, headers: dict[str, str] | None = None, path: str = "/embed") -> TestResponse:
        """Post JSON; bytes go as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, data=data, content_type="application/json", headers=headers)

    def in_background(self, body: object) -> Callable[[], TestResponse]:
        """Post from another thread; the function returned waits for the answer."""
        answers: list[TestResponse] = []
        thread = threading.Thread(target=lambda: answers.append(self.post(body)), daemon=True)
        thread.start()

        def answer() -> TestResponse:
            thread.join(10)
            return answers[0]

        return answer

    @property
    def key(self) -> bytes:
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
    edge.batcher.start()
    try:
        yield edge
    finally:
        edge.upstream.gate.set()
        edge.batcher.stop(5)


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

"""What operators ask the real service: every series is there from the start, health has reasons, askers share."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.service import GUNICORN, Service, eventually, read_answer
from tests.support.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METRICS = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.mark.parametrize("workers", [1, 2])
def test_every_series_is_there_at_0_when_the_metrics_are_read_first(
    upstream: ScriptedUpstream, tmp_path: Path, workers: int
) -> None:
    with Service(tmp_path, command=GUNICORN, inference_url=upstream.url, workers=workers) as service:
        eventually(lambda: len(service.workers) == workers)
        lines = service.get("/metrics").body.decode().splitlines()
    for series in (
        'autobatch_retries_total{reason="gateway"}',
        'autobatch_retries_total{reason="stale"}',
        'autobatch_items_total{class="interactive",outcome="ok"}',
        f'autobatch_upstream_ejections_total{{upstream="{upstream.url}"}}',
        f'autobatch_upstream_calls_total{{result="ok",upstream="{upstream.url}"}}',
        'autobatch_http_request_duration_seconds_count{route="/embed",status="200"}',
        'autobatch_http_request_duration_seconds_count{route="/embed",status="504"}',
        "autobatch_isolation_calls_total",
        "autobatch_batcher_thread_deaths_total",
        "autobatch_calls_in_progress",
    ):
        assert f"{series} 0.0" in lines


def test_health_tells_of_each_upstream_why_it_does_not_answer(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with ScriptedUpstream() as gone:
        url = gone.url
    with Service(tmp_path, command=GUNICORN, inference_url=f"{upstream.url},{url}") as service:
        eventually(lambda: service.get("/health/ready").status == 200)
        answer = service.get("/health")
        (well,) = (each for each in answer.json["upstreams"] if each["ready"])
        (down,) = (each for each in answer.json["upstreams"] if not each["ready"])
    assert answer.status == 200
    assert well == {"url": upstream.url, "ready": True}
    assert down["url"] == url
    assert down["reason"]


@contextmanager
def asking(service: Service, request: bytes, count: int) -> Iterator[list[int]]:
    """Let so many clients ask without end; yields the statuses that they got."""
    over = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        with service.connect() as connection:
            while not over.is_set():
                connection.sendall(request)
                statuses.append(read_answer(connection).status)

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("request_", [METRICS, HEALTH], ids=["metrics", "health"])
def test_many_that_ask_without_end_delay_neither_requests_nor_liveness(
    upstream: ScriptedUpstream, tmp_path: Path, request_: bytes
) -> None:
    with Service(tmp_path, command=GUNICORN, inference_url=upstream.url) as service:
        with asking(service, request_, 48) as statuses:
            eventually(lambda: len(statuses) > 200)
            until = time.monotonic() + 1.0
            took = []
            while time.monotonic() < until:
                took += [service.embed("a").took, service.get("/health/live").took]
        assert set(statuses) == {200}
    assert max(took) < 0.5

"""The service in a small container: 60 tasks, 64 MB, a user without a name, nowhere to write, not even /dev/shm."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.box import can_be_whole, folders
from tests.support.service import GUNICORN, Service, embed_request
from tests.support.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOX = ("tests/support/box.py", sys.executable, *GUNICORN)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@contextmanager
def boxed(folder: Path, **settings: Any) -> Iterator[Service]:
    """Run a service in the box; it need not get up."""
    service = Service(folder, command=BOX, log_format="json", **settings)
    try:
        yield service
    finally:
        service.stop()
        for cgroup in folders(service.process.pid):
            with suppress(OSError):
                cgroup.rmdir()


@pytest.fixture(scope="module")
def service(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with boxed(tmp_path_factory.mktemp("box"), inference_url=upstream.url) as service:
        yield service.wait_until_serving()


def said(service: Service) -> list[str]:
    return [json.loads(line)["message"] for line in service.log.splitlines()]


def test_it_starts_with_less_and_says_with_what(service: Service) -> None:
    (line,) = (line for line in said(service) if "no room for 592 threads" in line)
    assert "threads = " in line
    assert "max_concurrent_requests = " in line
    assert "Traceback" not in service.log


@pytest.mark.skipif(not can_be_whole(), reason="needs root for mounts of its own")
def test_without_a_place_to_write_the_heartbeat_is_in_memory(service: Service) -> None:
    assert [line for line in said(service) if "the workers' heartbeats are files in memory" in line]


def test_it_serves(service: Service) -> None:
    assert service.embed(["a", "b"]).status == 200
    assert service.get("/metrics").status == 200


def test_more_than_it_can_take_is_refused_and_costs_no_process(service: Service, upstream: ScriptedUpstream) -> None:
    before = service.workers
    upstream.delay = 0.1
    try:
        answers = service.crowd([embed_request(f"text {number}") for number in range(200)])
    finally:
        upstream.delay = 0.0
    assert {answer.status if answer else 0 for answer in answers} == {200, 429}
    assert service.get("/health/live").status == 200
    assert service.embed("a").status == 200
    assert service.workers == before


def test_what_was_chosen_and_cannot_be_had_is_refused_with_numbers(tmp_path: Path) -> None:
    with boxed(tmp_path, inference_url="http://127.0.0.1:9", threads=600) as service:
        assert service.process.wait(20) == 1
    (line,) = said(service)
    assert "threads = 600 (environment THREADS)" in line
    assert "there is room for" in line


def test_it_ends_as_it_should(service: Service) -> None:
    assert service.stop() == 0

"""Several worker processes: each with a queue of its own, their metrics added up."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.service import Service, embed_request, eventually
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ITEMS_OK = 'autobatch_items_total{class="interactive",outcome="ok"}'
CALLS = "autobatch_calls_in_progress"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def service(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("workers"), inference_url=upstream.url, workers=2) as service:
        eventually(lambda: len(service.workers) == 2)
        yield service


def metric(service: Service, name: str) -> float:
    lines = service.get("/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " "))


def served(service: Service, count: int) -> None:
    """Have so many texts embedded, over connections that either worker may take."""
    texts = [f"text {number}" for number in range(count)]
    answers = service.crowd([embed_request(text) for text in texts])
    assert [answer and answer.body for answer in answers] == [b"[" + vector_for(text) + b"]" for text in texts]


def test_metrics_add_up_whichever_worker_is_asked(service: Service) -> None:
    served(service, 60)
    assert {metric(service, ITEMS_OK) for _ in range(8)} == {60.0}


def test_what_a_killed_worker_counted_stays_and_what_it_held_is_gone(
    service: Service, upstream: ScriptedUpstream
) -> None:
    served(service, 40)
    upstream.gate.clear()
    waiting = [service.connect() for _ in range(12)]
    try:
        for connection in waiting:
            connection.sendall(embed_request("held"))
        eventually(lambda: metric(service, CALLS) == 12.0)
        victims = service.workers
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(service.workers) == 2 and not set(service.workers) & set(victims))
    finally:
        upstream.gate.set()
        for connection in waiting:
            connection.close()
    service.wait_until_serving()
    served(service, 5)
    assert metric(service, ITEMS_OK) == 45.0
    assert metric(service, CALLS) == 0.0


def test_the_files_of_the_metrics_go_with_the_service(service: Service) -> None:
    directory = _directory_of(service)
    assert os.path.isdir(directory)
    service.stop()
    assert not os.path.exists(directory)


def _directory_of(service: Service) -> str:
    """Find the directory by the files that a worker has mapped into its memory."""
    with open(f"/proc/{service.workers[0]}/maps") as maps:
        return next(os.path.dirname(line.split()[-1]) for line in maps if line.rstrip().endswith(".db"))


def test_a_directory_named_for_the_metrics_keeps_what_else_lies_in_it(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    (directory / "precious.txt").write_text("not ours")
    (directory / "counter_1.db").write_bytes(b"of a process that is no more")
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    with Service(tmp_path / "service", secrets=variables, inference_url=upstream.url, workers=2) as service:
        served(service, 5)
        assert metric(service, ITEMS_OK) == 5.0
    assert (directory / "precious.txt").read_text() == "not ours"
    assert (directory / "counter_1.db").read_bytes() == b"of a process that is no more"


def test_a_spoilt_file_of_the_metrics_spoils_nothing_but_the_metrics(service: Service) -> None:
    served(service, 5)
    directory = _directory_of(service)
    with open(os.path.join(directory, "counter_1.db"), "wb") as spoilt:
        spoilt.write((4096).to_bytes(4, sys.byteorder) + b"\x07" * 8192)
    answer = service.get("/metrics")
    assert (answer.status, answer.json["error_type"]) == (503, "Unhealthy")
    served(service, 20)
    assert service.get("/health/ready").status == 200
    os.unlink(os.path.join(directory, "counter_1.db"))
    assert metric(service, ITEMS_OK) == 25.0


def test_a_metrics_directory_that_cannot_be_used_stops_the_start(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file")}
    service = Service(tmp_path / "service", secrets=variables, inference_url=upstream.url, workers=2)
    assert service.process.wait(20) != 0
    assert "PROMETHEUS_MULTIPROC_DIR" in service.log
    assert "cannot be used for metrics" in service.log

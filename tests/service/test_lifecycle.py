"""Start, reload and end of the real service: mistakes are told at once, each request that was let in is answered."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest

from tests.support.service import (
    APP,
    GUNICORN,
    ROOT,
    Service,
    embed_request,
    environment,
    eventually,
    read_answer,
)
from tests.support.upstream import ScriptedUpstream, faults, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.support.answer import Answer


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


class Load:
    """Clients that go on asking, each on a new connection every time, until they are stopped or refused."""

    def __init__(self, service: Service, clients: int = 8) -> None:
        self.answers: list[Answer] = []
        self.broken: list[BaseException] = []
        self._service = service
        self._port = service.port
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(name,)) for name in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        eventually(lambda: len(self.answers) > 20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, name: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            text = f"text {number} of client {name}"
            try:
                answer = self._service.say(embed_request(text, "Connection: close\r\n"))
            except (OSError, EOFError, ValueError) as problem:
                self.broken.append(problem)
                return
            self.answers.append(answer)
            assert answer.body == b"[" + vector_for(text) + b"]"

    @property
    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}


def in_background(service: Service, requests: Sequence[bytes]) -> tuple[threading.Thread, list[Answer | None]]:
    answers: list[Answer | None] = []
    thread = threading.Thread(target=lambda: answers.extend(service.crowd(requests)))
    thread.start()
    return thread, answers


def calls_in_progress(service: Service) -> int:
    lines = service.get("/metrics").body.decode().splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("autobatch_calls_in_progress "))))


# The end


@pytest.mark.parametrize("command", [APP, GUNICORN], ids=["app", "gunicorn"])
def test_all_requests_that_were_let_in_before_sigterm_are_answered(
    command: tuple[str, ...], upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    texts = [f"text {number}" for number in range(200)]
    with Service(tmp_path, command=command, inference_url=upstream.url) as service:
        tree = service.tree()
        upstream.gate.clear()
        crowd, answers = in_background(service, [embed_request(text) for text in texts])
        eventually(lambda: calls_in_progress(service) == 200)
        service.signal(signal.SIGTERM)
        eventually(lambda: "Handling signal: term" in service.log)
        upstream.gate.set()
        crowd.join(20)
        assert [answer and answer.body for answer in answers] == [b"[" + vector_for(text) + b"]" for text in texts]
        assert service.process.wait(10) == 0
        assert psutil.wait_procs(tree, 5)[1] == []
        assert "Traceback" not in service.log


def test_sigterm_under_load_breaks_no_request_that_was_let_in(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.delay = 0.01
    with Service(tmp_path, inference_url=upstream.url) as service, Load(service) as load:
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 8
        assert load.statuses == {200}
        # The listener is gone: clients are refused, or hung up on before a byte of an answer.
        assert all(isinstance(problem, ConnectionError) for problem in load.broken)
        assert "Traceback" not in service.log


def test_sigterm_sends_at_once_what_waits_for_a_batch_to_fill(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    timing: dict[str, Any] = {"batch_timing": "fixed", "max_wait_time_ms": 10_000}
    with Service(tmp_path, inference_url=upstream.url, **timing) as service:
        crowd, answers = in_background(service, [embed_request("a"), embed_request("b")])
        eventually(lambda: calls_in_progress(service) == 2)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 5
        crowd.join(20)
        assert {answer and answer.status for answer in answers} == {200}
        assert {answer.headers["x-batch-reason"] for answer in answers if answer} == {"drain"}
        assert upstream.sizes == [2]


def test_ctrl_c_in_the_terminal_leaves_no_process(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Service(tmp_path, inference_url=upstream.url) as service:
        tree = service.tree()
        assert len(tree) >= 2
        os.killpg(service.process.pid, signal.SIGINT)
        service.process.wait(10)
        assert psutil.wait_procs(tree, 5)[1] == []


def test_ctrl_c_waits_for_no_upstream_that_hangs_and_no_client_that_is_slow(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with Service(tmp_path, inference_url=upstream.url) as service:
        tree = service.tree()
        upstream.fault = faults.hang
        with service.connect() as waiting, service.connect() as slow:
            slow.sendall(b"POST /em")
            waiting.sendall(embed_request("a"))
            upstream.wait_for_calls(1)
            os.killpg(service.process.pid, signal.SIGINT)
            assert read_answer(waiting).status == 503
            service.process.wait(5)
        assert psutil.wait_procs(tree, 5)[1] == []


#: gunicorn's settings, with a worker that goes on only once it has been told to end; or after a while, if it never is.
BORN_TO_DIE = """
import runpy, signal, time
globals().update(runpy.run_path({settings!r}))

def post_fork(server, worker):
    end = time.monotonic() + 5
    print("forked", flush=True)
    while signal.SIGTERM not in signal.sigpending() and time.monotonic() < end:
        time.sleep(0.001)
"""


def test_sigterm_reaches_a_worker_that_was_forked_a_moment_ago(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    file = tmp_path / "born_to_die.py"
    file.write_text(BORN_TO_DIE.format(settings=str(ROOT / "gunicorn.conf.py")), encoding="utf-8")
    command = ("-m", "gunicorn", "-c", str(file), "app:create_app()")
    service = Service(tmp_path, command=command, inference_url=upstream.url)
    try:
        eventually(lambda: "forked" in service.log)
        assert service.stop() == 0, service.log
    finally:
        service.__exit__()


def test_a_worker_that_was_killed_is_replaced(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with Service(tmp_path, inference_url=upstream.url) as service:
        (worker,) = service.workers
        os.kill(worker, signal.SIGKILL)
        assert service.embed("a").status == 200
        assert service.workers != [worker]


# Reload


def test_sighup_reloads_the_settings_and_loses_no_request(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.delay = 0.005
    with Service(tmp_path, inference_url=upstream.url) as service:
        service.config_file.write_text("max_client_batch_size = 2", encoding="utf-8")
        with Load(service) as load:
            for _ in range(2):
                before, asked = service.workers, len(load.answers)
                service.signal(signal.SIGHUP)
                eventually(lambda: len(service.workers) == 1 and service.workers != before)  # noqa: B023
                eventually(lambda: len(load.answers) > asked + 20)  # noqa: B023
        assert load.broken == []
        assert load.statuses == {200}
        assert service.embed(["a"] * 3).status == 422
        assert service.embed(["a"] * 2).status == 200
        assert re.search(r"max_client_batch_size +2 ", service.log)
        assert "Traceback" not in service.log


@pytest.mark.parametrize("mistake", ["max_batch_size = 0", "max_bach_size = 1", "threads = 9", "not toml"])
def test_sighup_with_a_mistake_keeps_the_settings_and_serves_on(
    reloaded: tuple[Service, ScriptedUpstream], mistake: str
) -> None:
    service, _ = reloaded
    before, complaints = service.workers, service.log.count("the last good ones stay")
    service.config_file.write_text(mistake, encoding="utf-8")
    service.signal(signal.SIGHUP)
    eventually(lambda: service.log.count("the last good ones stay") == complaints + 1)
    eventually(lambda: len(service.workers) == 1 and service.workers != before)
    assert service.embed(["a"] * 8).status == 200
    assert service.embed(["a"] * 9).status == 422


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, ScriptedUpstream]]:
    folder = tmp_path_factory.mktemp("reloaded")
    (folder / "config.toml").write_text("max_client_batch_size = 8", encoding="utf-8")
    with ScriptedUpstream() as upstream, Service(folder, command=GUNICORN, inference_url=upstream.url) as service:
        yield service, upstream


# The start


def run(command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(**{"CONFIG_FILE": os.devnull} | variables),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "variables", "words"),
    [
        ([*APP, "--max-bach-size", "1"], {}, ["--max-bach-size", "--max-batch-size"]),
        ([*APP, "--max-batch-size", "0", "--port", "x"], {}, ["max_batch_size = 0", "1 to 2048", "port", '"x"']),
        (GUNICORN, {"MAX_BATCH_SIZE": "0"}, ["max_batch_size = 0", "environment MAX_BATCH_SIZE", "1 to 2048"]),
        (GUNICORN, {"THREADS": "100"}, ["threads = 100", "max_concurrent_requests + 8 = 520"]),
        ([*GUNICORN, "--threads", "4"], {"PORT": "0", "HOST": "127.0.0.1"}, ["threads = 4", "must be at least"]),
        ([*GUNICORN, "--workers", "2"], {"PORT": "0", "HOST": "127.0.0.1"}, ["workers = 2", "as a setting (WORKERS)"]),
        ([*APP, "--config", "/nowhere/at.all"], {}, ["/nowhere/at.all", "cannot be read"]),
    ],
)
def test_a_mistake_in_the_settings_stops_the_start_and_is_explained(
    command: Sequence[str], variables: dict[str, str], words: list[str]
) -> None:
    ended = run(command, INFERENCE_URL="http://127.0.0.1:9", **variables)
    assert ended.returncode not in {0, None}
    assert [word for word in words if word not in ended.stderr] == []
    assert "Traceback" not in ended.stderr


def test_help_names_every_setting() -> None:
    ended = run([*APP, "--help"])
    assert ended.returncode == 0
    assert "--max-wait-time-ms" in ended.stdout
    assert "environment MAX_WAIT_TIME_MS" in " ".join(ended.stdout.split())


def test_the_banner_calls_flags_flags(tmp_path: Path) -> None:
    with Service(tmp_path, inference_url="http://127.0.0.1:9", max_batch_size=7) as service:
        eventually(lambda: "(flag --max-batch-size)" in service.log)
        assert "environment" not in service.log

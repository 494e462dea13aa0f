"""The real child process: it keeps one URL over restarts, and it ends with its parent."""

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from embedded import weights
from embedded.supervisor import EmbeddedServer, relay, restart_delay
from tests.support.service import eventually

PROJECT_ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 30.0  # seconds until a test that waits gives up


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[EmbeddedServer, str]]:
    server = EmbeddedServer()
    url = server.start()
    assert server.wait_until_ready(TIMEOUT)
    yield server, url
    server.stop()


@contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        yield connection
    finally:
        connection.close()


def send_texts(connection: http.client.HTTPConnection, *texts: str) -> None:
    connection.request("POST", "/embed", json.dumps({"inputs": texts}), {"Content-Type": "application/json"})


def embed(url: str, *texts: str) -> list[list[float]]:
    with connected(url) as connection:
        send_texts(connection, *texts)
        vectors: list[list[float]] = json.load(connection.getresponse())
        return vectors


def pid_of(server: EmbeddedServer) -> int:
    assert server.pid is not None
    return server.pid


# The restart policy


@pytest.mark.parametrize(
    ("previous", "lived", "delay"),
    [(None, 0.1, 0.5), (0.5, 0.1, 1.0), (1.0, 29.9, 2.0), (8.0, 0.1, 10.0), (10.0, 0.1, 10.0), (10.0, 30.0, 0.5)],
)
def test_restarts_wait_longer_each_time_until_a_child_has_lived_for_half_a_minute(
    previous: float | None, lived: float, delay: float
) -> None:
    assert restart_delay(previous, lived) == delay


# What the child says


def test_json_of_the_child_is_said_as_it_is_and_anything_else_becomes_an_event(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    relay(io.BytesIO(b'{"message": "its own"}\n\n[W:onnxruntime] of a library in C \xff\n'))
    assert capsys.readouterr().err == '{"message": "its own"}\n'
    assert caplog.messages == ["[W:onnxruntime] of a library in C \\xff"]


# The child


def test_importing_the_supervisor_loads_no_heavy_library() -> None:
    heavy = "{'numpy', 'onnxruntime', 'flask', 'tokenizers', 'marshmallow', 'waitress'}"
    program = f"import sys, embedded.supervisor; print(sorted({heavy} & set(sys.modules)))"

    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT_ROOT, capture_output=True, check=True)

    assert result.stdout.strip() == b"[]"


def test_the_child_embeds_over_http(running: tuple[EmbeddedServer, str]) -> None:
    _, url = running

    vectors = embed(url, "hello", "world")

    assert [len(vector) for vector in vectors] == [384, 384]


def test_ctrl_c_in_the_foreground_group_leaves_the_child_serving(running: tuple[EmbeddedServer, str]) -> None:
    server, url = running
    pid = pid_of(server)

    with connected(url) as connection:
        for _ in range(20):  # a child that stops would close the connection between two requests
            os.kill(pid, signal.SIGINT)
            send_texts(connection, "hello")
            assert len(json.load(connection.getresponse())) == 1

    assert server.pid == pid


def test_a_child_killed_is_replaced_at_the_same_url(running: tuple[EmbeddedServer, str]) -> None:
    server, url = running
    first = psutil.Process(pid_of(server))
    before = embed(url, "hello")

    first.kill()
    first.wait(TIMEOUT)

    assert embed(url, "hello") == before  # the listener outlived the child, so this call waited
    assert server.pid != first.pid


def test_stop_finishes_what_is_in_flight_and_leaves_no_process() -> None:
    server = EmbeddedServer()
    url = server.start()
    assert server.wait_until_ready(TIMEOUT)
    child = psutil.Process(pid_of(server))

    with connected(url) as connection:
        connection.request("GET", "/health")
        connection.getresponse().read()
        idle = child.cpu_times().user
        send_texts(connection, *["word " * 250] * 4)  # some 400 ms of work
        eventually(lambda: child.cpu_times().user >= idle + 0.05)
        server.stop()
        vectors = json.load(connection.getresponse())

    assert len(vectors) == 4
    assert not child.is_running()
    assert server.pid is None
    server.stop()  # a second stop does nothing
    with pytest.raises(ConnectionRefusedError):
        embed(url, "hello")


def test_stop_during_the_start_leaves_no_process() -> None:
    server = EmbeddedServer()
    server.start()
    child = psutil.Process(pid_of(server))

    server.stop()

    assert not child.is_running()


def test_start_without_the_model_says_what_to_do_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MODEL", weights.WeightsFile("no-such-package", "model.onnx", "0"))
    server = EmbeddedServer()

    with pytest.raises(weights.WeightsError, match="make run"):
        server.start()

    assert server.pid is None
    assert not server.wait_until_ready(0.1)
    server.stop()


# The parent, in a process of its own, as gunicorn's master is


PARENT = """
    import json, os, signal, sys
    sys.path.insert(0, {root!r})
    from embedded.supervisor import EmbeddedServer

    def say(**facts):
        print(json.dumps(facts), flush=True)

    def reap_everything(*_):  # as gunicorn's master does
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    signal.signal(signal.SIGCHLD, reap_everything)
    server = EmbeddedServer()
    url = server.start()
    worker = os.fork()
    if worker == 0:
        server.stop()  # in a worker, stop does nothing
        say(stopped_by_worker=True)
        signal.pause()
    assert server.wait_until_ready(30)
    say(url=url, child=server.pid, worker=worker)
    for line in sys.stdin:
        exec(line)
"""


class Parent:
    """A process that owns an embedded server and has forked one worker."""

    def __init__(self, script: Path) -> None:
        script.write_text(textwrap.dedent(PARENT).format(root=str(PROJECT_ROOT)))
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        facts: dict[str, Any] = {}
        while not {"child", "stopped_by_worker"} <= set(facts):
            facts |= self.hear()
        self.url: str = facts["url"]
        self.child = psutil.Process(facts["child"])
        self.worker = psutil.Process(facts["worker"])

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        return facts

    def ask(self, statement: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        for process in (self.worker, self.child):
            if process.is_running():
                process.kill()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    parent = Parent(tmp_path / "parent.py")
    yield parent
    parent.close()


def test_the_child_dies_with_a_parent_killed_while_its_workers_still_live(parent: Parent) -> None:
    parent.process.kill()
    parent.process.wait(TIMEOUT)

    parent.child.wait(TIMEOUT)

    assert parent.worker.is_running()
    with pytest.raises(ConnectionRefusedError):  # the worker holds no copy of the listener either
        embed(parent.url, "hello")


def test_a_parent_that_reaps_every_child_still_restarts_the_embedded_server(parent: Parent) -> None:
    parent.child.kill()
    parent.child.wait(TIMEOUT)

    assert len(embed(parent.url, "hello")) == 1
    replaced = psutil.Process(parent.ask("say(child=server.pid)")["child"])
    assert replaced != parent.child

    assert parent.ask("server.stop(); say(child=server.pid)") == {"child": None}
    assert not replaced.is_running()
    assert parent.worker.is_running()

"""gunicorn's hooks do their part with a master and workers that are told to misbehave."""

from __future__ import annotations

import gc
import inspect
import io
import json
import logging
import queue
import socket
import threading
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gunicorn.config
import pytest

from config import Settings
from config.active import activate, active
from config.machine import Machine
from tests.support.upstream import ScriptedUpstream
from wiring import hooks, master
from wiring.listening import refusals
from wiring.master import EmbeddedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.active._active", None)
    activate(Settings(inference_url=("http://127.0.0.1:9",), cpu_affinity="off"))


class Halted(Exception):
    """The master would have ended."""


class FakeArbiter:
    """A master with gunicorn's settings, of which a test may spoil some."""

    def __init__(self, **spoilt: Any) -> None:
        given = {"threads": 600, "worker_class_str": hooks.WORKER_CLASS, "workers": 1, "is_ssl": False}
        self.cfg = SimpleNamespace(**{**given, "accesslog": None, "max_requests": 0, **spoilt})
        self.LISTENERS: list[Any] = []
        self.WORKERS: dict[int, Any] = {}
        self.num_workers = 1
        self.SIG_QUEUE: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.log = logging.getLogger("test.master")

    def halt(self, exit_status: int) -> None:
        raise Halted(exit_status)


@pytest.mark.parametrize(
    "name",
    [
        "on_starting",
        "on_reload",
        "when_ready",
        "pre_fork",
        "post_fork",
        "post_worker_init",
        "worker_exit",
        "child_exit",
        "on_exit",
    ],
)
def test_a_hook_has_the_name_and_the_arguments_that_gunicorn_gives(name: str) -> None:
    setting = gunicorn.config.KNOWN_SETTINGS
    default: Callable[..., object] = next(each.default for each in setting if each.name == name)
    assert len(inspect.signature(getattr(hooks, name)).parameters) == len(inspect.signature(default).parameters)


@pytest.mark.parametrize(
    ("spoilt", "word"),
    [
        ({"worker_class_str": "sync"}, "worker_class = sync"),
        ({"workers": 2}, "workers = 2"),
        ({"is_ssl": True}, "HTTP in the clear"),
        ({"threads": 1}, "threads"),
    ],
)
def test_what_gunicorns_own_command_line_spoilt_ends_the_master(
    spoilt: dict[str, Any], word: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Halted):
        hooks.when_ready(FakeArbiter(**spoilt))
    assert word in caplog.text


def test_a_master_in_order_says_what_is_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    hooks.when_ready(FakeArbiter())
    assert "http://127.0.0.1:9" in capsys.readouterr().err


def test_with_json_the_banner_is_one_object_with_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    activate(Settings(inference_url=("http://127.0.0.1:9",), log_format="json", api_key="hush"))
    hooks.when_ready(FakeArbiter())
    said = json.loads(capsys.readouterr().err)
    assert said["message"].startswith("Auto-Batching Proxy ")
    assert said["settings"]["inference_url"] == ["http://127.0.0.1:9"]
    assert said["settings"]["api_key"] == "set"
    assert said["level"] == "info"


def test_the_banner_says_what_the_upstream_speaks_and_would_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedUpstream() as upstream:
        activate(Settings(inference_url=(upstream.url,)))
        hooks.when_ready(FakeArbiter())
        line = capsys.readouterr().err.splitlines()[-1]
        said = 'speaks TEI\'s API (GET /info tells scripted): POST /embed {"inputs":["a","b"]}'
        assert line == f"  upstream {upstream.url} {said}"
        activate(Settings(inference_url=(upstream.url,), log_format="json"))
        hooks.on_reload(FakeArbiter())
        assert json.loads(capsys.readouterr().err)["upstreams"] == {upstream.url: said}


def test_the_embedded_server_is_not_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = EmbeddedUpstream()
    embedded._server, embedded._url = object(), "http://127.0.0.1:9"  # type: ignore[assignment]
    monkeypatch.setattr(hooks, "embedded_upstream", embedded)
    hooks.when_ready(FakeArbiter())
    assert "  upstream http" not in capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_console_that_is_gone_or_full_ends_no_master(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    activate(Settings(inference_url=("http://127.0.0.1:9",), log_format=log_format))
    monkeypatch.setattr("sys.stderr", None)
    hooks.when_ready(FakeArbiter())
    full = io.StringIO()
    full.close()
    monkeypatch.setattr("sys.stderr", full)
    hooks.on_reload(FakeArbiter())


def test_an_address_that_cannot_be_had_ends_the_start_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiring.hooks.refusals", partial(refusals, wait=0.0))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as left:
        hooks.on_starting(FakeArbiter(address=[taken.getsockname()]))
    assert left.value.code == 1
    (line,) = caplog.messages
    assert line.endswith("another process listens there")


def test_stacks_are_set_in_the_worker_where_the_machine_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.stack_size()
    monkeypatch.setattr(hooks, "machine", lambda: Machine(stack=1 << 30))
    try:
        hooks.post_fork(FakeArbiter(), SimpleNamespace())
        assert threading.stack_size() == 8 << 20
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize("spoilt", [{"accesslog": "-"}, {"max_requests": 5}])
def test_settings_without_effect_are_warned_about(spoilt: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    hooks.when_ready(FakeArbiter(**spoilt))
    assert "have no effect" in caplog.text


class FakeService:
    def __init__(self) -> None:
        self.events: list[str] = []

    def start(self) -> None:
        self.events.append("start")

    def stop(self) -> None:
        self.events.append("stop")


@pytest.fixture
def unfrozen() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("unfrozen")
def test_a_worker_starts_its_service_and_stops_it_at_its_end() -> None:
    service = FakeService()
    worker = SimpleNamespace(wsgi=SimpleNamespace(extensions={"service": service}), log=logging.getLogger("test"))
    hooks.post_worker_init(worker)
    hooks.worker_exit(FakeArbiter(), worker)
    assert service.events == ["start", "stop"]


@pytest.mark.parametrize("wsgi", [None, SimpleNamespace(), SimpleNamespace(extensions={})])
def test_a_worker_that_could_not_load_the_app_ends_all_the_same(wsgi: Any) -> None:
    hooks.worker_exit(FakeArbiter(), SimpleNamespace(wsgi=wsgi))


class FakeEmbedded:
    """An embedded server that counts its starts."""

    started = 0
    stopped = 0

    def __init__(self, *, threads: int, log_format: str) -> None:
        self.threads = threads
        self.log_format = log_format

    def start(self) -> str:
        FakeEmbedded.started += 1
        return "http://127.0.0.1:7"

    def stop(self) -> None:
        FakeEmbedded.stopped += 1


def test_the_embedded_server_is_started_once_and_outlives_reloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master, "EmbeddedServer", FakeEmbedded)
    embedded = EmbeddedUpstream()
    for _ in range(2):
        activate(Settings())
        embedded.ensure()
        assert active().inference_url == ("http://127.0.0.1:7",)
        assert active().source("inference_url") == "embedded server"
    embedded.stop()
    assert (FakeEmbedded.started, FakeEmbedded.stopped) == (1, 1)


def test_a_named_upstream_needs_no_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master, "EmbeddedServer", None)
    embedded = EmbeddedUpstream()
    embedded.ensure()
    embedded.stop()
    assert active().inference_url == ("http://127.0.0.1:9",)

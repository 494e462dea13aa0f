"""How the service is put together, and its command line."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import app
from app import create_app
from config import Settings, SettingsError, __version__
from config.active import activate, active, read_again
from tests.support.service import eventually
from tests.support.upstream import ScriptedUpstream, TeiForm, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask import Flask

    from wiring.service import Service


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(TeiForm({"model_id": "stub", "max_client_batch_size": 8})) as upstream:
        yield upstream


@pytest.fixture
def running(upstream: ScriptedUpstream) -> Iterator[Flask]:
    flask = create_app(Settings(inference_url=(upstream.url,)))
    service: Service = flask.extensions["service"]
    service.start()
    yield flask
    service.stop()


# Composition


def test_an_app_serves_once_its_service_has_started(running: Flask) -> None:
    response = running.test_client().post("/embed", json={"inputs": ["a", "b"]})
    assert response.data == b"[" + vector_for("a") + b"," + vector_for("b") + b"]"


def test_the_limits_follow_what_the_upstream_says(running: Flask) -> None:
    service: Service = running.extensions["service"]
    assert running.test_client().get("/health/ready").status_code == 200
    eventually(lambda: service.capacity.batch_size == 8)


def test_a_draining_service_is_not_ready_but_serves_what_still_comes(running: Flask) -> None:
    client = running.test_client()
    running.extensions["service"].drain()
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    response = client.post("/embed", json={"input": "a"})
    assert response.status_code == 200
    assert response.headers["X-Batch-Reason"] == "drain"


def test_a_stopped_service_refuses_and_leaves_no_thread(upstream: ScriptedUpstream) -> None:
    before = set(threading.enumerate())
    flask = create_app(Settings(inference_url=(upstream.url,)))
    service: Service = flask.extensions["service"]
    service.start()
    assert flask.test_client().post("/embed", json={"input": "a"}).status_code == 200
    service.stop()
    response = flask.test_client().post("/embed", json={"input": "a"})
    assert response.status_code == 503
    assert "Retry-After" in response.headers
    ours = ("batcher", "upstream-monitor")
    eventually(lambda: not [each for each in set(threading.enumerate()) - before if each.name.startswith(ours)])


def test_an_upstream_is_needed() -> None:
    with pytest.raises(ValueError, match="inference_url is needed"):
        create_app(Settings())


def test_several_upstreams_take_as_many_batches_each(upstream: ScriptedUpstream) -> None:
    urls = (upstream.url, upstream.url.replace("127.0.0.1", "localhost"))
    service = create_app(Settings(inference_url=urls, max_inflight_batches=3)).extensions["service"]
    assert service.capacity.batches(0.0) == 6
    assert service.readiness.check(1.0) == dict.fromkeys(urls, True)
    service.start()
    service.stop()


def test_both_timings_can_be_chosen(upstream: ScriptedUpstream) -> None:
    for timing in ("fixed", "adaptive"):
        create_app(Settings(inference_url=(upstream.url,), batch_timing=timing))


# The settings in force


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No settings are in force; returns the file that they will be read from."""
    file = tmp_path / "settings.toml"
    file.touch()
    monkeypatch.setattr("config.active._active", None)
    monkeypatch.setenv("CONFIG_FILE", str(file))
    return file


def test_an_app_takes_the_settings_in_force(forgotten: Path) -> None:
    activate(Settings(inference_url=("http://127.0.0.1:9",), max_concurrent_requests=77))
    assert create_app().extensions["service"].limits.max_calls == 77


def test_settings_that_were_not_read_yet_are_read(forgotten: Path) -> None:
    forgotten.write_text("max_batch_size = 7", encoding="utf-8")
    assert active().max_batch_size == 7


def test_a_mistake_in_new_settings_leaves_the_old_ones(forgotten: Path, caplog: pytest.LogCaptureFixture) -> None:
    forgotten.write_text("max_batch_size = 7", encoding="utf-8")
    good = read_again()
    forgotten.write_text("max_batch_size = 0", encoding="utf-8")
    assert read_again() is good is active()
    assert "max_batch_size = 0" in caplog.text
    forgotten.write_text("max_batch_size = 9", encoding="utf-8")
    assert read_again().max_batch_size == active().max_batch_size == 9


def test_a_mistake_in_the_first_settings_is_an_error(forgotten: Path) -> None:
    forgotten.write_text("max_batch_size = 0", encoding="utf-8")
    with pytest.raises(SettingsError, match="max_batch_size"):
        read_again()


def test_a_sizing_that_does_not_fit_the_systems_limits_counts_as_a_mistake(
    forgotten: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = read_again(open_files_limit=2000)
    forgotten.write_text("max_concurrent_requests = 5000", encoding="utf-8")
    assert read_again(open_files_limit=2000) is good is active()
    assert "open files" in caplog.text


# The command line


class _Became(Exception):
    """What this process would have turned into."""

    def __init__(self, file: str, arguments: list[str], environ: dict[str, str]) -> None:
        super().__init__(file)
        self.arguments = arguments
        self.environ = environ


@pytest.fixture
def becoming(monkeypatch: pytest.MonkeyPatch, forgotten: Path) -> None:
    def execve(file: str, arguments: list[str], environ: dict[str, str]) -> None:
        raise _Became(file, arguments, environ)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.delenv("PORT", raising=False)


@pytest.mark.usefixtures("becoming")
def test_the_command_line_becomes_gunicorn_with_its_flags_as_environment() -> None:
    with pytest.raises(_Became) as became:
        app.main(["--port", "4000", "--inference-url", "http://a", "--config", os.devnull])
    assert became.value.args == (sys.executable,)
    assert became.value.arguments[1:3] == ["-m", "gunicorn"]
    assert became.value.arguments[-1] == "app:create_app()"
    environ = became.value.environ
    assert environ["PORT"] == environ["AUTOBATCH_PORT"] == "4000"
    assert environ["INFERENCE_URL"] == "http://a"
    assert environ["CONFIG_FILE"] == os.devnull
    assert "MAX_BATCH_SIZE" not in environ


@pytest.mark.usefixtures("becoming")
def test_a_mistake_on_the_command_line_ends_with_its_message() -> None:
    with pytest.raises(SystemExit) as left:
        app.main(["--prot", "1", "--max-batch-size", "0"])
    assert "--port" in str(left.value.code)
    assert "max_batch_size = 0" in str(left.value.code)


@pytest.mark.usefixtures("becoming")
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_print_and_leave(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        app.main([flag])
    assert left.value.code == 0
    assert ("--max-batch-size" if flag == "--help" else __version__) in capsys.readouterr().out

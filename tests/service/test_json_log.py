"""With log_format = json each line of the service is a JSON object, from the first to the last."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from config import DECLARATIONS
from tests.support.service import APP, GUNICORN, ROOT, Service, environment, eventually
from tests.support.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def lines(log: str) -> list[dict[str, Any]]:
    """Return the log's lines; fails with the first that is no JSON object."""
    objects = [json.loads(line) for line in log.splitlines()]
    assert all({"time", "level", "logger", "message", "pid"} <= line.keys() for line in objects)
    return objects


def run(command: Sequence[str], **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """Return how a service ended that could not start, and what it said."""
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(**{"CONFIG_FILE": os.devnull} | variables),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.stdout == ""
    return ended.returncode, lines(ended.stderr)


def test_a_whole_life_is_told_in_json(tmp_path: Path) -> None:
    with (
        ScriptedUpstream() as upstream,
        Service(tmp_path, inference_url=upstream.url, log_format="json", workers=2) as service,
    ):
        for text, complaint in (("max_batch_size = 16", "Hang up"), ("max_batch_size = 0", "the last good ones stay")):
            seen = service.log.count("Booting worker")
            service.config_file.write_text(text, encoding="utf-8")
            service.signal(signal.SIGHUP)
            eventually(lambda: complaint in service.log)  # noqa: B023
            eventually(lambda: service.log.count("Booting worker") == seen + 2)  # noqa: B023
        service.wait_until_serving()
        os.kill(service.workers[0], signal.SIGSEGV)
        eventually(lambda: "was sent SIGSEGV" in service.log)
        assert service.embed("a").status == 200
        assert service.stop() == 0
        banners = [line for line in lines(service.log) if line["logger"] == "banner"]
    assert len(banners) == 3
    assert banners[0]["settings"].keys() == {each.name for each in DECLARATIONS}
    assert [each["settings"]["max_batch_size"] for each in banners] == [32, 16, 16]


def test_the_embedded_server_speaks_json_too(tmp_path: Path) -> None:
    with Service(tmp_path, log_format="json") as service:
        eventually(lambda: service.get("/health/ready").status == 200)
        service.stop()
        embedded = [line["message"] for line in lines(service.log) if line["logger"] == "embedded"]
    assert any("[5/5]" in line for line in embedded)


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ([*APP, "--log-format", "json", "--port", "x"], {}),
        ([*APP, "--port", "x"], {"LOG_FORMAT": "json"}),
        (GUNICORN, {"LOG_FORMAT": "json", "PORT": "x"}),
        ([*APP, "--log-format", "jsonl"], {}),
    ],
)
def test_refused_settings_are_one_object(command: Sequence[str], variables: dict[str, str]) -> None:
    status, said = run(command, INFERENCE_URL="http://127.0.0.1:9", **variables)
    assert status == 1
    (line,) = said
    assert line["level"] == "error"
    assert len(line["problems"]) == 1


def test_settings_that_a_file_spoils_are_refused_in_json_where_the_file_asks_for_it(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('log_format = "json"\nport = "x"\n', encoding="utf-8")
    status, (line,) = run(APP, CONFIG_FILE=str(file))
    assert status == 1
    assert 'port = \\"x\\"' in json.dumps(line["problems"])


def test_a_port_in_use_ends_the_start_in_json() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = run(
            [*APP, "--log-format", "json", "--host", "127.0.0.1", "--port", port, "--inference-url", "http://a"]
        )
    assert status == 1
    assert said[-1]["message"] == f"cannot listen on 127.0.0.1 port {port}: another process listens there"


def test_what_gunicorn_prints_of_its_own_mistakes_is_json() -> None:
    status, said = run([*GUNICORN, "--worker-class", "no.such.Class"], LOG_FORMAT="json", INFERENCE_URL="http://a")
    assert status != 0
    assert said

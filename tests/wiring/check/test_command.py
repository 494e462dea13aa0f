"""`python app.py check` ends with the right status, and says what it found, against a scripted upstream."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from config import active
from tests.support.service import ROOT, environment
from tests.support.upstream import ScriptedUpstream, TeiForm, closed_port
from tests.support.upstream.faults import only_calls, refusal
from wiring.check import command, measuring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(TeiForm()) as upstream:
        yield upstream


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure two small crowds for a moment, and leave the settings in force as they are."""
    monkeypatch.setattr(active, "_active", None)
    monkeypatch.setattr(measuring, "CLIENTS", (1, 4))
    monkeypatch.setattr(measuring, "WINDOW", 0.3)
    monkeypatch.setattr(measuring, "CALLS_IN_WINDOW", 0)
    monkeypatch.setattr(measuring, "SIZE_SECONDS", 0.0)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "app.py", "check", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_an_upstream_that_answers_a_text_is_ready(upstream: ScriptedUpstream) -> None:
    done = run("--quick", "--inference-url", upstream.url)
    assert done.returncode == command.READY, done.stderr
    assert f"upstream {upstream.url} speaks TEI's API" in done.stdout
    assert "one text: a vector of" in done.stdout
    assert "max_batch_size" in done.stdout
    assert done.stderr == ""


def test_without_any_upstream_that_answers_the_status_tells_it() -> None:
    done = run("--inference-url", closed_port())
    assert done.returncode == command.NOT_READY
    assert "not ready: " in done.stdout


def test_one_ready_upstream_of_two_is_enough(upstream: ScriptedUpstream) -> None:
    done = run("--quick", "--inference-url", closed_port(), "--inference-url", upstream.url)
    assert done.returncode == command.READY
    assert done.stdout.count("upstream http") == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--max-batch-size", "0"], "max_batch_size = 0"),
        (["--quik"], "--quik: unknown"),
        (["--max-concurrent-requests", "9999", "--threads", "10"], "threads"),
    ],
)
def test_wrong_settings_are_named_and_have_a_status_of_their_own(arguments: list[str], named: str) -> None:
    done = run(*arguments)
    assert done.returncode == command.WRONG_SETTINGS
    assert named in done.stderr
    assert done.stdout == ""


@pytest.mark.usefixtures("_quickly")
def test_calls_and_crowds_are_measured_and_judged(
    upstream: ScriptedUpstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "check.png"
    arguments = ["--json", "--png", str(picture), "--max-batch-size", "4", "--inference-url", upstream.url]
    assert command.main(arguments) == command.READY
    printed = capsys.readouterr()
    members: dict[str, Any] = json.loads(printed.out)
    (found,) = members["upstreams"]
    assert list(found["call_ms"]) == ["1", "2", "4"]
    assert [each["clients"] for each in members["crowds"]] == [1, 4]
    assert all(each["gain"] > 0 for each in members["crowds"])
    assert members["verdict"].startswith("Batching ")
    assert members["settings"]["max_batch_size"] == 4
    assert members["verdict"] in printed.err
    assert picture.stat().st_size > 10_000


@pytest.mark.usefixtures("_quickly")
def test_an_upstream_that_refuses_the_text_is_not_ready(
    upstream: ScriptedUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.fault = only_calls(refusal(500, "out of memory"))
    assert command.main(["--inference-url", upstream.url]) == command.NOT_READY
    assert "out of memory" in capsys.readouterr().out

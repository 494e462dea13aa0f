"""With JSON, whatever is printed becomes log lines; warnings and uncaught exceptions do in each format."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from config.console import JsonLines, json_line

ROOT = Path(__file__).resolve().parents[2]


def printed(text: str, *more: str) -> list[dict[str, Any]]:
    """Return the lines that come of these prints."""
    beneath = io.StringIO()
    stream = JsonLines(beneath, "stderr", logging.ERROR)
    for each in (text, *more):
        stream.write(each)
    return [json.loads(line) for line in beneath.getvalue().splitlines()]


def test_each_line_becomes_an_object_with_level_and_logger() -> None:
    first, second = printed("one\ntwo\n")
    assert (first["level"], first["logger"], first["message"]) == ("error", "stderr", "one")
    assert second["message"] == "two"


def test_a_line_may_be_printed_in_pieces() -> None:
    (line,) = printed("to", "geth", "er\n", "not yet over")
    assert line["message"] == "together"


def test_what_has_no_line_end_is_said_at_the_end() -> None:
    beneath = io.StringIO()
    stream = JsonLines(beneath, "stderr", logging.ERROR)
    print("the end", end="", file=stream, flush=True)
    stream.flush()
    assert [json.loads(line)["message"] for line in beneath.getvalue().splitlines()] == ["the end"]


def test_a_json_object_stays_as_it_is_and_empty_lines_are_left_out() -> None:
    assert printed('\n  \n{"a": 1}\n') == [{"a": 1}]
    assert printed("[1]\n", "{oops}\n")[1]["message"] == "{oops}"


def test_a_redrawn_line_counts_as_it_looks_in_the_end() -> None:
    (line,) = printed("10 %\r50 %\r100 %\r\n")
    assert line["message"] == "100 %"


def test_threads_do_not_mix_their_lines() -> None:
    beneath = io.StringIO()
    stream = JsonLines(beneath, "stdout", logging.INFO)
    stream.write("mi")
    other = threading.Thread(target=stream.write, args=("whole\n",))
    other.start()
    other.join()
    stream.write("ne\n")
    assert [json.loads(line)["message"] for line in beneath.getvalue().splitlines()] == ["whole", "mine"]


class FullDisk(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_console_that_is_full_ends_nothing() -> None:
    print("lost", file=JsonLines(FullDisk(), "stderr", logging.ERROR), flush=True)


def test_a_line_may_have_members_of_its_own() -> None:
    said = json.loads(json_line("config", logging.ERROR, "refused", problems=["a", "b"]))
    assert (said["logger"], said["level"], said["problems"]) == ("config", "error", ["a", "b"])


# A process


PROGRAM = """
import logging.config, sys, threading, warnings
from config import Settings
from config.console import take_over
from config.logs import logging_config
settings = Settings(log_format=sys.argv[1])
take_over("json")
take_over(settings.log_format)
logging.config.dictConfig(logging_config(settings))
print("on stdout")
print("on stderr", file=sys.stderr)
warnings.warn("old", DeprecationWarning, stacklevel=1)
thread = threading.Thread(target=lambda: 1 / 0, name="doomed")
thread.start()
thread.join()
class Careless:
    def __del__(self):
        raise ValueError("in a finalizer")
Careless()
quiet = threading.Thread(target=sys.exit)
quiet.start()
quiet.join()
raise KeyError("the end")
"""


def run(log_format: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "default", "-c", PROGRAM, log_format]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_with_json_each_line_of_a_process_is_an_object() -> None:
    done = run("json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["message"] == "on stdout"
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(lines) == 5
    assert lines[0]["message"] == "on stderr"
    assert "DeprecationWarning: old" in lines[1]["message"]
    assert lines[2]["message"].endswith("thread doomed")
    assert "ZeroDivisionError" in lines[2]["exception"]
    assert "in a finalizer" in lines[3]["exception"]
    assert (lines[4]["level"], lines[4]["message"]) == ("critical", "an exception ends the process")
    assert "KeyError: 'the end'" in lines[4]["exception"]


def test_as_text_prints_stay_and_exceptions_are_events() -> None:
    done = run("text")
    assert done.stdout == "on stdout\n"
    assert "on stderr\n" in done.stderr
    assert "CRITICAL" in done.stderr
    assert "python: an exception ends the process\nTraceback" in done.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_refused_settings_end_the_process_with_status_1(log_format: str) -> None:
    command = [sys.executable, "app.py", "--port", "x", "--workers", "0", "--log-format", log_format]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    if log_format == "json":
        said = json.loads(done.stderr)
        assert said["level"] == "error"
        assert len(said["problems"]) == 2
        assert "port" in said["message"]
    else:
        assert done.stderr.startswith("The settings have 2 problems:\n  port = ")

"""Log lines are text or JSON, gunicorn's lines too."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import time
from typing import TYPE_CHECKING

import pytest

from config import Settings
from config.logs import JsonFormatter, TextFormatter, logging_config

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("", "gunicorn.error", "gunicorn.access", "urllib3")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put the loggers back as they were: their configuration belongs to the whole process."""
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(each.level, list(each.handlers), each.propagate) for each in loggers]
    yield
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


def record(message: str, *args: object, **more: object) -> logging.LogRecord:
    return logging.LogRecord("some.name", logging.WARNING, "file.py", 1, message, args, **({"exc_info": None} | more))  # type: ignore[arg-type]


def test_a_json_line_is_one_object() -> None:
    line = JsonFormatter().format(record("%s items\nand a line", 3))
    assert "\n" not in line
    said = json.loads(line)
    assert said.keys() == {"time", "level", "logger", "message", "pid"}
    assert (said["level"], said["logger"], said["message"]) == ("warning", "some.name", "3 items\nand a line")


def test_the_time_is_utc_with_milliseconds_wherever_the_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", lambda _=None: time.gmtime(0))
    moment = record("x")
    moment.created, moment.msecs = 1_700_000_000.25, 250.0
    assert json.loads(JsonFormatter().format(moment))["time"] == "2023-11-14T22:13:20.250Z"


def test_an_exception_is_part_of_the_line() -> None:
    try:
        raise ValueError("what went wrong")
    except ValueError:
        line = JsonFormatter().format(record("x", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: what went wrong" in json.loads(line)["exception"]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("back\rand over", "back\\rand over"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("\u2028 \u202edesrever", "\\u2028 \\u202edesrever"),
        ("Zürich, 東京, 🙂", "Zürich, 東京, 🙂"),
    ],
)
def test_a_text_line_stays_one_line_whatever_an_upstream_says(words: str, shown: str) -> None:
    line = TextFormatter().format(record("upstream serves %s", words))
    assert line.endswith(f"some.name: upstream serves {shown}")
    assert len(line.splitlines()) == 1


def test_a_traceback_keeps_its_lines_but_no_terminal_escapes() -> None:
    try:
        raise ValueError("\x1b[2Jwhat went wrong")
    except ValueError:
        first, *rest = TextFormatter().format(record("x", exc_info=sys.exc_info())).splitlines()
    assert first.endswith(": x")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: \\x1b[2Jwhat went wrong"


def test_members_are_added_to_the_object() -> None:
    said = json.loads(JsonFormatter().format(record("x")))
    moment = record("x")
    moment.members = {"url": "http://a", "path": json}
    assert json.loads(JsonFormatter().format(moment)).keys() == said.keys() | {"url", "path"}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_gunicorns_lines_look_like_ours_and_come_once(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logging_config(Settings(log_format=log_format)))
    logging.getLogger("gunicorn.error").info("from gunicorn")
    logging.getLogger("batching").info("from us")
    logging.getLogger("batching").debug("not wanted")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert [name in line for name, line in zip(("from gunicorn", "from us"), lines, strict=True)] == [True, True]
    if log_format == "json":
        assert [json.loads(line)["message"] for line in lines] == ["from gunicorn", "from us"]


def test_the_level_counts_for_gunicorn_too(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logging_config(Settings(log_level="error")))
    logging.getLogger("gunicorn.error").warning("less")
    logging.getLogger("batching").error("more")
    assert "less" not in (lines := capsys.readouterr().err)
    assert "more" in lines


def test_warnings_of_urllib3_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logging_config(Settings(log_level="debug")))
    logging.getLogger("urllib3.connectionpool").warning("Retrying")
    assert capsys.readouterr().err == ""

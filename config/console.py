"""Makes log lines of what would reach the console raw: prints, warnings, uncaught exceptions, refused settings."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from config.logs import JsonFormatter

if TYPE_CHECKING:
    from config.errors import SettingsError

log = logging.getLogger("python")

_JSON = JsonFormatter()


def json_line(logger: str, level: int, message: str, **members: Any) -> str:
    """Return one log line as a JSON object, without a line end, for what is said where no logger can say it."""
    record = logging.LogRecord(logger, level, "", 0, message, None, None)
    record.members = members
    return _JSON.format(record)


class JsonLines(io.TextIOBase):
    """A text stream that writes each line printed to it as a JSON log line; a line that is an object stays as it is.

    Lines are put together for each thread: two threads that print at once do not mix theirs.
    """

    def __init__(self, beneath: TextIO, logger: str, level: int) -> None:
        """``beneath``: where the JSON goes. ``logger`` and ``level``: those of every line."""
        super().__init__()
        self.beneath = beneath
        self._logger = logger
        self._level = level
        self._begun = threading.local()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream beneath."""
        return self.beneath.encoding

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.beneath.fileno()

    def write(self, text: str, /) -> int:
        *whole, rest = (getattr(self._begun, "text", "") + text).split("\n")
        self._begun.text = rest
        self._say(whole)
        return len(text)

    def flush(self) -> None:
        """Say what was printed without a line end, too: the process may end now."""
        rest, self._begun.text = getattr(self._begun, "text", ""), ""
        self._say([rest])

    def _say(self, lines: list[str]) -> None:
        # A line that is redrawn on a terminal counts as it looks in the end.
        shown = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
        said = "".join(f"{self._as_json(line)}\n" for line in shown if line.strip())
        if said:
            with suppress(OSError, ValueError):  # a console that is gone, or full, ends nothing
                self.beneath.write(said)
                self.beneath.flush()

    def _as_json(self, line: str) -> str:
        return line if _is_object(line) else json_line(self._logger, self._level, line)


def _is_object(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def take_over(log_format: str) -> None:
    """Let everything this process says from now on be log lines in ``log_format``, text or json.

    Warnings and uncaught exceptions, those of threads too, become events of the log. With json, each line that is
    printed becomes an object, whichever library prints it. May be called again, with another format too.
    """
    for name, level in (("stdout", logging.INFO), ("stderr", logging.ERROR)):
        stream = getattr(sys, name)
        beneath = getattr(stream, "beneath", stream)
        if beneath is not None:  # it is where the descriptor was closed before the start
            setattr(sys, name, JsonLines(beneath, name, level) if log_format == "json" else beneath)
    logging.captureWarnings(True)
    sys.excepthook = _on_uncaught
    sys.unraisablehook = _on_unraisable
    threading.excepthook = _on_thread_death


def _on_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    log.critical("an exception ends the process", exc_info=(kind, error, trace))


def _on_thread_death(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        log.error("an exception ends the thread %s", name, exc_info=args.exc_value)


def _on_unraisable(args: sys.UnraisableHookArgs) -> None:
    if args.exc_value is not None:
        log.error("%s: %r", args.err_msg or "an exception is ignored in", args.object, exc_info=args.exc_value)


def refuse(error: SettingsError) -> NoReturn:
    """End the process with status 1 and every problem of the settings, in the log format that they ask for."""
    if error.log_format != "json":
        sys.exit(str(error))
    take_over("json")
    problems = [str(problem) for problem in error.problems]
    if sys.stderr is not None:
        sys.stderr.write(json_line("config", logging.ERROR, error.on_one_line, problems=problems) + "\n")
    sys.exit(1)

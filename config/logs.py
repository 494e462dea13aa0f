"""Configures logging: one line an event on standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from config.settings import Settings

#: The logger of lines for each request and upstream call.
REQUEST_LOGGER = "autobatch.requests"

_TEXT = "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s"

#: What would end a line, move a terminal's cursor or turn the direction of its text. Words of upstreams and clients
#: are logged, and must not look like lines of their own.
_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: chr(code).encode("unicode_escape").decode("ascii") for code in _CONTROL}
_ESCAPES_IN_A_TRACEBACK = {code: text for code, text in _ESCAPES.items() if chr(code) not in "\n\t"}


def on_one_line(text: str) -> str:
    r"""Return ``text`` with each line break and control character written as an escape such as ``\n`` or ``\x1b``."""
    return text.translate(_ESCAPES)


class TextFormatter(logging.Formatter):
    """One line an event; only a traceback, whose lines are ours, adds lines of its own."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return on_one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return super().formatException(ei).translate(_ESCAPES_IN_A_TRACEBACK)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, pid and, if there was one, the exception.

    ``extra={"members": {...}}`` in a call of the logger adds members to the object.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            **getattr(record, "members", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the moment, beneath the stream that makes log lines of prints."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error; `config.console` may have put a stream of its own in front."""
        stream: TextIO = getattr(sys.stderr, "beneath", sys.stderr)
        return stream


def formatter(log_format: str) -> logging.Formatter:
    """Return the formatter of ``log_format``, text or json."""
    return JsonFormatter() if log_format == "json" else TextFormatter()


def logging_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration for ``logging.config.dictConfig``; gunicorn's loggers are part of it."""
    level = settings.log_level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "config.logs.formatter", "log_format": settings.log_format}},
        "handlers": {"stderr": {"()": "config.logs.StderrHandler", "formatter": "line"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # Propagate to the root: gunicorn would otherwise add a handler and a format of its own.
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
            # The upstream side reports failed connections itself, as errors and log lines of its own.
            "urllib3": {"level": "ERROR"},
            # They are asked for by a setting of their own (`log_requests`), so the level of the others does not count.
            REQUEST_LOGGER: {"level": "INFO"},
        },
    }

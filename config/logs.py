"""Configures logging: one line an event on standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from config.settings import Settings

_TEXT = "%(asctime)s %(levelname)-7s [%(process)d] %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, pid and, if there was one, the exception."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def logging_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration for ``logging.config.dictConfig``; gunicorn's loggers are part of it."""
    formatter: dict[str, Any] = (
        {"()": "config.logs.JsonFormatter"} if settings.log_format == "json" else {"format": _TEXT}
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"level": settings.log_level.upper(), "handlers": ["stderr"]},
        "loggers": {
            # Propagate to the root: gunicorn would otherwise add a handler and a format of its own.
            "gunicorn.error": {"level": settings.log_level.upper(), "handlers": [], "propagate": True},
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": True},
            # The upstream side reports failed connections itself, as errors and log lines of its own.
            "urllib3": {"level": "ERROR"},
        },
    }

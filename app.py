"""The WSGI app, and the service's command line: ``python app.py --help``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from config import DECLARATIONS, SettingsError, __version__, load_settings
from config.active import active
from config.console import refuse, take_over
from config.environment import FLAGS_ENV, prefixed
from config.fitting import is_small
from config.flags import CONFIG_ENV, parse_flags
from config.machine import look

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the WSGI app. Its ``extensions["service"]`` has to be started before it can answer.

    Under gunicorn the settings are those that the configuration file has read.
    """
    from wiring.service import Service  # noqa: PLC0415 - the command line needs none of what this loads

    return Service(active() if settings is None else settings).app


def main(argv: Sequence[str]) -> None:
    """Check the settings, hand the flags on as environment, and become gunicorn; or carry out `check`."""
    if argv[:1] == ["check"]:
        from wiring.check.command import main as check  # noqa: PLC0415 - it needs all of the service

        sys.exit(check(argv[1:]))
    try:
        settings = load_settings(argv, version=__version__)
    except SettingsError as problem:
        refuse(problem)
    if settings.log_format == "json":
        take_over("json")  # should gunicorn not be there to be started
    root = Path(__file__).resolve().parent
    flags = [each for each in DECLARATIONS if settings.source(each.name).startswith("flag ")]
    texts = {each: _text(getattr(settings, each.name)) for each in flags}
    # Under both names: a flag beats a variable, whichever name that has.
    given = {name: text for each, text in texts.items() for name in (each.env, prefixed(each))}
    # gunicorn.conf.py reads the settings again: these came by a flag, and its messages are to say so.
    given[FLAGS_ENV] = ",".join(each.name for each in flags)
    if (file := parse_flags(argv).config) is not None:
        given[CONFIG_ENV] = file
    if is_small(look()):
        # The C library would take 64 MB of addresses for each of many threads, and leave gaps in each.
        given["MALLOC_ARENA_MAX"] = os.environ.get("MALLOC_ARENA_MAX", "1")
    arguments = ["-m", "gunicorn", "-c", str(root / "gunicorn.conf.py"), "--chdir", str(root), "app:create_app()"]
    os.execve(sys.executable, [sys.executable, *arguments], os.environ | given)  # noqa: S606


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Holds the settings in force in this process: gunicorn's master reads them, the workers it forks inherit them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from config.errors import SettingsError
from config.sizing import sizing_problems
from config.sources import load_settings

if TYPE_CHECKING:
    from config.settings import Settings

log = logging.getLogger(__name__)

_active: Settings | None = None


def activate(settings: Settings) -> Settings:
    """Make these the settings in force, in this process and in those that it forks from now on."""
    global _active  # noqa: PLW0603 - the one place where a process keeps its settings
    _active = settings
    return settings


def active() -> Settings:
    """Return the settings in force; without an ``activate`` before, read them from file and environment."""
    return load_settings() if _active is None else _active


def read_again(open_files_limit: int | None = None) -> Settings:
    """Read the settings again, on SIGHUP; if they have a problem, the last good ones stay in force.

    Raises ``SettingsError`` only at the start, when there are no last good ones.
    """
    try:
        return activate(_read(open_files_limit))
    except SettingsError as problem:
        if _active is None:
            raise
        log.error("the new settings are not used, the last good ones stay: %s", problem)  # noqa: TRY400
        return _active


def _read(open_files_limit: int | None) -> Settings:
    settings = load_settings()
    if problems := sizing_problems(settings, open_files_limit=open_files_limit):
        raise SettingsError(problems)
    return settings

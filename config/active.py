"""Holds the settings in force in this process: gunicorn's master reads them, the workers it forks inherit them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from config.errors import SettingsError
from config.fitting import fit
from config.keys import others_may_read
from config.machine import Machine
from config.sizing import sizing_problems
from config.sources import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from config.errors import Problem
    from config.fitting import Fitted
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


def current() -> Settings | None:
    """Return the settings in force; None before there are any."""
    return _active


def read_again(
    open_files_limit: int | None = None,
    machine: Machine | None = None,
    check: Callable[[Settings], Iterable[Problem]] = lambda _: (),
    notes: list[str] | None = None,
) -> Settings:
    """Read the settings again, on SIGHUP; if they have a problem, the last good ones stay in force.

    Sizes that were left at their defaults are lowered to what ``machine`` allows, and ``notes`` gets a line on each.
    ``check`` finds problems of its own. Raises ``SettingsError`` only at the start, when there are no last good ones.
    """
    try:
        fitted = _read(open_files_limit, machine or Machine(), check)
    except SettingsError as problem:
        if _active is None:
            raise
        log.error("the new settings are not used, the last good ones stay: %s", problem.on_one_line)  # noqa: TRY400
        return _active
    if notes is not None:
        notes += fitted.notes
        if (path := fitted.settings.api_keys_file) and others_may_read(path):
            notes.append(f"api_keys_file = {path}: every user of this machine may read it (chmod o-r)")
    return activate(fitted.settings)


def _read(open_files_limit: int | None, machine: Machine, check: Callable[[Settings], Iterable[Problem]]) -> Fitted:
    fitted = fit(load_settings(), machine)
    settings = fitted.settings
    problems = [
        *fitted.problems,
        *sizing_problems(settings, open_files_limit=open_files_limit),
        *check(settings),
    ]
    if problems:
        raise SettingsError(problems, log_format=settings.log_format)
    return fitted

"""The directory in which several worker processes keep what they count."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes that must be free at the start: what a few workers reserve for their files.
LEAST_FREE = 8 * 1024 * 1024

#: Our own directories, in one that may hold the files of others; and the file by whose lock the living are told.
_PREFIX, _OWNER = "autobatch-metrics-", "owner.lock"


class UnusableError(Exception):
    """The directory cannot hold metrics; the message says why."""


def _free(directory: Path) -> int:
    usage = shutil.disk_usage(directory)
    # A memory file system without a limit says 0 of 0.
    return usage.free if usage.total else LEAST_FREE


def make_own(parent: Path, free: Callable[[Path], int] = _free) -> Path:
    """Make an empty directory below ``parent`` for this master and its workers, and return it.

    Nothing else in ``parent`` is touched but the directories of earlier masters that have ended: each holds a lock as
    long as it or one of its workers lives.

    Raises:
        UnusableError: there is no place for it.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        left = free(parent)
        if left < LEAST_FREE:
            raise UnusableError(f"{parent} has {left} bytes free: several workers need {LEAST_FREE} for their metrics")
        made = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
        # The descriptor stays open, in the workers too. The directory gets its name when the lock is held.
        with suppress(OSError):
            fcntl.flock(os.open(made / _OWNER, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600), fcntl.LOCK_EX)
        return made.rename(parent / made.name.removeprefix("."))
    except OSError as problem:
        raise UnusableError(f"{parent} cannot be used for metrics: {problem.strerror}") from problem


def _remove_abandoned(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(directory / _OWNER, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(descriptor)

"""Finds a place for the files by which gunicorn's master sees that its workers' main loops turn."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gunicorn.workers import base

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

#: In memory: a slow disk must not look like a dead worker.
IN_MEMORY = "/dev/shm"  # noqa: S108 - a file is tried there before it is used


class MemoryFile:
    """A heartbeat file without a directory, with the methods of gunicorn's ``WorkerTmp``."""

    def __init__(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn gives it
        self._descriptor = os.memfd_create("heartbeat")

    def notify(self) -> None:
        """Say that the main loop turns: the file's time is the beat."""
        now = time.monotonic()
        os.utime(self._descriptor, (now, now))

    def last_update(self) -> float:
        """Return when `notify` was called last, in monotonic seconds."""
        return os.fstat(self._descriptor).st_mtime

    def fileno(self) -> int:
        """Return the descriptor, which the worker inherits."""
        return self._descriptor

    def close(self) -> None:
        """Close this process's descriptor; may be repeated."""
        with suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1


def place_heartbeat(directories: Sequence[str | None] = (IN_MEMORY,)) -> str | None:
    """Return gunicorn's ``worker_tmp_dir``: the first directory that takes a file.

    Where there is none, the heartbeat becomes a file without a directory, and the answer is None. Where the kernel
    makes no such files, any directory for temporary files has to do.

    Raises ``OSError`` where nothing takes a file.
    """
    for directory in directories:
        if takes_a_file(directory):
            return directory
    try:
        os.close(os.memfd_create("trial"))
    except (OSError, AttributeError):
        return tempfile.gettempdir()
    base.WorkerTmp = MemoryFile
    log.info("%s takes no files: the workers' heartbeats are files in memory without a directory", directories[0])
    return None


def takes_a_file(directory: str | None) -> bool:
    """Whether a file can be made in the directory and written to."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"1")
            file.flush()
            os.utime(file.fileno())
    except OSError:
        return False
    return True

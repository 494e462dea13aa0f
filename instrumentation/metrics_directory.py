"""The directory in which several worker processes keep what they count."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Bytes that must be free: the files are mapped into memory, and a process that cannot write to its own is killed.
LEAST_FREE = 64 * 1024 * 1024


def _free(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def prepare(directory: Path, free: Callable[[Path], int] = _free) -> str | None:
    """Make the directory ready for new processes; return what is wrong with it, if anything is.

    Only what earlier processes counted is removed, nothing that may lie beside it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file in directory.glob("*.db"):
            file.unlink()
        left = free(directory)
    except OSError as problem:
        return f"{directory} cannot be used for metrics: {problem.strerror}"
    if left < LEAST_FREE:
        return (
            f"{directory} has {left} bytes free: several workers need {LEAST_FREE} there for their metrics, "
            "and would be killed where it fills up"
        )
    return None

"""Keeps a worker process on one core, where its threads hand the interpreter lock over without waking another core.

Threads of one process run one at a time under the interpreter lock anyway. Spread over several cores, a thread wakes on
one core, finds the lock taken on another and sleeps again. On one core the scheduler hands over core and lock together.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


def choose_core(allowed: Collection[int], bound: Mapping[int, int], turn: int) -> int:
    """Return the allowed core with the fewest processes that may run nowhere else.

    ``allowed``: numbers of cores, at least one. ``bound``: such processes by core. ``turn``: any number; it decides
    between equal cores, so that services that start together choose different ones.
    """
    cores = sorted(allowed)
    fewest = min(bound.get(core, 0) for core in cores)
    free = [core for core in cores if bound.get(core, 0) == fewest]
    return free[turn % len(free)]


def stay_on_one_core() -> int | None:
    """Bind this process and the threads it will start to one core, and return the core.

    Return None, and bind nothing, with a single core, without an interpreter lock, or on a system without affinity.
    """
    if not hasattr(os, "sched_setaffinity") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        return None
    core = choose_core(allowed, _bound_processes(), os.getpid())
    os.sched_setaffinity(0, {core})
    return core


def _bound_processes() -> Counter[int]:
    """Count, for each core, the processes that are bound to it alone."""
    return Counter(core for core in map(_only_core, _statuses()) if core is not None)


def _statuses() -> Iterable[str]:
    """Yield ``/proc/*/status`` of each process with memory of its own, which kernel threads have not."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = (process / "status").read_text(errors="replace")
            if "VmRSS:" in status:
                yield status


def _only_core(status: str) -> int | None:
    _, _, rest = status.partition("Cpus_allowed_list:")
    allowed = rest.partition("\n")[0].strip()
    return int(allowed) if allowed.isdigit() else None

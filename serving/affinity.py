"""Keeps a worker process on one core, where its threads hand the interpreter lock over without waking another core.

Threads of one process run one at a time under the interpreter lock anyway. Spread over several cores they wake on one,
find the lock taken on another and sleep again. On one core the scheduler hands over core and lock together.
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


def choose_core(allowed: Collection[int], tenants: Mapping[int, int], turn: int) -> int:
    """Return the allowed core with the fewest tenants (processes that may run nowhere else).

    ``turn``: any number; it decides between equals, so that services which start together part.
    """
    cores = sorted(allowed)
    fewest = min(tenants.get(core, 0) for core in cores)
    free = [core for core in cores if tenants.get(core, 0) == fewest]
    return free[turn % len(free)]


def stay_on_one_core() -> int | None:
    """Bind this process, with all its threads to come, to one core; return it, or None where that is no use.

    No use: a single core, an interpreter without the lock, a system without affinity.
    """
    if not hasattr(os, "sched_setaffinity") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        return None
    core = choose_core(allowed, _tenants(), os.getpid())
    os.sched_setaffinity(0, {core})
    return core


def _tenants() -> Counter[int]:
    """Count, for each core, the processes that are bound to it alone."""
    return Counter(core for core in map(_only_core, _statuses()) if core is not None)


def _statuses() -> Iterable[str]:
    """Yield what the system says of each process that has memory of its own (kernel threads have none)."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = (process / "status").read_text(errors="replace")
            if "VmRSS:" in status:
                yield status


def _only_core(status: str) -> int | None:
    _, _, rest = status.partition("Cpus_allowed_list:")
    allowed = rest.partition("\n")[0].strip()
    return int(allowed) if allowed.isdigit() else None

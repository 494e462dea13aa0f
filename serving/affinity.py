"""Keeps a worker process on one core, where its threads hand the interpreter lock over without waking another core.

Threads of one process run one at a time under the interpreter lock anyway. Spread over several cores, a thread wakes on
one core, finds the lock taken on another and sleeps again. On one core the scheduler hands over core and lock together.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from serving.cores import Claims, Ticks, bound_processes, loads, ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

log = logging.getLogger(__name__)

#: Seconds for which the load of the cores is watched before one is chosen.
LOOK = 0.05
#: Seconds between two later looks, and how many in a row must find the core crowded.
CHECK_EVERY, CROWDED_CHECKS = 5.0, 2
#: A core this busy is full, one this busy has room, and so much of a core by others slows this process.
FULL, ROOMY, MUCH = 0.9, 0.5, 0.25
#: With less work of its own this process gives the scheduler no reason to move the others away.
OWN = 0.1

_claims: Claims | None = None


def choose_core(allowed: Collection[int], bound: Mapping[int, int], load: Mapping[int, float], turn: int) -> int:
    """Return the allowed core with the fewest processes that may run nowhere else; of those, one of the idlest.

    ``allowed``: numbers of cores, at least one. ``bound``: such processes by core. ``load``: how busy each core is, 0
    to 1. ``turn``: any number; it decides between equal cores, so that services that start together and see nothing of
    each other choose different ones.
    """
    cores = sorted(allowed)
    # Four steps: a little more or less load is chance.
    costs = {core: (bound.get(core, 0), round(4 * load.get(core, 0.0))) for core in cores}
    best = [core for core in cores if costs[core] == min(costs.values())]
    return best[turn % len(best)]


def is_crowded(core: int, load: Mapping[int, float], own: float) -> bool:
    """Return whether others take much of a full core that this process needs, while another core has room.

    ``load``: how busy each allowed core was, 0 to 1. ``own``: this process's part of a core, 0 to 1.
    """
    busy = load.get(core, 0.0)
    has_room = any(each <= ROOMY for other, each in load.items() if other != core)
    return busy >= FULL and own >= OWN and busy - own >= MUCH and has_room


def stay_on_one_core() -> int | None:
    """Bind this process and the threads it will start to one core, and return the core.

    Return None, and bind nothing, with a single core, without an interpreter lock, on a system without affinity, or
    where it is forbidden, which is logged.
    """
    global _claims  # noqa: PLW0603 - the claim lasts as long as the process
    if not hasattr(os, "sched_setaffinity") or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None
    before = ticks()
    time.sleep(LOOK)
    load = loads(before, ticks())
    claims = Claims()
    try:
        allowed = os.sched_getaffinity(0)
        if len(allowed) < 2:
            claims.close()
            return None
        with claims.turn():
            # A service in this pid namespace is seen both ways.
            others = bound_processes() | claims.count(allowed)
            core = choose_core(allowed, others, load, secrets.randbelow(1 << 30))
            os.sched_setaffinity(0, {core})
            claims.take(core)
    except OSError as problem:
        claims.close()
        log.warning("not staying on one core, which costs some speed: %s", problem.strerror)
        return None
    _claims = claims
    if before:
        watch = Watch(core, allowed)
        with suppress(RuntimeError):  # no thread to be had: the core is kept
            threading.Thread(target=watch.run, name="core-watch", daemon=True).start()
    return core


class Watch:
    """Lets the process go to all cores once its core turns out to be crowded while another has room.

    Work of other containers cannot be seen before it runs, and a service that was bound there too cannot be moved.
    """

    def __init__(
        self,
        core: int,
        allowed: Collection[int],
        *,
        ticks: Callable[[], Mapping[int, Ticks]] = ticks,
        process_time: Callable[[], float] = time.process_time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._core = core
        self._allowed = frozenset(allowed)
        self._ticks = ticks
        self._process_time = process_time
        self._monotonic = monotonic
        self._sleep = sleep

    def run(self) -> None:
        """Look every few seconds until the core was crowded several times in a row; then leave it, for good."""
        crowded = 0
        while crowded < CROWDED_CHECKS:
            load, own = self._look()
            crowded = crowded + 1 if is_crowded(self._core, load, own) else 0
        leave(self._allowed)
        log.warning("core %d is full and others use much of it: not staying on it any longer", self._core)

    def _look(self) -> tuple[dict[int, float], float]:
        before, used, began = self._ticks(), self._process_time(), self._monotonic()
        self._sleep(CHECK_EVERY)
        passed = self._monotonic() - began
        load = loads(before, self._ticks())
        return {core: load[core] for core in self._allowed & load.keys()}, (self._process_time() - used) / passed


def leave(allowed: Collection[int]) -> None:
    """Let every thread of this process run on all these cores, and those that start from now on."""
    if _claims is not None:
        _claims.close()
    done: set[str] = set()
    # A thread that starts meanwhile has its parent's cores, old or new: so look until there is none left.
    while found := set(os.listdir("/proc/self/task")) - done:
        for thread in found:
            with suppress(OSError):  # it has ended
                os.sched_setaffinity(int(thread), allowed)
        done |= found

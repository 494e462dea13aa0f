"""Makes sizes that were left to the service fit what the machine allows; refuses chosen ones that it cannot hold."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from config.errors import Problem
from config.settings import DECLARATIONS
from config.sizing import LEAST_SPARE_THREADS, SPARE_THREADS, thread_count

if TYPE_CHECKING:
    from config.machine import Machine
    from config.settings import Settings

#: Tasks that stay free for health checks in the container, a shell, and the master's own threads.
MARGIN_TASKS = 6
#: Threads of a worker beside those of requests, batches and monitors: the main one, the batchers' supervisor, others.
OTHER_TASKS = 4
#: Tasks of the embedded server, beside those it computes with.
EMBEDDED_TASKS = 28

_MB = 1_000_000
#: Measured: what the master and a worker fill once they serve, and a thread with its request in the middle of a burst.
MASTER_BYTES, WORKER_BYTES, THREAD_BYTES = 18 * _MB, 32 * _MB, 150_000
#: Measured: what the embedded server fills while it computes.
EMBEDDED_BYTES = 250 * _MB

#: The least that the setting may be.
_LEAST_UNSENT_BYTES = 100_000

#: Bytes of a worker's room for each byte of the largest body. Measured: the values of 16 MB of texts take half as much
#: again while they are read, those of 16 MB of the shortest lists 25 times as much, one such body at a time.
MOST_VALUES = 20
#: TEI takes bodies of this size, so clients may send them.
_LEAST_PAYLOAD_LIMIT = 2_000_000

#: Bytes of memory below which the C library is told to save some.
_SMALL_MEMORY = 256 * _MB

#: Where a value comes from that was lowered.
_LOWERED = "lowered to fit the machine"

#: With fewer threads all but the least number of spare ones belong to requests.
_FEW_THREADS = 2 * SPARE_THREADS

_DEFAULTS = {each.name: each.default for each in DECLARATIONS}


class Fitted(NamedTuple):
    """The settings that fit, what is to be said about what was lowered, and the problems of what may not be."""

    settings: Settings
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Room(NamedTuple):
    """How many threads each worker may have, what does not allow more, and whether that is known or estimated."""

    threads: int
    source: str
    known: bool = True


def fit(settings: Settings, machine: Machine) -> Fitted:
    """Lower threads, admission and batch size to what `machine` has room for, as far as they are at their defaults.

    Chosen ones that do not fit are a problem where that is known, and a note where it is an estimate.
    """
    notes: list[Problem] = []
    problems: list[Problem] = []
    for room in _rooms(settings, machine):
        wanted = thread_count(settings)
        lowered = {} if wanted <= room.threads else _lowered(settings, room.threads)
        if lowered is None:
            (problems if room.known else notes).append(_too_much(settings, room, wanted))
        elif lowered:
            said = ", ".join(f"{name} = {size}" for name, size in lowered.items())
            notes.append(Problem(f"{room.source}: no room for {wanted} threads a worker, so {said}"))
            settings = _replaced(settings, lowered)
    if machine.memory is not None:
        for name, size in _sizes_for(settings, machine.memory.amount).items():
            notes.append(Problem(f"{machine.memory.source}: {name} = {size}"))
            settings = _replaced(settings, {name: size})
    notes += _memory_notes(settings, machine)
    return Fitted(settings, tuple(map(str, notes)), tuple(problems))


def _replaced(settings: Settings, lowered: dict[str, Any]) -> Settings:
    sources = {**settings.sources, **dict.fromkeys(lowered, _LOWERED)}
    return dataclasses.replace(settings, sources=sources, **lowered)


def _sizes_for(settings: Settings, memory: int) -> dict[str, int]:
    """Return the sizes for which a worker has less room than the settings have, as far as they were not chosen."""
    room = (memory - MASTER_BYTES) // settings.workers - WORKER_BYTES
    sizes = {
        "max_unsent_bytes": max(_LEAST_UNSENT_BYTES, room // 2),
        "payload_limit": max(_LEAST_PAYLOAD_LIMIT, room // MOST_VALUES),
    }
    return {
        name: size for name, size in sizes.items() if size < getattr(settings, name) and not _chosen(settings, name)
    }


def _lowered(settings: Settings, threads: int) -> dict[str, Any] | None:
    """Return those sizes that change so that a worker gets on with so many threads; None if chosen ones forbid it."""
    spare = SPARE_THREADS if threads >= _FEW_THREADS else LEAST_SPARE_THREADS
    requests, batch = settings.max_concurrent_requests, settings.max_batch_size
    if not _chosen(settings, "max_concurrent_requests"):
        requests = min(requests, threads - spare)
    if not _chosen(settings, "max_batch_size"):
        batch = min(batch, requests)
    if _chosen(settings, "threads") or batch < 1 or batch > requests or requests + LEAST_SPARE_THREADS > threads:
        return None
    sizes = {"threads": threads, "max_concurrent_requests": requests, "max_batch_size": batch}
    return {name: size for name, size in sizes.items() if getattr(settings, name) != size}


def least_tasks(settings: Settings) -> int:
    """Return how many tasks a worker has before the first request: its main thread, batchers, monitors and others."""
    upstreams = max(1, len(settings.inference_url))
    return settings.max_inflight_batches * upstreams + upstreams + OTHER_TASKS


def thread_stack(machine: Machine) -> int | None:
    """Return the bytes of stack that threads are to have; None leaves the choice to the system, usually 8 MB.

    Stacks are addresses until they are used. They are made smaller only where addresses are limited, and larger where
    the system's are so small that a deeply nested body would overrun them before the interpreter's limit is met.
    """
    small = _smallest_stack(sys.version_info[:2])
    if machine.addresses is not None:
        return small
    if machine.stack is not None and not small <= machine.stack <= _LARGEST_STACK:
        return small if machine.stack < small else _USUAL_STACK
    return None


def is_small(machine: Machine) -> bool:
    """Whether addresses are limited, or memory to less than what a busy worker with all its threads fills."""
    return machine.addresses is not None or (machine.memory is not None and machine.memory.amount < _SMALL_MEMORY)


_SMALL_STACK, _USUAL_STACK, _LARGEST_STACK = 1 << 20, 8 << 20, 64 << 20


def _smallest_stack(version: tuple[int, int]) -> int:
    """Return the least stack with which nested JSON meets the interpreter's limit and not the end of the stack.

    CPython 3.12 and 3.13 count 10,000 calls of C, which need more than those 1000 that other versions let pass.
    """
    return _USUAL_STACK if version in {(3, 12), (3, 13)} else _SMALL_STACK


def _rooms(settings: Settings, machine: Machine) -> list[_Room]:
    """Return, for each thing that is limited, how many threads a worker may have."""
    rooms = []
    if machine.tasks is not None:
        # At a reload the next workers begin while the last ones still have all their threads.
        own = 2 * least_tasks(settings)
        embedded = settings.embedded_threads + EMBEDDED_TASKS if settings.embedded else 0
        left = machine.tasks.amount - MARGIN_TASKS - embedded
        rooms.append(_Room(left // settings.workers - own, f"{machine.tasks.source}, {machine.tasks.amount} are left"))
    if machine.memory is not None:
        left = machine.memory.amount - MASTER_BYTES - (EMBEDDED_BYTES if settings.embedded else 0)
        threads = (left // settings.workers - WORKER_BYTES) // THREAD_BYTES
        rooms.append(_Room(threads, machine.memory.source, known=False))
    if machine.addresses is not None and (stack := thread_stack(machine)) is not None:
        # A quarter for the interpreter, its libraries and what requests hold.
        rooms.append(_Room(machine.addresses * 3 // 4 // stack, f"a process may have {machine.addresses} bytes"))
    return rooms


def _chosen(settings: Settings, name: str) -> bool:
    """Whether a setting was chosen: it is not its default, or a flag or variable says that it is to be so."""
    source = settings.source(name)
    is_default = getattr(settings, name) == _DEFAULTS[name] or source == _LOWERED
    return not is_default or source.startswith(("flag ", "environment "))


def _too_much(settings: Settings, room: _Room, wanted: int) -> Problem:
    names = [
        each for each in ("threads", "max_concurrent_requests", "max_batch_size", "workers") if _chosen(settings, each)
    ]
    chosen = ", ".join(f"{each} = {getattr(settings, each)} ({settings.source(each)})" for each in names)
    return Problem(
        f"{chosen or 'the defaults'}: {wanted} threads are wanted in each of {settings.workers} workers, "
        f"and there is room for {max(0, room.threads)} ({room.source}); the least is {LEAST_SPARE_THREADS + 1}: "
        "allow more, or lower them",
        tuple(names),
    )


def _memory_notes(settings: Settings, machine: Machine) -> list[Problem]:
    """Return what cannot be lowered and may end a process."""
    memory = machine.memory
    if memory is None:
        return []
    workers, embedded = settings.workers * WORKER_BYTES, EMBEDDED_BYTES if settings.embedded else 0
    least = MASTER_BYTES + workers + embedded
    if memory.amount < least:
        return [Problem(f"{memory.source}: the service needs about {least} bytes, and a process may be killed")]
    if memory.amount < least + workers:
        said = f"a reload needs about {least + workers} bytes while old and new workers overlap"
        return [Problem(f"{memory.source}: {said}, and a worker may be killed: restart instead")]
    return []

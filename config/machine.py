"""Reads what the machine lets this process have: tasks, memory, address space, stacks. Linux's own files and limits."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A memory limit of cgroup v1 that stands for none: more than any machine has.
_NO_LIMIT = 1 << 60


class Bound(NamedTuple):
    """How much is left, and what says so."""

    amount: int
    source: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine allows; None where nothing limits it, or where it cannot be told."""

    #: Processes and threads that may still be started, beside those that run.
    tasks: Bound | None = None
    #: Bytes that this process and its relatives may fill, together.
    memory: Bound | None = None
    #: Bytes of addresses of one process.
    addresses: int | None = None
    #: Bytes that the system gives a thread's stack if the thread asks for no other.
    stack: int | None = None


def look(root: Path = Path("/")) -> Machine:
    """Return what this process is allowed. ``root`` is where ``proc`` and ``sys`` lie, for tests."""
    tasks = [*_cgroup_tasks(root), *_users_tasks(root)]
    memory = [*_cgroup_memory(root)]
    addresses = [each for each in map(_soft, (resource.RLIMIT_AS, resource.RLIMIT_DATA)) if each is not None]
    return Machine(
        tasks=min(tasks, default=None),
        memory=min(memory, default=None),
        addresses=min(addresses, default=None),
        stack=_soft(resource.RLIMIT_STACK),
    )


def _soft(limit: int) -> int | None:
    value = resource.getrlimit(limit)[0]
    return None if value == resource.RLIM_INFINITY else value


def _cgroup_tasks(root: Path) -> Iterator[Bound]:
    for folder in _cgroup_folders(root, "pids"):
        most, used = _number(folder / "pids.max"), _number(folder / "pids.current")
        if most is not None:
            yield Bound(max(0, most - (used or 0)), f"a cgroup allows {most} tasks")


def _cgroup_memory(root: Path) -> Iterator[Bound]:
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            most = _number(folder / name)
            if most is not None and most < _NO_LIMIT:
                yield Bound(most, f"a cgroup allows {most} bytes")


def _users_tasks(root: Path) -> Iterator[Bound]:
    """Yield what is left of the user's tasks; root's are not limited, unless it is root of a namespace of its own."""
    most = _soft(resource.RLIMIT_NPROC)
    if most is None or (os.getuid() == 0 and _is_first_user_namespace(root)):
        return
    yield Bound(max(0, most - _tasks_of(root, os.getuid())), f"RLIMIT_NPROC allows {most} tasks of this user")


def _is_first_user_namespace(root: Path) -> bool:
    with suppress(OSError):
        return (root / "proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]
    return True


def _tasks_of(root: Path, user: int) -> int:
    """Count the threads of all processes of `user` that can be seen from here."""
    count = 0
    for process in (root / "proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, KeyError):
            lines = (line.partition(":") for line in (process / "status").read_text(errors="replace").splitlines())
            status = {name: value.split() for name, _, value in lines}
            if int(status["Uid"][0]) == user:
                count += int(status["Threads"][0])
    return count


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and those above it, as far as they are mounted; v1 and v2."""
    with suppress(OSError):
        memberships = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
        for line in (root / "proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            mounted, point = before.split()[3:5]
            kind, _, options = after.split()[:3]
            for _, controllers, path in memberships:
                ours = kind == "cgroup2" if not controllers else controller in controllers.split(",")
                if ours and (kind == "cgroup2" or (kind == "cgroup" and controller in options.split(","))):
                    yield from _upwards(root / point.lstrip("/"), _below(mounted, path))


def _below(mounted: str, path: str) -> PurePosixPath:
    """Return where `path` lies below the mount of folder `mounted`; that folder itself where it lies elsewhere."""
    with suppress(ValueError):
        return PurePosixPath(path).relative_to(mounted)
    return PurePosixPath()


def _upwards(point: Path, below: PurePosixPath) -> Iterator[Path]:
    yield point / below
    for parent in below.parents:
        yield point / parent


def _number(file: Path) -> int | None:
    """Return the number in a file; None for "max", and where there is none."""
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return None

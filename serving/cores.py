"""Finds out what other work each core has: processes bound to it, claims of other services, and its load."""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

#: Bytes of the claims' file that stand for one core, of which a service locks one.
_SLOTS = 1024
#: C's ``struct flock`` of 64-bit Linux: type, whence, start, length, process.
_FLOCK = struct.Struct("hhqqi4x")
#: Seconds to wait for another service that chooses at this moment, and between two tries.
_TURN_WAIT, _TRY_AGAIN = 0.5, 0.01


class Ticks(NamedTuple):
    """How long a core has been busy, and how long it has been there, in the kernel's ticks."""

    busy: int
    total: int


def ticks(stat: Path = Path("/proc/stat")) -> dict[int, Ticks]:
    """Return the ticks of each core, of all containers; nothing where the system does not tell."""
    found = {}
    with suppress(OSError, ValueError):
        for line in stat.read_text().splitlines():
            name, *texts = line.split()
            if name.startswith("cpu") and name != "cpu":
                # user, nice, system, idle, iowait, irq, softirq, steal; what guests use is part of user.
                numbers = [int(text) for text in texts[:8]]
                found[int(name[3:])] = Ticks(sum(numbers) - sum(numbers[3:5]), sum(numbers))
    return found


def loads(before: Mapping[int, Ticks], after: Mapping[int, Ticks]) -> dict[int, float]:
    """Return how busy each core was between two looks, 0 to 1; a core without ticks in between is left out."""
    return {
        core: (now.busy - before[core].busy) / passed
        for core, now in after.items()
        if core in before and (passed := now.total - before[core].total) > 0
    }


def bound_processes(proc: Path = Path("/proc")) -> Counter[int]:
    """Count, for each core, the processes that are bound to it alone; those of other pid namespaces are not seen."""
    return Counter(core for core in map(_only_core, _statuses(proc)) if core is not None)


def _statuses(proc: Path) -> Iterable[str]:
    """Yield ``/proc/*/status`` of each process with memory of its own, which kernel threads have not."""
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):
            status = (process / "status").read_text(errors="replace")
            if "VmRSS:" in status:
                yield status


def _only_core(status: str) -> int | None:
    _, _, rest = status.partition("Cpus_allowed_list:")
    allowed = rest.partition("\n")[0].strip()
    return int(allowed) if allowed.isdigit() else None


class Claims:
    """Shows other services which core this one stays on: a locked byte of a file that all of them can read.

    Services in pid namespaces of their own do not see each other's processes, but those that run from one checkout,
    image layer or volume share its files, and locks on them. A lock ends with its process.
    """

    def __init__(self, file: Path = Path(__file__)) -> None:
        self._descriptor: int | None = None
        with suppress(OSError):
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let no other service choose meanwhile; goes on without a turn after half a second."""
        end = time.monotonic() + _TURN_WAIT
        while not (taken := self._lock_file(fcntl.LOCK_EX | fcntl.LOCK_NB)) and time.monotonic() < end:
            time.sleep(_TRY_AGAIN)
        try:
            yield
        finally:
            if taken:
                self._lock_file(fcntl.LOCK_UN)

    def count(self, cores: Collection[int]) -> Counter[int]:
        """Return how many services claim each of the cores."""
        return Counter({core: self._locked(core * _SLOTS, (core + 1) * _SLOTS) for core in cores})

    def take(self, core: int) -> None:
        """Claim a core until this process ends or `close` is called; does nothing where files cannot be locked."""
        lock = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, core * _SLOTS + secrets.randbelow(_SLOTS), 1, 0)
        self._ask(fcntl.F_OFD_SETLK, lock)

    def close(self) -> None:
        """Give the claim up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _locked(self, start: int, end: int) -> int:
        """Count the locks of others in a range of bytes; the kernel names any one of them."""
        if start >= end:
            return 0
        answer = self._ask(fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0))
        if answer is None:
            return 0
        kind, _, at, length, _ = _FLOCK.unpack(answer)
        if kind == fcntl.F_UNLCK:
            return 0
        return 1 + self._locked(start, at) + (self._locked(at + length, end) if length else 0)

    def _ask(self, command: int, lock: bytes) -> bytes | None:
        if self._descriptor is None:
            return None
        with suppress(OSError):
            return fcntl.fcntl(self._descriptor, command, lock)
        return None

    def _lock_file(self, operation: int) -> bool:
        """Lock or unlock the file as a whole; True also where there is no file to wait for."""
        if self._descriptor is None:
            return True
        try:
            fcntl.flock(self._descriptor, operation)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

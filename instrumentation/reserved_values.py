"""Keeps what a worker counts in files whose space is reserved, so that a disk that fills up kills no worker.

``prometheus_client`` maps files with holes into memory. Where such a hole cannot be filled, because the disk is full,
the kernel ends the process that writes to it (SIGBUS).
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from functools import cache
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

log = logging.getLogger(__name__)

#: Bytes reserved at first: as many as ``prometheus_client`` maps at first.
FIRST_BYTES = 1 << 16
#: Bytes of an entry beside its key, generously.
_ENTRY = 64


class ReservedDict(MmapedDict):  # type: ignore[misc, unused-ignore]
    """A map of keys to numbers in a file without holes.

    Where the file cannot grow, the numbers go on in memory: this worker serves, and what it counts from then on is
    missing from the sum of all workers. Like its base class it is used with ``prometheus_client``'s lock held.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode and not _reserve_file(filename):
            filename = _in_memory(b"")
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        fields: Any = self
        needed = fields._used + len(key.encode()) + _ENTRY  # noqa: SLF001
        if needed > fields._capacity and not _reserve(fields._f.fileno(), 2 * fields._capacity):  # noqa: SLF001
            self._move_to_memory()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _move_to_memory(self) -> None:
        fields: Any = self
        moved = MmapedDict(_in_memory(fields._m[:]))  # type: ignore[no-untyped-call]  # noqa: SLF001
        self.close()  # type: ignore[no-untyped-call]
        self.__dict__.update(moved.__dict__)


def reserve_values() -> None:
    """Let the values of this process live in reserved files. Call it before the first metric is made."""
    values.MmapedDict = ReservedDict  # type: ignore[attr-defined, unused-ignore]


def _reserve_file(filename: str) -> bool:
    try:
        descriptor = os.open(filename, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        _say_once(os.getpid(), problem.strerror or str(problem))
        return False
    try:
        reserved = _reserve(descriptor, FIRST_BYTES)
        if not reserved and not os.fstat(descriptor).st_size:
            with suppress(OSError):
                os.unlink(filename)
    finally:
        os.close(descriptor)
    return reserved


def _reserve(descriptor: int, size: int) -> bool:
    try:
        os.posix_fallocate(descriptor, 0, max(size, os.fstat(descriptor).st_size))
    except OSError as problem:
        _say_once(os.getpid(), problem.strerror or str(problem))
        return False
    return True


@cache
def _say_once(process: int, problem: str) -> None:  # noqa: ARG001 - once in each process
    log.error("no space for metrics (%s): what this worker counts from now on is not in the sum", problem)


def _in_memory(content: bytes) -> str:
    """Return the name of a file in memory with this content; it lasts as long as the process."""
    descriptor = os.memfd_create("metrics")
    os.write(descriptor, content)
    return f"/proc/self/fd/{descriptor}"
